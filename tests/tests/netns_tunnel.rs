//! IP in IP with real sockets: the guests unpack, have the virtual address and answer by themselves.

use anyhow::{Result, ensure};
use ipvs_tests::{
    scene::{BULK, MailServers},
    topology::{CLIENT, Director, Start, Topology, within},
};

const COMMANDS: [&str; 3] = [
    "ipvsadm -A -t 10.0.0.5:25 -s rr",
    "ipvsadm -a -t 10.0.0.5:25 -r 10.0.1.5 -i",
    "ipvsadm -a -t 10.0.0.5:25 -r 10.0.1.6 -i",
];

fn bulk_to_both_guests(net: &Topology) -> Result<Director> {
    net.guests_take_vip()?;
    let _programs = net.guests_unpack()?;
    let servers = MailServers::start(net, [25, 25])?;
    let director = Director::start(&net.dom0, &Start::default())?;
    director.run_all(&COMMANDS)?;
    let took = [
        servers.mail(net, CLIENT, BULK)?,
        servers.mail(net, CLIENT, BULK)?,
    ];
    ensure!(took[0] != took[1], "rr gave both to {}", took[0]);
    net.nothing_refused()?;
    Ok(director)
}

#[test]
fn client_learns_to_send_what_fits_into_another_packet() {
    within(60, || {
        let net = Topology::new()?;
        let director = bulk_to_both_guests(&net)?;
        let mtu = net.learned_mtu()?;
        ensure!(mtu == Some(1480), "the client learned {mtu:?}");
        let reasons = director.run("ipvsd reasons")?;
        ensure!(reasons.contains("checksum_completed"), "{reasons}");
        director.stop()?;
        Ok(())
    });
}

#[test]
fn client_has_nothing_to_learn_where_links_are_20_bytes_longer() {
    within(60, || {
        let net = Topology::new()?;
        for guest in &net.guests {
            guest.ip("link set eth0 mtu 1520")?;
        }
        net.dom0
            .ip("link set vif1 mtu 1520\nlink set vif2 mtu 1520\n")?;
        let director = bulk_to_both_guests(&net)?;
        let mtu = net.learned_mtu()?;
        ensure!(mtu.is_none(), "the client learned {mtu:?}");
        director.stop()?;
        Ok(())
    });
}

#[test]
fn mail_goes_where_dom0_completes_no_checksums() {
    within(60, || {
        let net = Topology::new()?;
        net.dom0_without_checksum_offload()?;
        bulk_to_both_guests(&net)?.stop()?;
        Ok(())
    });
}
