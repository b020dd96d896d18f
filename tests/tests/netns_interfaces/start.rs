//! At a start, over what another daemon left or beside another one.

use std::{sync::Barrier, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ipvs_tests::topology::{Director, FarEnd, Start, attach, within};
use ipvs_user::{
    daemon::instance_of,
    dataplane::bpf::{Instance, NotePad},
};

use super::{FIRST, attached, changed, datagrams, file, how, lost_none, network, on};

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
            Ok(())
        };
        let as_before = || -> Result<()> {
            let now = attached(&net)?;
            ensure!(now == before, "{before:#?}, then {now:#?}");
            ensure!(net.dom0.get("ipv4/conf/other/accept_local")? == "0");
            Ok(())
        };
        // A new one that somebody has.
        let taken = attach(&net.dom0, "other", FarEnd::Pass)?;
        let others = [
            ("eth0", "mode = 'generic'"),
            ("vif2", "mark = 5"),
            ("other", ""),
        ];
        refused(&others, "other: another XDP program is attached: peer_pass")?;
        drop(taken);
        as_before()?;
        // A new one whose driver refuses, behind one whose driver does not.
        net.dom0
            .ip("link add duller type bridge\nlink set duller up\n")?;
        let others = [
            ("vif1", "mark = 5"),
            ("other", ""),
            ("duller", "mode = 'native'"),
        ];
        refused(&changed(&others), "duller: the driver refuses native XDP")?;
        as_before()?;
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
    let noted = notes["interfaces"]
        .as_object()
        .map_or(0, serde_json::Map::len);
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
