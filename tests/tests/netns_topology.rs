//! The network of the tests by itself: what is said of it holds without a director.

use std::net::SocketAddrV4;

use anyhow::{Result, ensure};
use ipvs_tests::{
    smtp::{MailServer, Message, Session},
    topology::{CLIENT, GUESTS, Netns, OTHER_CLIENT, Topology, within},
};

#[test]
fn guests_are_reached_through_dom0_before_there_is_a_director() {
    within(30, || {
        let net = Topology::bare()?;
        for (guest, addr) in net.guests.iter().zip(GUESTS) {
            let at = SocketAddrV4::new(addr, 25);
            let _server = MailServer::on(guest.listen(at)?, guest.name())?;
            for client in [CLIENT, OTHER_CLIENT] {
                let mut session = Session::over(net.client.connect(client, at)?)?;
                ensure!(session.server() == guest.name(), "{}", session.server());
                let message = Message::of(200_000);
                ensure!(session.send(&message)?.digest == message.digest());
                ensure!(session.take_back()? == message.digest());
            }
        }
        net.nothing_refused()
    });
}

#[test]
fn offloads_are_those_a_veth_comes_with() {
    within(30, || {
        let net = Topology::new()?;
        for netns in net.all() {
            for interface in interfaces(netns)? {
                let features = netns.output("ethtool", &["-k", &interface])?;
                for wanted in ["tx-checksumming: on", "tcp-segmentation-offload: on"] {
                    ensure!(features.contains(wanted), "{} {interface}", netns.name());
                }
            }
        }
        Ok(())
    });
}

/// All but the loopback.
fn interfaces(netns: &Netns) -> Result<Vec<String>> {
    let lines = netns.output("ip", &["-o", "link", "show", "up"])?;
    let names = lines.lines().filter_map(|line| line.split(": ").nth(1));
    let names = names.filter_map(|name| name.split('@').next());
    Ok(names
        .filter(|name| *name != "lo")
        .map(str::to_owned)
        .collect())
}
