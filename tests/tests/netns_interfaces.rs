//! The director's interfaces change: all of what was asked for or nothing, and packets of the others do not notice.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpStream},
    sync::Barrier,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ipvs_tests::{
    echo::{self, Steady},
    probe::{self, Probe},
    topology::{CLIENT, DOM0_INTERFACES, Director, FarEnd, Start, Topology, attach, vip, within},
};
use ipvs_user::{
    daemon::instance_of,
    dataplane::bpf::{Instance, NotePad},
};

/// Longer than the retransmission timer of a moment's silence.
const SOON: Duration = Duration::from_secs(15);

/// The network, with two more interfaces of dom0: `other`, a veth, and `dull`, a bridge, whose driver knows no XDP.
fn network() -> Result<Topology> {
    let net = Topology::new()?;
    net.dom0.ip("link add other type veth peer name another\n\
         link add dull type bridge\n\
         link set other up\n\
         link set another up\n\
         link set dull up\n")?;
    for guest in &net.guests {
        let on = |port| SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
        echo::tcp_server(guest.listen(on(7))?, guest.name());
        probe::mirror(guest.udp(on(5000))?)?;
    }
    Ok(net)
}

/// Two services over both guests, the second one's weight in both, and these interfaces: their names with what stands under
/// them.
fn file(weight: u32, interfaces: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, how) in interfaces {
        text.push_str(&format!("[interface.{name}]\n{how}\n"));
    }
    for service in ["tcp = '10.0.0.5:7'", "udp = '10.0.0.5:5000'"] {
        let port = service.trim_end_matches('\'').rsplit(':').next();
        let port = port.unwrap_or_default();
        text.push_str(&format!(
            "[[service]]\n{service}\nscheduler = 'wrr'\n\
             [[service.real]]\naddress = '10.0.1.5:{port}'\nmethod = 'masq'\n\
             [[service.real]]\naddress = '10.0.1.6:{port}'\nmethod = 'masq'\nweight = {weight}\n"
        ));
    }
    text
}

/// As it is at first: `dull` in the stack, the others in the driver.
const FIRST: [(&str, &str); 4] = [
    ("eth0", ""),
    ("vif1", ""),
    ("vif2", ""),
    ("dull", "mode = 'generic'"),
];

fn how(interfaces: &[(&str, &str)]) -> Start {
    Start {
        interfaces: Vec::new(),
        config: Some(file(1, interfaces)),
        stays: true,
        ..Start::default()
    }
}

/// What is attached to an interface: the program's number, after a word for the mode. Empty: nothing.
fn on(net: &Topology, interface: &str) -> Result<String> {
    let told = net.dom0.output("ip", &["link", "show", "dev", interface])?;
    let mode = if told.contains("xdpgeneric") {
        "generic"
    } else {
        "native"
    };
    let number = told.split("prog/xdp id ").nth(1);
    let number = number.and_then(|rest| rest.split_whitespace().next());
    Ok(number.map_or_else(String::new, |n| format!("{mode} {n}")))
}

/// The same of all.
fn attached(net: &Topology) -> Result<Vec<String>> {
    let all = DOM0_INTERFACES.into_iter().chain(["other", "dull"]);
    all.map(|name| Ok(format!("{name} {}", on(net, name)?)))
        .collect()
}

fn datagrams(net: &Topology) -> Result<Probe> {
    let socket = net.client.udp(SocketAddrV4::new(CLIENT, 0))?;
    socket.connect(vip(5000))?;
    Probe::start(socket)
}

fn lost_none(probe: Probe) -> Result<()> {
    let sent = probe.finish()?;
    ensure!(sent > 100, "only {sent} datagrams were sent");
    Ok(())
}

/// What is sent comes back, behind a greeting if that was not read yet.
fn answered(connection: &mut TcpStream) -> Result<()> {
    let sent = b"this comes back";
    connection.write_all(sent)?;
    let mut back = Vec::new();
    let mut byte = [0];
    while !back.ends_with(sent) {
        connection.read_exact(&mut byte).context("no answer")?;
        back.push(byte[0]);
    }
    Ok(())
}

