//! Every tunnel with real sockets: bulk data both ways over either version of IP, at once to a guest of the service's family and to
//! one of the other, which `ipvsd real-server` has set up, once with our program and once with the kernel's own devices.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ipvs_tests::{
    six::six,
    six_session::{PORT, Session, serve},
    topology::{
        CLIENT, Director, GUESTS, Netns, Part, Scratch, Start, Topology, VIP, eventually, within,
    },
};

/// Bytes each way.
const BULK: usize = 2 << 20;
const MTU: u32 = 1500;
/// The daemon follows a command within this time.
const SOON: Duration = Duration::from_secs(5);

#[derive(Clone, Copy)]
struct Tunnel {
    /// To ipvsadm.
    options: &'static str,
    /// To the real server.
    arguments: &'static str,
    /// Bytes of its header between the two of IP.
    own: u32,
}

const IPIP: Tunnel = Tunnel {
    options: "",
    arguments: "",
    own: 0,
};
const GRE: Tunnel = Tunnel {
    options: "--tun-type gre",
    arguments: "--tunnel-type gre",
    own: 4,
};
const GRE_CHECKED: Tunnel = Tunnel {
    options: "--tun-type gre --tun-csum",
    own: 8,
    ..GRE
};
const GUE: Tunnel = Tunnel {
    options: "--tun-type gue --tun-port 6080",
    arguments: "--tunnel-type gue --port 6080",
    own: 12,
};
const GUE_CHECKED: Tunnel = Tunnel {
    options: "--tun-type gue --tun-port 6080 --tun-csum",
    ..GUE
};
const GUE_REMOTE: Tunnel = Tunnel {
    options: "--tun-type gue --tun-port 6080 --tun-remcsum",
    ..GUE
};

/// Has a guest unpack.
fn set_up(guest: &Netns, tunnel: Tunnel, unpack: &str, scratch: &Scratch) -> Result<()> {
    let state = scratch.path().join(guest.name());
    let words = format!(
        "real-server --vip {VIP} --vip {} --method tunnel {} --unpack {unpack} --state {}",
        six(VIP),
        tunnel.arguments,
        state.display()
    );
    let words: Vec<_> = words.split_whitespace().collect();
    let program = Director::program()?;
    guest.output(&program.to_string_lossy(), &words)?;
    Ok(())
}

/// The guest of the service's family, and that of the other one.
fn commands(vip: IpAddr, tunnel: Tunnel) -> [String; 3] {
    let reals: [IpAddr; 2] = match vip {
        IpAddr::V4(_) => [GUESTS[0].into(), six(GUESTS[1]).into()],
        IpAddr::V6(_) => [six(GUESTS[0]).into(), GUESTS[1].into()],
    };
    let at = |ip: IpAddr| std::net::SocketAddr::new(ip, PORT);
    let service = at(vip);
    let add = |real| {
        let options = tunnel.options;
        format!("ipvsadm -a -t {service} -r {} -i {options}", at(real))
    };
    [
        format!("ipvsadm -A -t {service} -s rr"),
        add(reals[0]),
        add(reals[1]),
    ]
}

/// Sessions from the same client reach both guests, which see it as it is.
fn both_guests_answer(net: &Topology, vip: IpAddr) -> Result<()> {
    let call = || -> Result<String> {
        let session = Session::begin_with(net, vip)?;
        session.exchange(BULK)?;
        Ok(session.line)
    };
    let lines = [call()?, call()?];
    let client = match vip {
        IpAddr::V4(_) => CLIENT.to_string(),
        IpAddr::V6(_) => six(CLIENT).to_string(),
    };
    let names: BTreeSet<_> = lines.iter().filter_map(|l| l.split(' ').next()).collect();
    ensure!(names.len() == 2, "rr gave both to one: {lines:?}");
    let as_it_is = |line: &String| line.ends_with(&format!(" {client}"));
    ensure!(lines.iter().all(as_it_is), "{lines:?}");
    Ok(())
}

