//! IPv6 with real sockets: bulk data both ways through guests that leave checksums and segmentation to their card, and what the
//! daemon does for it.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, ensure};
use ipvs_tests::{
    six::six,
    six_session::{PORT, Session, call, serve},
    topology::{CLIENT, Director, GUESTS, Part, Start, Topology, eventually, within},
};

/// Bytes each way.
const BULK: usize = 4 << 20;
/// The daemon follows a command within this time.
const SOON: Duration = Duration::from_secs(5);

const MASQ: [&str; 3] = [
    "ipvsadm -A -t [2001:db8:a00::5]:25 -s rr",
    "ipvsadm -a -t [2001:db8:a00::5]:25 -r [2001:db8:a00:1::5]:2525 -m",
    "ipvsadm -a -t [2001:db8:a00::5]:25 -r [2001:db8:a00:1::6]:2525 -m",
];
const DROUTE: [&str; 3] = [
    "ipvsadm -A -t [2001:db8:a00::5]:25 -s rr",
    "ipvsadm -a -t [2001:db8:a00::5]:25 -r [2001:db8:a00:1::5]:25 -g",
    "ipvsadm -a -t [2001:db8:a00::5]:25 -r [2001:db8:a00:1::6]:25 -g",
];

/// Calls from the same client reach both guests, which see it as it is.
fn both_guests_answer(net: &Topology) -> Result<()> {
    let lines = [call(net, BULK)?, call(net, BULK)?];
    let client = six(CLIENT).to_string();
    let names: BTreeSet<_> = lines.iter().filter_map(|l| l.split(' ').next()).collect();
    ensure!(names.len() == 2, "rr gave both to one: {lines:?}");
    ensure!(
        lines.iter().all(|l| l.ends_with(&format!(" {client}"))),
        "{lines:?}"
    );
    net.nothing_refused()
}

fn masquerades(net: &Topology, how: &Start) -> Result<()> {
    net.over_six()?;
    for guest in &net.guests {
        serve(guest, 2525)?;
    }
    let director = Director::start(&net.dom0, how)?;
    director.run_all(&MASQ)?;
    both_guests_answer(net)?;
    let list = director.run("ipvsadm -Lnc")?;
    let row = format!("[{}]:2525", six(GUESTS[0]));
    ensure!(list.contains(&row), "{list}");
    let reasons = director.run("ipvsd reasons")?;
    if how.mode == Some("native") {
        ensure!(reasons.contains("checksum_completed"), "{reasons}");
    }
    director.stop()?;
    Ok(())
}

#[test]
fn masqueraded_data_goes_both_ways_with_offloads_as_they_come() {
    within(90, || masquerades(&Topology::new()?, &Start::default()));
}

#[test]
fn masqueraded_data_goes_where_dom0_completes_no_checksums() {
    within(90, || {
        let net = Topology::new()?;
        net.dom0_without_checksum_offload()?;
        masquerades(&net, &Start::default())
    });
}

#[test]
fn generic_mode_moves_aggregates_of_segments() {
    within(90, || {
        let how = Start {
            mode: Some("generic"),
            ..Start::default()
        };
        masquerades(&Topology::bare()?, &how)
    });
}

fn droutes(net: &Topology) -> Result<()> {
    net.over_six()?;
    net.guests_take_vip_over_six()?;
    for guest in &net.guests {
        serve(guest, PORT)?;
    }
    let director = Director::start(&net.dom0, &Start::default())?;
    director.run_all(&DROUTE)?;
    both_guests_answer(net)?;
    let reasons = director.run("ipvsd reasons")?;
    ensure!(reasons.contains("checksum_completed"), "{reasons}");
    director.stop()?;
    Ok(())
}

#[test]
fn direct_routing_moves_data_both_ways_with_offloads_as_they_come() {
    within(90, || droutes(&Topology::new()?));
}

#[test]
fn direct_routing_moves_data_where_dom0_completes_no_checksums() {
    within(90, || {
        let net = Topology::new()?;
        net.dom0_without_checksum_offload()?;
        droutes(&net)
    });
}

const TUNNEL: [&str; 3] = [
    "ipvsadm -A -t [2001:db8:a00::5]:25 -s rr",
    "ipvsadm -a -t [2001:db8:a00::5]:25 -r [2001:db8:a00:1::5]:25 -i",
    "ipvsadm -a -t [2001:db8:a00::5]:25 -r [2001:db8:a00:1::6]:25 -i",
];

fn tunnels(net: &Topology) -> Result<()> {
    net.over_six()?;
    net.guests_take_vip_over_six()?;
    for guest in &net.guests {
        serve(guest, PORT)?;
    }
    let director = Director::start(&net.dom0, &Start::default())?;
    director.run_all(&TUNNEL)?;
    both_guests_answer(net)?;
    let learned = net.learned_mtu_over_six()?;
    ensure!(learned == Some(1460), "the client learned {learned:?}");
    let reasons = director.run("ipvsd reasons")?;
    ensure!(reasons.contains("checksum_completed"), "{reasons}");
    director.stop()?;
    Ok(())
}

