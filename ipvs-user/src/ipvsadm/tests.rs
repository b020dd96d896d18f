//! The command line against a daemon over the host's tables, and its output against what the original printed.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use ipvs_common::{Conn, ConnFlags, FlowKey, State, Stats, Status, Template, TemplateKey};
use ipvs_datapath::host::HostTables;
use serde_json::Value;

use super::{Names, Outcome, REFUSED, names::Transport, run};
use crate::api::{
    tests::TestDaemon,
    wire::{Method, ServiceId},
};

mod grammar;
mod recorded;
mod restore;
mod switches;

/// Three services and one host.
struct Fixed;

const SERVICES: [(&str, u16); 3] = [("smtp", 25), ("domain", 53), ("http", 80)];

impl Names for Fixed {
    fn address(&self, host: &str) -> Option<Ipv4Addr> {
        (host == "www.example.net").then_some(Ipv4Addr::new(203, 0, 113, 10))
    }
    fn port(&self, service: &str, _: Transport) -> Option<u16> {
        SERVICES.iter().find(|s| s.0 == service).map(|s| s.1)
    }
    fn host(&self, address: IpAddr) -> Option<String> {
        (address == Ipv4Addr::new(10, 0, 9, 9))
            .then(|| "a-real-server-with-a-very-long-name.example.net".to_owned())
    }
    fn service(&self, port: u16, _: Transport) -> Option<String> {
        let found = SERVICES.iter().find(|s| s.1 == port);
        found.map(|s| s.0.to_owned())
    }
}

/// A command line without the program.
fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

async fn ipvsadm(daemon: &TestDaemon, line: &str) -> Outcome {
    let line = line.strip_prefix("ipvsadm").unwrap_or(line);
    run(
        "ipvsadm",
        &words(line),
        &daemon.client,
        &Fixed,
        &mut std::io::empty(),
    )
    .await
}

async fn printed(daemon: &TestDaemon, line: &str) -> String {
    let outcome = ipvsadm(daemon, line).await;
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{line}");
    outcome.stdout
}

