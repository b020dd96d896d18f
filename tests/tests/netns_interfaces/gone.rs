//! Interfaces that are gone when something that was is to be again: no way back fails by that, and no start.

use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use ipvs_tests::topology::{Director, Start, Topology, eventually, within};

use super::{FIRST, changed, file, how, network, on};

const SOON: Duration = Duration::from_secs(20);
const AWAITED: &str = "it is attached to when it comes back";

fn come_back(net: &Topology) -> Result<()> {
    net.dom0.ip("link add other type veth peer name another\n\
         link set other up\n\
         link set another up\n")?;
    let attached = eventually(SOON, || {
        Ok(on(net, "other").is_ok_and(|on| on.starts_with("native")))
    })?;
    ensure!(attached, "not attached to {:?}", on(net, "other"));
    Ok(())
}

/// As `ipvsd apply` reads it.
fn another_file(director: &Director, text: &str) -> Result<String> {
    let path = director.config().with_extension("other");
    fs::write(&path, text)?;
    Ok(path.display().to_string())
}

#[test]
fn way_back_does_without_an_interface_that_is_gone_until_it_comes_back() {
    within(120, || {
        let net = network()?;
        let director = Director::start(&net.dom0, &how(&changed(&[("other", "")])))?;
        let without = another_file(&director, &file(9, &FIRST))?;
        director.run(&format!("ipvsd apply {without} --confirm 2s"))?;
        let weighs =
            |weight: &str| -> Result<bool> { Ok(director.run("ipvsadm -Ln")?.contains(weight)) };
        ensure!(weighs("Masq    9")?, "{}", director.log());
        net.dom0.ip("link del other")?;
        let back = eventually(SOON, || Ok(!weighs("Masq    9")?))?;
        ensure!(back, "{}", director.log());
        ensure!(director.log().contains(AWAITED), "{}", director.log());
        come_back(&net)?;
        director.leave()?.run("ipvsd detach")?;
        Ok(())
    });
}

#[test]
fn start_without_a_file_does_without_an_interface_that_is_gone_until_it_comes_back() {
    within(120, || {
        let net = network()?;
        let named = Start {
            config: None,
            interfaces: vec!["eth0", "vif1", "vif2"],
            ..how(&FIRST)
        };
        let director = Director::start(&net.dom0, &named)?;
        let with = another_file(&director, &file(3, &[("other", "")]))?;
        director.run(&format!("ipvsd apply {with}"))?;
        ensure!(on(&net, "other")?.starts_with("native"));
        let left = director.kill()?;
        net.dom0.ip("link del other")?;
        let director = left.start(&named)?;
        let log = director.log();
        ensure!(
            log.contains(AWAITED) && log.contains("goes on where"),
            "{log}"
        );
        ensure!(!log.contains("no longer one of the director's"), "{log}");
        come_back(&net)?;
        // One that whoever starts it names must be there.
        let left = director.kill()?;
        let said = left.refusal(&Start {
            interfaces: vec!["eth0", "nosuch"],
            ..named.clone()
        })?;
        ensure!(said.contains("no interface nosuch"), "{said}");
        left.run("ipvsd detach")?;
        Ok(())
    });
}
