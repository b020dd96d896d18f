//! The daemon comes and goes without leaving a trace, and says what stands in its way.

use std::time::Duration;

use anyhow::{Result, ensure};
use ipvs_tests::{
    scene::{MailServers, STORY},
    topology::{CLIENT, DOM0_INTERFACES, Director, Netns, Start, Topology, eventually, within},
};

const SOON: Duration = Duration::from_secs(3);

/// What the daemon may change on an interface.
const SETTINGS: [&str; 4] = ["forwarding", "send_redirects", "accept_local", "rp_filter"];

fn settings(dom0: &Netns) -> Result<Vec<String>> {
    let interfaces = DOM0_INTERFACES.into_iter().chain(["all", "default", "lo"]);
    let keys =
        interfaces.flat_map(|interface| SETTINGS.map(|key| format!("ipv4/conf/{interface}/{key}")));
    keys.map(|key| Ok(format!("{key} = {}", dom0.get(&key)?)))
        .collect()
}

fn programs(dom0: &Netns) -> Result<usize> {
    Ok(dom0.output("ip", &["link"])?.matches("prog/xdp").count())
}

fn holds_neighbours(dom0: &Netns) -> bool {
    let neighbours = dom0.output("ip", &["neigh"]);
    neighbours.is_ok_and(|n| n.contains("managed"))
}

#[test]
fn orderly_end_detaches_and_restores_every_setting() {
    within(60, || {
        let net = Topology::new()?;
        // As strict as a cautious machine is, and without the forwarding that the director needs.
        for interface in DOM0_INTERFACES {
            net.dom0
                .set(&format!("ipv4/conf/{interface}/rp_filter"), "1")?;
        }
        net.dom0.set("ipv4/ip_forward", "0")?;
        let before = settings(&net.dom0)?;

        let director = Director::start(&net.dom0, &Start::default())?;
        let servers = MailServers::start(&net, [25, 26])?;
        director.run_all(&STORY)?;
        servers.mail(&net, CLIENT, 100_000)?;
        ensure!(programs(&net.dom0)? == 3);
        ensure!(settings(&net.dom0)? != before);
        // The kernel keeps the real servers' neighbours fresh for the daemon, from its next round on.
        ensure!(
            eventually(SOON, || Ok(holds_neighbours(&net.dom0)))?,
            "none is held"
        );
        let socket = director.socket();
        ensure!(socket.exists());

        director.stop()?;
        ensure!(programs(&net.dom0)? == 0);
        let after = settings(&net.dom0)?;
        ensure!(after == before, "{after:#?}");
        ensure!(!holds_neighbours(&net.dom0), "some are held");
        ensure!(!socket.exists(), "the socket is still there");
        Ok(())
    });
}

#[test]
fn configured_services_serve_without_a_command() {
    within(60, || {
        let net = Topology::new()?;
        let servers = MailServers::start(&net, [25, 26])?;
        let start = Start {
            config: Some(include_str!("../../docs/examples/mail.toml").to_owned()),
            ..Start::default()
        };
        let director = Director::start(&net.dom0, &start)?;
        servers.mail(&net, CLIENT, 100_000)?;
        director.stop()?;
        Ok(())
    });
}

#[test]
fn interface_that_is_taken_is_named_and_its_program_stays() {
    within(60, || {
        let net = Topology::new()?;
        let servers = MailServers::start(&net, [25, 26])?;
        let first = Director::start(&net.dom0, &Start::default())?;
        first.run_all(&STORY)?;
        let said = Director::refusal(
            &net.dom0,
            &Start {
                interfaces: vec!["vif1"],
                ..Start::default()
            },
        )?;
        let last = said.lines().last().unwrap_or_default();
        ensure!(
            last.starts_with("ipvsd:") && last.contains("vif1"),
            "{said}"
        );
        ensure!(programs(&net.dom0)? == 3);
        servers.mail(&net, CLIENT, 100_000)?;
        first.stop()?;
        Ok(())
    });
}

#[test]
fn unknown_interface_is_named_and_nothing_is_changed() {
    within(60, || {
        let net = Topology::new()?;
        let before = settings(&net.dom0)?;
        let said = Director::refusal(
            &net.dom0,
            &Start {
                interfaces: vec!["eth0", "eth9"],
                ..Start::default()
            },
        )?;
        let last = said.lines().last().unwrap_or_default();
        ensure!(
            last.starts_with("ipvsd:") && last.contains("eth9"),
            "{said}"
        );
        ensure!(programs(&net.dom0)? == 0);
        ensure!(settings(&net.dom0)? == before);
        Ok(())
    });
}