fn golden(name: &str) -> Value {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let text = std::fs::read_to_string(dir.join(name).with_extension("json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn text(v: &Value) -> &str {
    v.as_str().unwrap()
}

/// A daemon after the commands of a trace, with the counts that its listings show put where the datapath keeps them.
async fn after(trace: &Value) -> TestDaemon {
    let daemon = TestDaemon::start();
    for command in trace["config"].as_array().unwrap() {
        printed(&daemon, text(command)).await;
    }
    let after = &trace["after"];
    let mut tables = daemon.tables.lock().unwrap();
    for (plain, stats) in dest_rows(text(&after["Ln"])).zip(dest_rows(text(&after["stats"]))) {
        let number = |row: &[&str], i: usize| row[i].parse().unwrap();
        let id = dest_called(&tables, plain[1]);
        tables.dest_states[id].active = number(&plain, 4) as u32;
        tables.dest_states[id].inactive = number(&plain, 5) as u32;
        tables.dest_stats[id] = Stats {
            conns: number(&stats, 2),
            in_packets: number(&stats, 3),
            out_packets: number(&stats, 4),
            in_bytes: number(&stats, 5),
            out_bytes: number(&stats, 6),
        };
    }
    for row in text(&after["Lnc"]).lines().skip(2) {
        put_connection(&mut tables, &row.split_whitespace().collect::<Vec<_>>());
    }
    drop(tables);
    daemon
}

fn dest_rows(listing: &str) -> impl Iterator<Item = Vec<&str>> {
    let rows = listing.lines().skip(3);
    rows.filter(|l| l.starts_with("  ->"))
        .map(|l| l.split_whitespace().collect())
}

/// Index of the real server with this `address:port`.
fn dest_called(t: &HostTables, name: &str) -> usize {
    let name: std::net::SocketAddrV4 = name.parse().unwrap();
    let is = |d: &ipvs_common::Dest| {
        d.addr.low4() == name.ip().octets() && d.port == name.port().to_be_bytes() && d.flags != 0
    };
    t.dests.iter().position(is).unwrap()
}

/// A row of `-Lnc`.
fn put_connection(t: &mut HostTables, row: &[&str]) {
    let [proto, expire, state, client, virt, real] = row else {
        panic!("{row:?}")
    };
    let [client, virt, real] =
        [client, virt, real].map(|a| a.parse::<std::net::SocketAddrV4>().unwrap());
    let (minutes, seconds) = expire.split_once(':').unwrap();
    let seconds = minutes.parse::<u64>().unwrap() * 60 + seconds.parse::<u64>().unwrap();
    let expires = t.clock + seconds * 250 + 100;
    let proto = if *proto == "UDP" { 17 } else { 6 };
    let (vip, vport) = (virt.ip().octets(), virt.port().to_be_bytes());
    if *state == "NONE" {
        let key = TemplateKey {
            client: client.ip().octets(),
            vip,
            vport,
            proto,
            generation: 0,
        };
        let dest = dest_called(t, &real.to_string()) as u32;
        let template = Template {
            expires,
            dest,
            ..Template::default()
        };
        t.four.templates.insert(key, template);
        return;
    }
    let (cip, cport) = (client.ip().octets(), client.port().to_be_bytes());
    let (rip, rport) = (real.ip().octets(), real.port().to_be_bytes());
    let number = State::ALL.iter().find(|s| s.name() == *state).unwrap();
    let conn = |to_addr, to_port, flags, expires| Conn {
        expires,
        to_addr,
        to_port,
        status: Status {
            state: *number as u8,
            flags,
            ..Status::default()
        },
        ..Conn::default()
    };
    // The client's entry of a masqueraded connection may be the older one.
    let forth = FlowKey::new(proto, cip, cport, vip, vport);
    let translated = vport != rport;
    let behind = if translated { 1000 } else { 0 };
    t.four
        .conns
        .insert(forth, conn(rip, rport, 0, expires - behind));
    if translated {
        let back = FlowKey::new(proto, rip, rport, cip, cport);
        t.four
            .conns
            .insert(back, conn(vip, vport, ConnFlags::REPLY, expires));
    }
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[tokio::test]
async fn listings_are_the_originals_to_the_byte() {
    for name in [
        "dr_tcp_rr",
        "nat_tcp_port_25_26",
        "tun_ipip",
        "udp_rr",
        "lblc_basic",
        "persist_default",
        "ops_udp",
        "set_timeouts",
    ] {
        let trace = golden(name);
        let daemon = after(&trace).await;
        let expected = |key: &str| text(&trace["after"][key]).to_owned();
        for (line, key) in [("-Ln", "Ln"), ("-Ln --stats", "stats"), ("-S -n", "S")] {
            assert_eq!(printed(&daemon, line).await, expected(key), "{name} {line}");
        }
        // Connections, and services without sorting, come in the order of the kernel's hash.
        let conns = printed(&daemon, "-Lnc").await;
        assert_eq!(sorted(&conns), sorted(&expected("Lnc")), "{name}");
        let unsorted = printed(&daemon, "-L -n --nosort").await;
        if trace["config"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|c| text(c).contains(" -A "))
            .count()
            == 1
        {
            assert_eq!(unsorted, expected("Ln_nosort"), "{name}");
        }
    }
}

#[tokio::test]
async fn names_are_taken_shown_and_cut() {
    let daemon = TestDaemon::start();
    printed(&daemon, "-A -t www.example.net:http -s rr").await;
    printed(&daemon, "-a -t www.example.net:http -r 10.0.9.9:smtp -m").await;
    let listing = printed(&daemon, "").await;
    let rows: Vec<_> = listing.lines().skip(3).collect();
    assert_eq!(
        rows,
        [
            "TCP  203.0.113.10:http rr",
            "  -> a-real-server-with-a-very-lo Masq    1      0          0         ",
        ]
    );
    let saved = printed(&daemon, "-S").await;
    assert!(saved.contains("-r a-real-server-with-a-very-long-name.example.net:smtp -m"));
}

#[tokio::test]
async fn large_numbers_are_shortened_unless_exact() {
    let daemon = TestDaemon::start();
    printed(&daemon, "-A -f 1").await;
    printed(&daemon, "-a -f 1 -r 10.0.0.1").await;
    daemon.tables.lock().unwrap().dest_stats[0] = Stats {
        conns: 99_999_999,
        in_packets: 100_000_000,
        out_packets: 1_000_000_000,
        in_bytes: 100_000_000_000,
        out_bytes: 100_000_000_000_000,
    };
    let row = |listing: String| listing.lines().nth(3).unwrap().to_owned();
    assert_eq!(
        row(printed(&daemon, "-Ln --stats").await),
        "FWM  1                            99999999  100000K    1000M     100G     100T"
    );
    assert_eq!(
        row(printed(&daemon, "-Ln --stats --exact").await),
        "FWM  1                            99999999 100000000 1000000000 100000000000 100000000000000"
    );
}

#[tokio::test]
async fn without_a_daemon_the_command_says_so() {
    let client = crate::api::client::Client::new(Path::new("/nonexistent/ipvsd.sock"));
    let outcome = run(
        "ipvsadm",
        &words("-Ln"),
        &client,
        &Fixed,
        &mut std::io::empty(),
    )
    .await;
    assert_eq!((outcome.status, outcome.stdout.as_str()), (2, ""));
    assert!(outcome.stderr.contains("/nonexistent/ipvsd.sock"));
    let help = run(
        "ipvsadm",
        &words("-h"),
        &client,
        &Fixed,
        &mut std::io::empty(),
    )
    .await;
    assert_eq!(help.status, 0);
    assert!(
        help.stdout
            .contains("rr|wlc|lblc|wrr|lc|lblcr|dh|sh|sed|nq|fo|ovf|mh|twos|none")
    );
}
