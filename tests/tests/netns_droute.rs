//! Direct routing with real sockets: the guests have the virtual address and answer by themselves.

use anyhow::{Result, ensure};
use ipvs_tests::{
    scene::{BULK, MailServers},
    topology::{CLIENT, Director, Start, Topology, kernel_tells_who_takes_frames, within},
};

const COMMANDS: [&str; 3] = [
    "ipvsadm -A -t 10.0.0.5:25 -s rr",
    "ipvsadm -a -t 10.0.0.5:25 -r 10.0.1.5 -g",
    "ipvsadm -a -t 10.0.0.5:25 -r 10.0.1.6 -g",
];

fn bulk_to_both_guests(net: &Topology) -> Result<()> {
    net.guests_take_vip()?;
    let servers = MailServers::start(net, [25, 25])?;
    let director = Director::start(&net.dom0, &Start::default())?;
    director.run_all(&COMMANDS)?;
    let took = [
        servers.mail(net, CLIENT, BULK)?,
        servers.mail(net, CLIENT, BULK)?,
    ];
    ensure!(took[0] != took[1], "rr gave both to {}", took[0]);
    net.nothing_refused()?;
    let reasons = director.run("ipvsd reasons")?;
    ensure!(reasons.contains("checksum_completed"), "{reasons}");
    director.stop()?;
    Ok(())
}

#[test]
fn mail_of_10_mb_goes_both_ways_with_offloads_as_they_come() {
    within(60, || bulk_to_both_guests(&Topology::new()?));
}

#[test]
fn mail_goes_where_dom0_completes_no_checksums() {
    within(60, || {
        let net = Topology::new()?;
        net.dom0_without_checksum_offload()?;
        bulk_to_both_guests(&net)
    });
}

#[test]
fn far_end_that_takes_no_frames_is_told_under_a_reason_or_warned_of_at_the_start() {
    within(60, || {
        let net = Topology::bare()?;
        net.guests_take_vip()?;
        let servers = MailServers::start(&net, [25, 25])?;
        let director = Director::start(&net.dom0, &Start::default())?;
        director.run_all(&COMMANDS)?;
        ensure!(servers.mail(&net, CLIENT, 1000).is_err());
        if kernel_tells_who_takes_frames()? {
            let reasons = director.run("ipvsd reasons")?;
            ensure!(reasons.contains("egress_no_xdp"), "{reasons}");
        } else {
            let log = director.log();
            ensure!(log.contains("`ethtool -K FAR_END gro on`"), "{log}");
        }
        // What the message advises helps at once, without a restart.
        for (netns, interface) in net.far_ends() {
            netns.output("ethtool", &["-K", interface, "gro", "on"])?;
        }
        servers.mail(&net, CLIENT, BULK)?;
        director.stop()?;
        Ok(())
    });
}
