//! IPv6 as recordings of the kernel's ip_vs have it: the frames that are forwarded, the errors, what is listed, and which real
//! server a client's address is hashed to. What the kernel's stack answers, and ICMP that comes in, is left out.

use std::{collections::BTreeSet, net::Ipv6Addr};

use etherparse::PacketBuilder;
use ipvs_tests::{
    backend::{Backend, Host, Setup, Verdict},
    packet::{ETHERNET, contrast, describe},
    replay::Console,
    trace::{Frame, Network, Trace, What},
};

const ICMPV6: u8 = 58;
const NEXT_HEADER: usize = ETHERNET + 6;
/// The port of the destination.
const DESTINATION: usize = ETHERNET + 42;

struct Replayed {
    console: Console,
    /// Frames that left as they did in the recording.
    same: usize,
}

/// Only services at these ports, and packets to them.
fn replay(name: &str, ports: &[u16]) -> Replayed {
    let trace = Trace::of(name).unwrap();
    let network = Network::load().unwrap();
    let mut host = Host::new(Setup::new(network.clone()));
    let console = Console::new(host.dataplane(), &network).unwrap();
    let is_asked = |command: &&String| {
        let at = |port| command.contains(&format!("]:{port} "));
        ports.is_empty() || ports.iter().any(at)
    };
    for command in trace.config.iter().filter(is_asked) {
        let outcome = console.run(command).unwrap();
        assert_eq!(outcome.status, 0, "{command}: {}", outcome.stderr);
    }
    let mut same = 0;
    for (number, step) in trace.steps.iter().enumerate() {
        let What::In(frame) = &step.what else {
            continue;
        };
        let is_six = frame.bytes[12..14] == [0x86, 0xdd];
        if !is_six || frame.bytes[NEXT_HEADER] == ICMPV6 {
            continue;
        }
        let port = [frame.bytes[DESTINATION], frame.bytes[DESTINATION + 1]];
        if !ports.is_empty() && !ports.contains(&u16::from_be_bytes(port)) {
            continue;
        }
        let behind = trace.steps[number + 1..].iter();
        let expected = behind.map_while(|s| match &s.what {
            What::Out(frame) => Some(frame),
            What::In(_)
            | What::Ctl { .. }
            | What::Show { .. }
            | What::Sysctl { .. }
            | What::Sleep { .. } => None,
        });
        let expected: Vec<_> = expected.collect();
        let link = network.index_of(&frame.link).unwrap();
        let outcome = host.run(link, &frame.bytes).unwrap();
        let by = match outcome.verdict {
            Verdict::Pass => continue,
            Verdict::Drop | Verdict::Waits => panic!("dropped: {}", describe(&frame.bytes)),
            Verdict::Tx => link,
            Verdict::Redirect(by) => by.unwrap(),
        };
        let [expected] = expected[..] else {
            panic!("{} frames after {}", expected.len(), step.note);
        };
        assert_eq!(network.links[by].name, expected.link, "{}", step.note);
        let (wanted, got) = (plain(expected), without_label(&outcome.frame));
        assert!(wanted == got, "{}\n{}", step.note, contrast(&wanted, &got));
        same += 1;
    }
    Replayed { console, same }
}

fn plain(frame: &Frame) -> Vec<u8> {
    without_label(&frame.bytes)
}

/// The kernel labels the flows of its own packets as it likes.
fn without_label(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    if frame[NEXT_HEADER] == ICMPV6 {
        frame[ETHERNET + 1] &= 0xf0;
        frame[ETHERNET + 2..ETHERNET + 4].fill(0);
    }
    frame
}

/// State and ends of each connection.
fn connections(list: &str) -> BTreeSet<Vec<String>> {
    let rows = list.lines().skip(2);
    let columns = rows.map(|row| {
        row.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    columns
        .map(|mut row| {
            row.remove(1);
            row
        })
        .collect()
}

/// What the last `ipvsadm -Lnc` of a recording listed.
fn listed(name: &str) -> String {
    let trace = Trace::of(name).unwrap();
    trace.after.connections.unwrap()
}

#[test]
fn direct_routing_is_as_recorded() {
    let replayed = replay("dr_v6", &[]);
    assert_eq!(replayed.same, 5);
    let got = replayed.console.run("ipvsadm -Lnc").unwrap().stdout;
    assert_eq!(connections(&got), connections(&listed("dr_v6")), "{got}");
}

#[test]
fn masquerading_is_as_recorded() {
    let replayed = replay("nat_v6", &[]);
    assert_eq!(replayed.same, 11);
    let got = replayed.console.run("ipvsadm -Lnc").unwrap().stdout;
    assert_eq!(connections(&got), connections(&listed("nat_v6")), "{got}");
}

#[test]
fn ipv6_in_ipv6_is_as_recorded() {
    // The other real servers of this recording are of tunnels that are not carried.
    let replayed = replay("tun_v6", &[80]);
    assert_eq!(replayed.same, 3);
}

/// The real server that each client of a recorded map gets.
fn map_is_as_recorded(name: &str) {
    let trace = Trace::of(name).unwrap();
    let network = Network::load().unwrap();
    let mut host = Host::new(Setup::new(network.clone()));
    let console = Console::new(host.dataplane(), &network).unwrap();
    for command in &trace.config {
        let outcome = console.run(command).unwrap();
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    }
    let virt: Ipv6Addr = "2001:db8:f::10".parse().unwrap();
    let text = std::fs::read_to_string(
        ipvs_tests::trace::golden_dir()
            .join(name)
            .with_extension("json"),
    );
    let file: serde_json::Value = serde_json::from_str(&text.unwrap()).unwrap();
    let map = file["maps"]["plain"].as_array().unwrap();
    assert_eq!(map.len(), 200);
    for (port, choice) in (1000..).zip(map) {
        let client: Ipv6Addr = choice[0].as_str().unwrap().parse().unwrap();
        let real: std::net::Ipv4Addr = choice[1].as_str().unwrap().parse().unwrap();
        let [_, _, link, last] = real.octets();
        let (from, to) = (network.gateway_mac, network.links[0].mac);
        let packet = PacketBuilder::ethernet2(from, to)
            .ipv6(client.octets(), virt.octets(), 64)
            .udp(port, 80);
        let mut frame = Vec::new();
        packet.write(&mut frame, b"x").unwrap();
        let sent = host.run(0, &frame).unwrap().frame;
        assert_eq!(sent[..6], [2, 0, 0, 1, link, last], "{client}");
    }
}

#[test]
fn sh_maps_clients_as_recorded() {
    map_is_as_recorded("sh_map_v6");
}

#[test]
fn mh_maps_clients_as_recorded() {
    map_is_as_recorded("mh_map_v6");
}
