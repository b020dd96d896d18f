//! Crashes, restarts and upgrades under load.

use std::{fs, path::PathBuf, thread};

use anyhow::{Result, ensure};
use ipvs_tests::topology::{Director, Scratch, Start, Topology, within};

use super::{
    connections, dropped, goes_on,
    load::{CONFIG, Load, MOMENT, SERVICES, datagrams, serve},
    stays,
};

/// The program as another file.
fn another_file(scratch: &Scratch) -> Result<PathBuf> {
    let copy = scratch.path().join("ipvsd");
    fs::copy(Director::program()?, &copy)?;
    Ok(copy)
}

#[test]
fn two_hundred_connections_outlive_a_crash_an_upgrade_and_an_orderly_end() {
    within(240, || {
        let net = Topology::new()?;
        serve(&net)?;
        let director = Director::start(&net.dom0, &stays())?;
        director.run_all(&SERVICES)?;
        director.run("ipvsadm --set 700 60 200")?;
        director.run("ipvsd sysctl sloppy_tcp=1 expire_quiescent_template=1")?;
        let load = Load::start(&net)?;
        load.goes_on()?;

        let table = director.run("ipvsadm -Ln")?;
        let listed = connections(&director)?;
        let knobs = director.run("ipvsd sysctl")?;
        ensure!(listed.len() > 200, "{listed:?}");
        let (before, _) = datagrams(&director)?;

        let left = director.kill()?;
        load.goes_on()?;
        let director = goes_on(left, &stays())?;
        ensure!(director.run("ipvsadm -Ln")? == table, "{table}");
        ensure!(connections(&director)? == listed, "{listed:?}");
        ensure!(director.run("ipvsd sysctl")? == knobs, "{knobs}");
        let after = datagrams(&director)?.0;
        ensure!(after > before, "{before} {after}");

        let scratch = Scratch::new()?;
        let upgrade = Start {
            program: Some(another_file(&scratch)?),
            ..stays()
        };
        let director = goes_on(director.kill()?, &upgrade)?;
        load.goes_on()?;
        ensure!(director.run("ipvsadm -Ln")? == table, "{table}");
        ensure!(connections(&director)? == listed, "{listed:?}");

        let left = director.leave()?;
        load.goes_on()?;
        let director = goes_on(left, &stays())?;
        load.goes_on()?;
        ensure!(connections(&director)? == listed, "{listed:?}");
        let timeouts = director.run("ipvsadm -L --timeout")?;
        ensure!(timeouts.contains("700 60 200"), "{timeouts}");

        let sent = load.finish()?;
        thread::sleep(MOMENT);
        // To the last one, over all four daemons.
        let counted = datagrams(&director)?;
        ensure!(counted == (sent, sent), "{counted:?} of {sent}");
        ensure!(dropped(&director)?.is_empty(), "{:?}", dropped(&director)?);
        net.nothing_refused()?;
        director.leave()?.run("ipvsd detach")?;
        Ok(())
    });
}

#[test]
fn fifty_restarts_lose_no_packet() {
    within(900, || {
        let net = Topology::new()?;
        serve(&net)?;
        let mut director = Director::start(&net.dom0, &stays())?;
        director.run_all(&SERVICES)?;
        let load = Load::of(&net, 20)?;
        load.goes_on()?;
        let table = director.run("ipvsadm -Ln")?;
        let listed = connections(&director)?;
        let mut last = datagrams(&director)?;
        for round in 0..50 {
            let left = if round % 2 == 0 {
                director.kill()?
            } else {
                director.leave()?
            };
            director = goes_on(left, &stays())?;
            let now = datagrams(&director)?;
            ensure!(now.0 > last.0 && now.1 > last.1, "{last:?} {now:?}");
            last = now;
        }
        ensure!(director.run("ipvsadm -Ln")? == table, "{table}");
        ensure!(connections(&director)? == listed, "{listed:?}");
        load.goes_on()?;
        let sent = load.finish()?;
        thread::sleep(MOMENT);
        let counted = datagrams(&director)?;
        ensure!(counted == (sent, sent), "{counted:?} of {sent}");
        ensure!(dropped(&director)?.is_empty(), "{:?}", dropped(&director)?);
        net.nothing_refused()?;
        director.leave()?.run("ipvsd detach")?;
        Ok(())
    });
}

#[test]
fn a_file_at_the_start_changes_what_differs_and_nothing_else() {
    within(120, || {
        let net = Topology::new()?;
        serve(&net)?;
        let director = Director::start(&net.dom0, &stays())?;
        director.run_all(&SERVICES)?;
        let load = Load::of(&net, 5)?;
        load.goes_on()?;
        let how = Start {
            config: Some(CONFIG.to_owned()),
            ..stays()
        };
        let listed = connections(&director)?;
        let director = goes_on(director.kill()?, &how)?;
        ensure!(connections(&director)? == listed, "{listed:?}");
        let table = director.run("ipvsadm -Ln")?;
        ensure!(table.contains("Route   7 "), "{table}");
        load.goes_on()?;
        let sent = load.finish()?;
        thread::sleep(MOMENT);
        ensure!(datagrams(&director)? == (sent, sent));
        director.stop()?;
        Ok(())
    });
}