/// `FIRST`, with others in the place of some and behind.
fn changed<'a>(other: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let kept = FIRST.into_iter();
    let kept = kept.filter(|(name, _)| !other.iter().any(|(o, _)| o == name));
    kept.chain(other.iter().copied()).collect()
}

#[test]
fn refused_change_leaves_every_interface_as_it_was_without_a_gap() {
    within(120, || {
        let net = network()?;
        let director = Director::start(&net.dom0, &how(&FIRST))?;
        let before = attached(&net)?;
        let probe = datagrams(&net)?;
        let refuse = |interfaces: &[(&str, &str)], says: &str| -> Result<()> {
            director.configure(&file(9, interfaces))?;
            let said = director.refused("ipvsd reload")?;
            ensure!(said.contains(says), "{says}: {said}");
            let now = attached(&net)?;
            ensure!(now == before, "{says}: {before:#?}, then {now:#?}");
            ensure!(!director.run("ipvsadm -Ln")?.contains("Masq    9"));
            Ok(())
        };
        // One that is not there, behind one with another mark; and one is gone.
        let unknown = [("eth0", ""), ("vif1", "mark = 5"), ("vif9", "")];
        refuse(&unknown, "there is no interface vif9")?;
        // One that the driver can do nothing with, after another that it can.
        let new = [
            ("vif1", "mark = 5"),
            ("dull", "mode = 'native'"),
            ("other", ""),
        ];
        refuse(&changed(&new), "dull: the driver refuses native XDP")?;
        // One that somebody has.
        let taken = attach(&net.dom0, "other", FarEnd::Pass)?;
        let theirs = on(&net, "other")?;
        director.configure(&file(9, &changed(&[("vif1", "mark = 5"), ("other", "")])))?;
        let said = director.refused("ipvsd reload")?;
        let id = theirs.trim_start_matches("native ");
        for part in [
            "other: another XDP program",
            &format!("id {id} "),
            "end its owner",
        ] {
            ensure!(said.contains(part), "{part}: {said}");
        }
        ensure!(on(&net, "other")? == theirs && !theirs.is_empty());
        drop(taken);
        let now = attached(&net)?;
        ensure!(now == before, "{before:#?}, then {now:#?}");
        ensure!(net.dom0.get("ipv4/conf/other/accept_local")? == "0");

        lost_none(probe)?;
        director.configure(&file(1, &changed(&[("other", "")])))?;
        director.run("ipvsd reload")?;
        ensure!(on(&net, "other")?.starts_with("native"));
        director.leave()?.run("ipvsd detach")?;
        Ok(())
    });
}

#[test]
fn changed_mark_replaces_the_program_in_place() {
    within(120, || {
        let net = network()?;
        let director = Director::start(&net.dom0, &how(&FIRST))?;
        let probe = datagrams(&net)?;
        for round in 1..=10 {
            let before = attached(&net)?;
            let mark = format!("mark = {round}");
            director.configure(&file(1, &DOM0_INTERFACES.map(|name| (name, mark.as_str()))))?;
            let said = director.run("ipvsd reload")?;
            ensure!(said.contains("interface.vif1"), "{said}");
            let now = attached(&net)?;
            for (before, now) in before.iter().zip(&now).take(3) {
                ensure!(before != now && now.contains("native"), "{before}, {now}");
            }
        }
        lost_none(probe)?;
        // A service of that mark has the packets now.
        director.run("ipvsadm -A -f 10 -s rr")?;
        director.run("ipvsadm -a -f 10 -r 10.0.1.6 -m")?;
        let stream = net.client.connect(CLIENT, vip(7))?;
        Steady::over(stream)?.finish()?;
        let table = director.run("ipvsadm -Ln --stats --exact")?;
        let line = table.lines().find(|l| l.starts_with("FWM"));
        let line = line.with_context(|| format!("no service of a mark:\n{table}"))?;
        ensure!(line.split_whitespace().nth(2) != Some("0"), "{table}");
        director.leave()?.run("ipvsd detach")?;
        Ok(())
    });
}

