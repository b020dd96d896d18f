//! By the file, while the daemon runs.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ipvs_tests::{
    echo::Steady,
    topology::{CLIENT, DOM0_INTERFACES, Director, FarEnd, attach, vip, within},
};

use super::{FIRST, attached, changed, datagrams, file, how, lost_none, network, on};

/// Longer than the retransmission timer of a moment's silence.
const SOON: Duration = Duration::from_secs(15);

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
        for round in 1..=5 {
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
        director.run("ipvsadm -A -f 5 -s rr")?;
        director.run("ipvsadm -a -f 5 -r 10.0.1.6 -m")?;
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