#[test]
fn tunnel_moves_data_both_ways_with_offloads_as_they_come() {
    within(90, || {
        let net = Topology::new()?;
        let _programs = net.guests_unpack()?;
        tunnels(&net)
    });
}

#[test]
fn tunnel_moves_data_where_dom0_completes_no_checksums() {
    within(90, || {
        let net = Topology::new()?;
        net.dom0_without_checksum_offload()?;
        let _programs = net.guests_unpack()?;
        tunnels(&net)
    });
}

#[test]
fn guests_with_the_kernels_tunnel_device_take_data_both_ways() {
    within(90, || {
        if !Part::Ip6Tnl.is_there()? {
            return Ok(());
        }
        let net = Topology::new()?;
        for guest in &net.guests {
            guest.ip("link set ip6tnl0 up")?;
        }
        tunnels(&net)
    });
}

/// With so many places for connections, established and half-open.
fn sized(connections: u32) -> Start {
    Start {
        config: Some(format!(
            "[director]\nconnections6 = {connections}\nhalf_open6 = {connections}\n"
        )),
        stays: true,
        ..Start::default()
    }
}

#[test]
fn sessions_go_on_in_tables_of_other_sizes() {
    within(90, || {
        let net = Topology::new()?;
        net.over_six()?;
        for guest in &net.guests {
            serve(guest, 2525)?;
        }
        let director = Director::start(&net.dom0, &sized(8192))?;
        director.run_all(&MASQ)?;
        director.run("ipvsadm -E -t [2001:db8:a00::5]:25 -s rr -p 600")?;
        let session = Session::begin(&net)?;
        session.exchange(BULK)?;
        let entries = |director: &Director| -> Result<(usize, String)> {
            let entries = director.run("ipvsadm -Lnc")?;
            let table = director.run("ipvsadm -Ln --persistent-conn")?;
            Ok((entries.lines().count(), table))
        };
        let before = entries(&director)?;
        ensure!(before.0 == 4, "a template, and a connection: {before:?}");
        let director = director.leave()?.start(&sized(4096))?;
        ensure!(entries(&director)? == before);
        session.exchange(BULK)?;
        ensure!(call(&net, BULK)? == session.line, "it forgot the client");
        net.nothing_refused()?;
        director.stop()?;
        Ok(())
    });
}

/// Nobody listens in the guests, and what they say of it goes to the client past the director.
#[test]
fn half_open_connections_go_on_in_tables_of_other_sizes() {
    within(90, || {
        let net = Topology::new()?;
        net.over_six()?;
        net.guests_take_vip_over_six()?;
        let director = Director::start(&net.dom0, &sized(8192))?;
        director.run_all(&DROUTE)?;
        let half_open = |director: &Director| -> Result<usize> {
            let entries = director.run("ipvsadm -Lnc")?;
            Ok(entries.matches("SYN_RECV").count())
        };
        for _ in 0..3 {
            ensure!(Session::begin(&net).is_err(), "somebody listens");
        }
        ensure!(half_open(&director)? == 3);
        let director = director.leave()?.start(&sized(4096))?;
        ensure!(half_open(&director)? == 3, "not all came over");
        ensure!(Session::begin(&net).is_err(), "somebody listens");
        ensure!(half_open(&director)? == 4, "a new one pushed one out");
        director.stop()?;
        Ok(())
    });
}

#[test]
fn what_ipv6_needs_of_interfaces_is_set_with_the_first_real_server_and_put_back() {
    within(90, || {
        let net = Topology::new()?;
        let forwarding = "ipv6/conf/vif1/forwarding";
        net.dom0.set(forwarding, "0")?;
        let director = Director::start(&net.dom0, &Start::default())?;
        ensure!(net.dom0.get(forwarding)? == "0", "IPv4 needs none of it");
        director.run_all(&DROUTE)?;
        let set = eventually(SOON, || Ok(net.dom0.get(forwarding)? == "1"))?;
        ensure!(set, "not set");
        director.stop()?;
        ensure!(net.dom0.get(forwarding)? == "0", "not put back");
        Ok(())
    });
}

#[test]
fn neighbours_of_real_servers_are_kept_resolved() {
    within(90, || {
        let net = Topology::new()?;
        net.over_six()?;
        let director = Director::start(&net.dom0, &Start::default())?;
        director.run_all(&DROUTE)?;
        let guest = six(GUESTS[0]).to_string();
        let held = eventually(SOON, || {
            let list = net.dom0.output("ip", &["-6", "neigh", "show", &guest])?;
            Ok(list.contains("managed"))
        })?;
        ensure!(held, "it is not managed");
        director.stop()?;
        let list = net.dom0.output("ip", &["-6", "neigh", "show", &guest])?;
        ensure!(!list.contains("managed"), "{list}");
        Ok(())
    });
}
