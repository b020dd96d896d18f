//! A real server that is the director itself, with real sockets: direct routing and tunnels go up the stack as they are; answers of
//! a masqueraded one pass the director's program by way of a pair of veths, as docs/OPERATIONS.md says.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ipvs_tests::{
    six::six,
    six_session::{Session, serve},
    topology::{DOM0_INTERFACES, Director, Start, Topology, VIP, within},
};

/// Bytes each way.
const BULK: usize = 1 << 20;
/// Dom0's address towards its guests.
const DOM0: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 5);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Family {
    Four,
    Six,
}

impl Family {
    fn ip(self, v4: Ipv4Addr) -> IpAddr {
        match self {
            Self::Four => v4.into(),
            Self::Six => six(v4).into(),
        }
    }

    fn vip(self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(VIP), port)
    }

    fn network(self) -> Result<Topology> {
        let net = Topology::new()?;
        if self == Self::Six {
            net.over_six()?;
        }
        Ok(net)
    }

    /// What `docs/OPERATIONS.md` says of answers.
    fn answers_pass(self, net: &Topology, port: u16) -> Result<()> {
        net.dom0.ip(
            "link add answers0 address 02:00:00:00:00:25 type veth peer name answers1 address 02:00:00:00:00:25\n\
             link set answers0 arp off up\n\
             link set answers1 up\n",
        )?;
        let family = match self {
            Self::Four => "-4",
            Self::Six => "-6",
        };
        let from = self.ip(DOM0).to_string();
        let table = ["route", "add", "default", "dev", "answers0", "table", "25"];
        net.dom0.output("ip", &[&[family][..], &table].concat())?;
        for protocol in ["tcp", "udp"] {
            let rule = [
                family,
                "rule",
                "add",
                "iif",
                "lo",
                "from",
                &from,
                "ipproto",
                protocol,
                "sport",
                &port.to_string(),
                "table",
                "25",
            ];
            net.dom0.output("ip", &rule)?;
        }
        Ok(())
    }
}

fn server(net: &Topology, to: SocketAddr, bytes: usize) -> Result<String> {
    let session = Session::with(net, to)?;
    session.exchange(bytes)?;
    let name = session.line.split(' ').next().unwrap_or_default();
    Ok(name.to_owned())
}

/// A datagram's way there and back; the name of the server.
fn asked(net: &Topology, to: SocketAddr) -> Result<String> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = net.client.enter(|| -> std::io::Result<UdpSocket> {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(to)?;
        Ok(socket)
    })?;
    ipvs_tests::echo::udp_ask(&socket, b"anybody?")
}

fn answers_datagrams(net: &Topology, on: SocketAddr) -> Result<()> {
    let socket = net.dom0.enter(|| UdpSocket::bind(on)).context("binding")?;
    ipvs_tests::echo::udp_server(socket, "dom0");
    Ok(())
}

fn masqueraded(family: Family) {
    within(90, move || {
        let net = family.network()?;
        family.answers_pass(&net, 8025)?;
        serve(&net.dom0, 8025)?;
        serve(&net.guests[0], 8025)?;
        let own = SocketAddr::new(family.ip(DOM0), 8025);
        answers_datagrams(&net, own)?;
        let how = Start {
            interfaces: [&DOM0_INTERFACES[..], &["answers1"]].concat(),
            ..Start::default()
        };
        let director = Director::start(&net.dom0, &how)?;
        let vip = family.vip(25);
        let guest = SocketAddr::new(family.ip(GUEST), 8025);
        director.run_all(&[
            &format!("ipvsadm -A -t {vip} -s rr"),
            &format!("ipvsadm -a -t {vip} -r {own} -m"),
            &format!("ipvsadm -a -t {vip} -r {guest} -m"),
            &format!("ipvsadm -A -u {vip} -s rr"),
            &format!("ipvsadm -a -u {vip} -r {own} -m"),
        ])?;
        let names = [server(&net, vip, BULK)?, server(&net, vip, BULK)?];
        let names: BTreeSet<_> = names.iter().map(String::as_str).collect();
        ensure!(names == BTreeSet::from(["dom0", "guest1"]), "{names:?}");
        ensure!(asked(&net, vip)? == "dom0");
        // The client ended both, and the director saw both sides do it.
        let mut closed = false;
        for _ in 0..50 {
            let list = director.run("ipvsadm -Lnc")?;
            closed = list.matches("TIME_WAIT").count() == 2;
            if closed {
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
        ensure!(closed, "{}", director.run("ipvsadm -Lnc")?);
        net.nothing_refused()?;
        director.stop()?;
        Ok(())
    });
}

#[test]
fn masqueraded_real_server_on_the_director_answers_from_the_virtual_address() {
    masqueraded(Family::Four);
}

#[test]
fn masqueraded_real_server_on_the_director_answers_over_ipv6() {
    masqueraded(Family::Six);
}

/// The packet goes up the stack with the virtual address that it has.
fn as_it_is(family: Family, method: &'static str) {
    within(90, move || {
        let net = family.network()?;
        serve(&net.dom0, 25)?;
        answers_datagrams(&net, family.vip(25))?;
        let director = Director::start(&net.dom0, &Start::default())?;
        let (vip, own) = (family.vip(25), SocketAddr::new(family.ip(DOM0), 25));
        director.run_all(&[
            &format!("ipvsadm -A -t {vip} -s rr"),
            &format!("ipvsadm -a -t {vip} -r {own} {method}"),
            &format!("ipvsadm -A -u {vip} -s rr"),
            &format!("ipvsadm -a -u {vip} -r {own} {method}"),
        ])?;
        ensure!(server(&net, vip, BULK)? == "dom0");
        ensure!(asked(&net, vip)? == "dom0");
        let list = director.run("ipvsadm -Ln --stats")?;
        let counted = list.lines().filter(|l| l.contains(&own.to_string()));
        let counted = counted.filter(|l| l.split_whitespace().nth(2) == Some("1"));
        ensure!(counted.count() == 2, "{list}");
        net.nothing_refused()?;
        director.stop()?;
        Ok(())
    });
}

#[test]
fn directly_routed_packets_to_the_director_itself_go_up_its_stack() {
    as_it_is(Family::Four, "-g");
}

#[test]
fn directly_routed_packets_to_the_director_itself_go_up_its_stack_over_ipv6() {
    as_it_is(Family::Six, "-g");
}

#[test]
fn tunnel_to_the_director_itself_needs_no_tunnel() {
    as_it_is(Family::Four, "-i");
}

#[test]
fn tunnel_to_the_director_itself_needs_no_tunnel_over_ipv6() {
    as_it_is(Family::Six, "-i");
}