#[test]
fn changed_mode_attaches_in_the_other_one_and_connections_live_on() {
    within(120, || {
        let net = network()?;
        let director = Director::start(&net.dom0, &how(&FIRST))?;
        // Silent while modes change: a packet in the gap meets the stack.
        let mut connection = net.client.connect(CLIENT, vip(7))?;
        connection.set_read_timeout(Some(SOON))?;
        let modes = |text: &str| -> Result<bool> {
            let each = DOM0_INTERFACES.iter().map(|name| on(&net, name));
            let each: Vec<_> = each.collect::<Result<_>>()?;
            Ok(each.iter().all(|on| on.starts_with(text)))
        };
        ensure!(modes("native")?);
        for (how, mode) in [
            ("mode = 'generic'", "generic"),
            ("mode = 'native'", "native"),
            ("mode = 'generic'", "generic"),
            ("mode = 'auto'", "native"),
        ] {
            director.configure(&file(1, &DOM0_INTERFACES.map(|name| (name, how))))?;
            director.run("ipvsd reload")?;
            ensure!(modes(mode)?, "{how}: {:?}", attached(&net)?);
            answered(&mut connection).context(how)?;
            answered(&mut net.client.connect(CLIENT, vip(7))?).context(how)?;
        }
        // What is there is one of the ways that are wished: it stays.
        let before = attached(&net)?;
        director.configure(&file(
            1,
            &DOM0_INTERFACES.map(|name| (name, "mode = 'native'")),
        ))?;
        director.run("ipvsd reload")?;
        ensure!(attached(&net)? == before);
        answered(&mut connection)?;
        director.leave()?.run("ipvsd detach")?;
        Ok(())
    });
}

#[test]
fn start_that_another_interface_fails_leaves_modes_and_services_as_they_were() {
    within(180, || {
        let net = network()?;
        let director = Director::start(&net.dom0, &how(&FIRST))?;
        let probe = datagrams(&net)?;
        let left = director.leave()?;
        let before = attached(&net)?;
        let refused = |interfaces: &[(&str, &str)], says: &str| -> Result<()> {
            let how = Start {
                config: Some(file(9, interfaces)),
                ..how(&FIRST)
            };
            let said = left.refusal(&how)?;
            let last = said.lines().last().unwrap_or_default();
            ensure!(last.contains(says), "{says}: {said}");
            let now = attached(&net)?;
            ensure!(now == before, "{says}: {before:#?}, then {now:#?}");
            Ok(())
        };
        let taken = attach(&net.dom0, "other", FarEnd::Pass)?;
        let how_much = net.dom0.get("ipv4/conf/other/accept_local")?;
        let foreign = net.dom0.output("ip", &["link", "show", "dev", "other"])?;
        ensure!(foreign.contains("prog/xdp"), "{foreign}");
        let with_other = [
            ("eth0", "mode = 'generic'"),
            ("vif2", "mark = 5"),
            ("other", ""),
        ];
        let how_it_fails = Start {
            config: Some(file(9, &with_other)),
            ..how(&FIRST)
        };
        let said = left.refusal(&how_it_fails)?;
        ensure!(said.contains("other: another XDP program"), "{said}");
        drop(taken);
        let now = attached(&net)?;
        ensure!(now == before, "{before:#?}, then {now:#?}");
        ensure!(net.dom0.get("ipv4/conf/other/accept_local")? == how_much);
        // A new one that the driver refuses.
        net.dom0
            .ip("link add duller type bridge\nlink set duller up\n")?;
        refused(
            &changed(&[
                ("vif1", "mark = 5"),
                ("other", ""),
                ("duller", "mode = 'native'"),
            ]),
            "duller: the driver refuses native XDP",
        )?;
        // One of those that were there, in a way that the driver refuses: it stays in the other one.
        let turned = Start {
            config: Some(file(1, &changed(&[("dull", "mode = 'native'")]))),
            ..how(&FIRST)
        };
        let said = left.refusal(&turned)?;
        ensure!(
            said.contains("dull: the driver refuses native XDP"),
            "{said}"
        );
        ensure!(on(&net, "dull")?.starts_with("generic"));
        lost_none(probe)?;

        let director = left.start(&Start {
            config: None,
            interfaces: vec!["eth0", "vif1", "vif2"],
            ..how(&FIRST)
        })?;
        let log = director.log();
        ensure!(log.contains("goes on where"), "{log}");
        let table = director.run("ipvsadm -Ln")?;
        ensure!(!table.contains("Masq    9"), "{table}");
        director.leave()?.run("ipvsd detach")?;
        Ok(())
    });
}

