//! Match rules with real sockets: caches for the whole Internet, whose addresses are none of the director's.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Result, ensure};
use ipvs_tests::{
    six::six,
    six_session::{Session, serve},
    topology::{Director, Start, Topology, eventually, within},
};

/// Bytes each way.
const BULK: usize = 1 << 20;
const SOON: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Family {
    Four,
    Six,
}

impl Family {
    /// An address of the Internet: the director has none of this network.
    fn web(self, last: u8) -> SocketAddr {
        self.at(last, 80)
    }

    fn at(self, last: u8, port: u16) -> SocketAddr {
        let v4 = Ipv4Addr::new(192, 0, 2, last);
        let ip = match self {
            Self::Four => IpAddr::V4(v4),
            Self::Six => IpAddr::V6(six(v4)),
        };
        SocketAddr::new(ip, port)
    }

    const fn internet(self) -> &'static str {
        match self {
            Self::Four => "192.0.2.0/24",
            Self::Six => "2001:db8:c000:2::/64",
        }
    }

    const fn ip(self) -> &'static str {
        match self {
            Self::Four => "-4",
            Self::Six => "-6",
        }
    }

    const fn fwmark(self) -> &'static str {
        match self {
            Self::Four => "fwmark",
            Self::Six => "fwmark6",
        }
    }

    /// Of `ipvsadm`.
    const fn mark(self) -> &'static str {
        match self {
            Self::Four => "-f 7",
            Self::Six => "-f 7 -6",
        }
    }

    const fn everywhere(self) -> &'static str {
        match self {
            Self::Four => "0.0.0.0/0",
            Self::Six => "::/0",
        }
    }

    /// Dom0 as the router sees it, and guests by index.
    fn dom0(self) -> String {
        self.host(Ipv4Addr::new(10, 0, 0, 5))
    }

    fn guest(self, index: u8) -> String {
        self.host(Ipv4Addr::new(10, 0, 1, 5 + index))
    }

    fn host(self, v4: Ipv4Addr) -> String {
        match self {
            Self::Four => v4.to_string(),
            Self::Six => six(v4).to_string(),
        }
    }

    /// A network whose router sends the clients' packets to the Internet by way of dom0.
    fn network(self, net: &Topology) -> Result<()> {
        if self == Self::Six {
            net.over_six()?;
        }
        let (ip, internet, dom0) = (self.ip(), self.internet(), self.dom0());
        let route = [ip, "route", "add", internet, "via", &dom0];
        net.router.output("ip", &route).map(drop)
    }

    /// Caches take packets to any address for theirs.
    fn caches(self, net: &Topology) -> Result<()> {
        for guest in &net.guests {
            let route = [
                self.ip(),
                "route",
                "add",
                "local",
                self.internet(),
                "dev",
                "lo",
            ];
            guest.output("ip", &route)?;
            serve(guest, 80)?;
        }
        Ok(())
    }

    /// A configuration with caches behind a mark.
    fn config(self, scheduler: &str, method: &str, rules: &str) -> String {
        let reals = [0, 1].map(|index| {
            let address = self.guest(index);
            format!(
                "[[service.real]]\naddress = \"{address}\"\nmethod = \"{method}\"\nweight = 100\n"
            )
        });
        let reals = reals.concat();
        let fwmark = self.fwmark();
        format!("{rules}[[service]]\n{fwmark} = 7\nscheduler = \"{scheduler}\"\n{reals}")
    }

    fn rule(self, port: u16) -> String {
        let to = self.everywhere();
        format!(
            "[[match]]\nmark = 7\nto = \"{to}\"\nports = {port}\nprotocol = \"tcp\"\ninterface = \"eth0\"\n"
        )
    }
}

fn start(net: &Topology, config: String) -> Result<Director> {
    let how = Start {
        config: Some(config),
        ..Start::default()
    };
    Director::start(&net.dom0, &how)
}

/// The server that a session to an address is with.
fn server(net: &Topology, to: SocketAddr, bytes: usize) -> Result<String> {
    let session = Session::with(net, to)?;
    session.exchange(bytes)?;
    let name = session.line.split(' ').next().unwrap_or_default();
    Ok(name.to_owned())
}

/// Many addresses, each asked twice.
fn addresses_stay_with_their_cache(net: &Topology, family: Family) -> Result<()> {
    let mut known = BTreeMap::new();
    for round in 0..2 {
        for last in 1..=12 {
            let name = server(net, family.web(last), 1000)?;
            let first = known.entry(last).or_insert_with(|| name.clone());
            ensure!(
                *first == name,
                "round {round}: {last} went from {first} to {name}"
            );
        }
    }
    let used: BTreeSet<_> = known.values().collect();
    ensure!(used.len() == 2, "all went to one: {known:?}");
    Ok(())
}

fn caches(family: Family, scheduler: &'static str, method: &'static str) {
    within(90, move || {
        let net = Topology::new()?;
        family.network(&net)?;
        let _programs = (method == "tunnel")
            .then(|| net.guests_unpack())
            .transpose()?;
        family.caches(&net)?;
        let config = family.config(scheduler, method, &family.rule(80));
        let director = start(&net, config)?;
        addresses_stay_with_their_cache(&net, family)?;
        server(&net, family.web(99), BULK)?;
        net.nothing_refused()?;
        // Goes round between dom0 and the router, as nobody is told of it.
        ensure!(
            Session::with(&net, family.at(1, 81)).is_err(),
            "another port"
        );
        director.stop()?;
        Ok(())
    });
}

#[test]
fn directly_routed_caches_serve_the_whole_internet() {
    caches(Family::Four, "lblc", "droute");
}

