//! Masquerading with real sockets: the administrator's story, bulk data both ways, senders that leave checksums and
//! segmentation to their card.

use anyhow::{Result, ensure};
use ipvs_tests::{
    scene::{BULK, MailServers, STORY},
    topology::{CLIENT, Director, OTHER_CLIENT, Start, Topology, within},
};

/// Of packets that the kernel's routing carries on, one in 65,536 has a checksum that is right both as a complete and as a
/// partial one. The program cannot know which it was meant to be, and TCP sends the one that it guessed wrong again.
const RIGHT_EITHER_WAY: u64 = 3;

/// The story's commands, its table, then 10 MB each way. Nothing but `wrong` TCP segments may arrive with a bad checksum.
fn story(net: &Topology, how: &Start, wrong: u64) -> Result<Director> {
    let servers = MailServers::start(net, [25, 26])?;
    let director = Director::start(&net.dom0, how)?;
    director.run_all(&STORY)?;
    let table = director.run("ipvsadm -Ln")?;
    let body: Vec<_> = table.lines().skip(1).collect();
    ensure!(body == TABLE, "the table is\n{table}");
    servers.mail(net, CLIENT, BULK)?;
    net.hardly_anything_refused(wrong)?;
    Ok(director)
}

const TABLE: [&str; 5] = [
    "Prot LocalAddress:Port Scheduler Flags",
    "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn",
    "TCP  10.0.0.5:25 lblc persistent 360",
    "  -> 10.0.1.5:25                  Masq    1      0          0         ",
    "  -> 10.0.1.6:26                  Masq    1      0          0         ",
];

#[test]
fn mail_of_10_mb_goes_both_ways_with_offloads_as_they_come() {
    within(60, || {
        let net = Topology::new()?;
        let director = story(&net, &Start::default(), 0)?;
        let reasons = director.run("ipvsd reasons")?;
        // Else it would not be this that was tested.
        ensure!(reasons.contains("checksum_completed"), "{reasons}");
        ensure!(!reasons.contains("kernel_routes"), "{reasons}");
        director.stop()?;
        Ok(())
    });
}

#[test]
fn mail_goes_where_dom0_completes_no_checksums() {
    within(60, || {
        let net = Topology::new()?;
        net.dom0_without_checksum_offload()?;
        story(&net, &Start::default(), 0)?.stop()?;
        Ok(())
    });
}

#[test]
fn guests_need_no_arrangement_at_all() {
    within(60, || {
        let net = Topology::bare()?;
        let director = story(&net, &Start::default(), RIGHT_EITHER_WAY)?;
        let reasons = director.run("ipvsd reasons")?;
        ensure!(reasons.contains("kernel_routes"), "{reasons}");
        director.stop()?;
        Ok(())
    });
}

#[test]
fn guests_need_no_arrangement_where_dom0_completes_no_checksums() {
    within(60, || {
        let net = Topology::bare()?;
        net.dom0_without_checksum_offload()?;
        story(&net, &Start::default(), RIGHT_EITHER_WAY)?.stop()?;
        Ok(())
    });
}

#[test]
fn program_on_the_far_end_does_as_well_as_gro() {
    within(60, || {
        let net = Topology::bare()?;
        let _programs = net.far_ends_pass()?;
        let director = story(&net, &Start::default(), 0)?;
        let reasons = director.run("ipvsd reasons")?;
        ensure!(!reasons.contains("kernel_routes"), "{reasons}");
        director.stop()?;
        Ok(())
    });
}

fn generic() -> Start {
    Start {
        mode: Some("generic"),
        ..Start::default()
    }
}

#[test]
fn generic_mode_moves_aggregates_of_segments() {
    within(60, || {
        let net = Topology::bare()?;
        let director = story(&net, &generic(), RIGHT_EITHER_WAY)?;
        let reasons = director.run("ipvsd reasons")?;
        ensure!(reasons.contains("kernel_routes"), "{reasons}");
        director.stop()?;
        Ok(())
    });
}

#[test]
fn generic_mode_moves_them_where_dom0_completes_no_checksums() {
    within(60, || {
        let net = Topology::bare()?;
        net.dom0_without_checksum_offload()?;
        story(&net, &generic(), RIGHT_EITHER_WAY)?.stop()?;
        Ok(())
    });
}

#[test]
fn client_stays_with_its_server_while_it_is_persistent() {
    within(60, || {
        let net = Topology::new()?;
        let servers = MailServers::start(&net, [25, 26])?;
        let director = Director::start(&net.dom0, &Start::default())?;
        director.run_all(&[
            "ipvsadm -A -t 10.0.0.5:25 -s rr -p 300",
            "ipvsadm -a -t 10.0.0.5:25 -r 10.0.1.5 -m",
            "ipvsadm -a -t 10.0.0.5:25 -r 10.0.1.6:26 -m",
        ])?;
        let first = servers.mail(&net, CLIENT, 1000)?;
        for _ in 0..4 {
            let again = servers.mail(&net, CLIENT, 1000)?;
            ensure!(again == first, "first {first}, then {again}");
        }
        let other = servers.mail(&net, OTHER_CLIENT, 1000)?;
        ensure!(other != first, "rr gave {other} to both clients");
        ensure!(servers.mail(&net, OTHER_CLIENT, 1000)? == other);
        let mut shares = servers.received();
        shares.sort_unstable();
        ensure!(shares == [2, 5], "{shares:?}");
        director.stop()?;
        Ok(())
    });
}