/// As if the daemon had crashed before it noted what it had attached to.
fn forget_interfaces(instance: &str) -> Result<()> {
    let instance = Instance::lock_existing(instance)?.context("nothing is pinned")?;
    let mut pad = NotePad::open(&instance)?;
    let mut notes: serde_json::Value = serde_json::from_str(&pad.read()?)?;
    let noted = notes["interfaces"].as_object().map_or(0, |n| n.len());
    ensure!(noted == 4, "{notes}");
    notes["interfaces"] = serde_json::Value::Object(serde_json::Map::new());
    Ok(pad.write(&notes.to_string())?)
}

#[test]
fn links_that_a_crash_left_unnoted_are_taken_over_or_taken_away() {
    within(120, || {
        let net = network()?;
        let director = Director::start(&net.dom0, &how(&FIRST))?;
        let instance = instance_of(&director.socket());
        let left = director.kill()?;
        forget_interfaces(&instance)?;
        let fewer = [FIRST[0], FIRST[1], FIRST[3]];
        let director = left.start(&how(&fewer))?;
        let log = director.log();
        ensure!(log.contains("goes on where"), "{log}");
        for (name, mode) in [("eth0", "native"), ("vif1", "native"), ("dull", "generic")] {
            ensure!(
                on(&net, name)?.starts_with(mode),
                "{name}: {:?}",
                attached(&net)?
            );
        }
        ensure!(on(&net, "vif2")?.is_empty(), "{:?}", attached(&net)?);
        director.leave()?.run("ipvsd detach")?;
        Ok(())
    });
}

#[test]
fn of_first_starts_at_the_same_moment_one_gets_there_and_stays() {
    const DAEMONS: usize = 3;
    within(180, || {
        let net = network()?;
        // Named so that what a failure leaves is found by the next test that starts a daemon.
        let instance = format!("race-ipvs-netns-{}-0", std::process::id());
        let same = Start {
            instance: Some(instance.clone()),
            ..how(&FIRST[..1])
        };
        let together = Barrier::new(DAEMONS);
        let race = || {
            together.wait();
            // A daemon ends with the thread that started it.
            let director = Director::start(&net.dom0, &same)?;
            thread::sleep(Duration::from_secs(1));
            director.leave()
        };
        let ended = thread::scope(|scope| {
            let racing: Vec<_> = (0..DAEMONS).map(|_| scope.spawn(race)).collect();
            let ended = racing.into_iter().map(|r| r.join().expect("no panic"));
            ended.collect::<Vec<_>>()
        });
        let (winners, losers): (Vec<_>, Vec<_>) = ended.into_iter().partition(Result::is_ok);
        ensure!(winners.len() == 1, "{winners:#?} {losers:#?}");
        for loser in losers {
            let said = loser.err().map(|e| format!("{e:#}")).unwrap_or_default();
            ensure!(said.contains("another ipvsd runs instance"), "{said}");
        }
        ensure!(on(&net, "eth0")?.starts_with("native"), "it was taken away");
        for left in winners.into_iter().flatten() {
            left.run(&format!("ipvsd detach --instance {instance}"))?;
        }
        Ok(())
    });
}