fn carries(net: &Topology, tunnel: Tunnel, unpack: &str) -> Result<()> {
    net.over_six()?;
    let scratch = Scratch::new()?;
    for guest in &net.guests {
        serve(guest, PORT)?;
        set_up(guest, tunnel, unpack, &scratch)?;
    }
    let director = Director::start(&net.dom0, &Start::default())?;
    let vips: [IpAddr; 2] = [VIP.into(), six(VIP).into()];
    for vip in vips {
        let commands = commands(vip, tunnel);
        director.run_all(&commands.each_ref().map(String::as_str))?;
        both_guests_answer(net, vip).with_context(|| format!("{vip}, {}", tunnel.options))?;
    }
    net.nothing_refused()?;
    let learned = [net.learned_mtu()?, net.learned_mtu_over_six()?];
    let least = Some(MTU - 40 - tunnel.own);
    ensure!(learned == [least; 2], "the client learned {learned:?}");
    let reasons = director.run("ipvsd reasons")?;
    ensure!(reasons.contains("checksum_completed"), "{reasons}");
    let list = director.run("ipvsadm -Lnc")?;
    for real in [six(GUESTS[1]).to_string(), GUESTS[1].to_string()] {
        ensure!(list.contains(&real), "{list}");
    }
    director.stop()?;
    Ok(())
}

/// Or the kernel tells programs no way to those clients, who have to hear of errors.
#[test]
fn interfaces_forward_ipv6_for_a_service_though_no_real_server_is_of_it() {
    within(60, || {
        let net = Topology::new()?;
        net.over_six()?;
        net.dom0.set("ipv6/conf/all/forwarding", "0")?;
        let director = Director::start(&net.dom0, &Start::default())?;
        let [add, _, other_family] = commands(six(VIP).into(), GUE);
        director.run(&add)?;
        director.run(&other_family)?;
        let forwards =
            || -> Result<bool> { Ok(net.dom0.get("ipv6/conf/eth0/forwarding")?.trim() == "1") };
        ensure!(eventually(SOON, forwards)?, "eth0 forwards no IPv6");
        director.stop()?;
        ensure!(!forwards()?, "eth0 still forwards IPv6");
        Ok(())
    });
}

fn carries_to_our_program(tunnel: Tunnel) {
    within(90, move || carries(&Topology::new()?, tunnel, "xdp"));
}

/// Where the kernel has them. (Its devices of GRE refuse packets with a checksum, unless they are told to refuse all others.)
fn carries_to_the_kernels_devices(tunnel: Tunnel) {
    within(180, move || {
        if !Part::Tunnels.is_there()? {
            return Ok(());
        }
        carries(&Topology::new()?, tunnel, "kernel")
    });
}

#[test]
fn ip_in_ip_crosses_families() {
    carries_to_our_program(IPIP);
}

#[test]
fn gre_moves_data_both_ways_with_offloads_as_they_come() {
    carries_to_our_program(GRE);
}

#[test]
fn gre_with_checksums_moves_data_both_ways_with_offloads_as_they_come() {
    carries_to_our_program(GRE_CHECKED);
}

#[test]
fn gue_moves_data_both_ways_with_offloads_as_they_come() {
    carries_to_our_program(GUE);
}

#[test]
fn gue_with_checksums_moves_data_both_ways_with_offloads_as_they_come() {
    carries_to_our_program(GUE_CHECKED);
}

#[test]
fn gue_moves_data_where_dom0_completes_no_checksums() {
    within(90, || {
        let net = Topology::new()?;
        net.dom0_without_checksum_offload()?;
        carries(&net, GUE_REMOTE, "xdp")
    });
}

#[test]
fn kernels_devices_take_ip_in_ip_of_both_families() {
    carries_to_the_kernels_devices(IPIP);
}

#[test]
fn kernels_devices_take_gre() {
    carries_to_the_kernels_devices(GRE);
}

#[test]
fn kernels_devices_take_gue() {
    carries_to_the_kernels_devices(GUE);
}

#[test]
fn kernels_devices_take_gue_with_checksums() {
    carries_to_the_kernels_devices(GUE_CHECKED);
}