#[test]
fn directly_routed_caches_serve_the_whole_internet_over_ipv6() {
    caches(Family::Six, "lblc", "droute");
}

#[test]
fn caches_behind_tunnels_serve_the_whole_internet() {
    caches(Family::Four, "lblcr", "tunnel");
}

#[test]
fn caches_behind_tunnels_serve_the_whole_internet_over_ipv6() {
    caches(Family::Six, "lblcr", "tunnel");
}

#[test]
fn masqueraded_caches_serve_the_whole_internet() {
    caches(Family::Four, "lblc", "masq");
}

#[test]
fn masqueraded_caches_serve_the_whole_internet_over_ipv6() {
    caches(Family::Six, "lblc", "masq");
}

/// Behind the second guest is the Internet itself.
fn bypassed(family: Family) {
    within(90, move || {
        let net = Topology::new()?;
        family.network(&net)?;
        family.caches(&net)?;
        let route = [
            family.ip(),
            "route",
            "add",
            family.internet(),
            "via",
            &family.guest(1),
        ];
        net.dom0.output("ip", &route)?;
        let director = start(&net, family.config("lblc", "droute", &family.rule(80)))?;
        director.run("ipvsd sysctl cache_bypass=1")?;
        for index in 0..2 {
            let (mark, guest) = (family.mark(), family.guest(index));
            director.run(&format!("ipvsadm -d {mark} -r {guest}"))?;
        }
        let name = server(&net, family.web(7), BULK)?;
        ensure!(name == net.guests[1].name(), "{name} is not the origin");
        let reasons = director.run("ipvsd reasons")?;
        ensure!(reasons.contains("bypassed"), "{reasons}");
        director.run("ipvsd sysctl cache_bypass=0")?;
        ensure!(
            Session::with(&net, family.web(8)).is_err(),
            "nobody was to serve it"
        );
        director.stop()?;
        Ok(())
    });
}

#[test]
fn without_a_cache_packets_go_on_to_their_destination() {
    bypassed(Family::Four);
}

#[test]
fn without_a_cache_packets_go_on_to_their_destination_over_ipv6() {
    bypassed(Family::Six);
}

fn changed_and_restarted(family: Family) {
    within(120, move || {
        let net = Topology::new()?;
        family.network(&net)?;
        family.caches(&net)?;
        for guest in &net.guests {
            serve(guest, 8080)?;
        }
        let how = Start {
            config: Some(family.config("lblc", "droute", &family.rule(80))),
            stays: true,
            ..Start::default()
        };
        let director = Director::start(&net.dom0, &how)?;
        let session = Session::with(&net, family.web(1))?;
        session.exchange(1000)?;
        ensure!(Session::with(&net, family.at(1, 8080)).is_err());

        // Another port, as a file says and before it does.
        director.configure(&family.config("lblc", "droute", &family.rule(8080)))?;
        let file = director.config();
        let plan = director.run(&format!("ipvsd plan {}", file.display()))?;
        let to = family.everywhere();
        for row in [
            format!("- match to {to} tcp port 80 on eth0"),
            format!("+ match to {to} tcp port 8080 on eth0"),
        ] {
            ensure!(plan.contains(&row), "{row}:\n{plan}");
        }
        ensure!(server(&net, family.web(2), 1000).is_ok(), "only planned");
        director.run("ipvsd reload")?;
        ensure!(
            Session::with(&net, family.web(3)).is_err(),
            "no rule any more"
        );
        server(&net, family.at(3, 8080), BULK)?;
        session.exchange(BULK)?;

        // A change that nobody confirms.
        director.configure(&family.config("lblc", "droute", ""))?;
        director.run(&format!("ipvsd apply {} --confirm 2s", file.display()))?;
        ensure!(Session::with(&net, family.at(4, 8080)).is_err());
        let back = eventually(SOON, || Ok(Session::with(&net, family.at(5, 8080)).is_ok()))?;
        ensure!(back, "it did not go back");

        // A crash, and a restart in order.
        let how = Start {
            config: Some(family.config("lblc", "droute", &family.rule(8080))),
            ..how
        };
        let left = director.kill()?;
        server(&net, family.at(6, 8080), BULK)?;
        let director = left.start(&how)?;
        let listed = director.run("ipvsd matches")?;
        ensure!(listed.contains("8080"), "{listed}");
        let director = director.leave()?.start(&how)?;
        server(&net, family.at(7, 8080), BULK)?;
        session.exchange(BULK)?;
        director.run("ipvsd detach").map(drop)
    });
}

#[test]
fn rules_change_in_one_step_and_outlive_the_daemon() {
    changed_and_restarted(Family::Four);
}

#[test]
fn rules_of_ipv6_change_in_one_step_and_outlive_the_daemon() {
    changed_and_restarted(Family::Six);
}

#[test]
fn rule_of_an_interface_that_comes_later_holds_from_then_on() {
    within(60, || {
        let net = Topology::new()?;
        let family = Family::Four;
        let rule = family.rule(80).replace("eth0", "later0");
        let director = start(&net, family.config("lblc", "droute", &rule))?;
        let listed = director.run("ipvsd matches")?;
        ensure!(
            listed.contains("(there is no interface later0)"),
            "{listed}"
        );
        net.dom0.ip("link add later0 type veth peer name later1")?;
        let known = eventually(SOON, || {
            Ok(!director.run("ipvsd matches")?.contains("no interface"))
        })?;
        ensure!(known, "it is still unknown");
        director.stop()?;
        Ok(())
    });
}
