//! Everything that was recorded of the original over a table that has all of its features.

use std::collections::BTreeSet;

use super::*;
use crate::{
    carries::Carries,
    proc::{self, File},
};

/// A daemon that takes whatever the grammar has, after the commands of the trace and its two packets.
async fn recorded(trace: &Value) -> TestDaemon {
    let daemon = TestDaemon::carrying(Carries::ALL);
    for command in trace["config"].as_array().unwrap() {
        printed(&daemon, text(command)).await;
    }
    {
        let mut tables = daemon.tables.lock().unwrap();
        let web = dest_called(&tables, "10.0.2.10:80");
        tables.dest_states[web].active = 1;
        tables.dest_states[web].persistent = 1;
        for (id, in_bytes) in [(web, 40), (dest_called(&tables, "10.0.3.10:53"), 29)] {
            tables.dest_stats[id] = Stats {
                conns: 1,
                in_packets: 1,
                in_bytes,
                ..Stats::default()
            };
        }
        for row in [
            "TCP 05:58  NONE        198.51.100.1:0     203.0.113.10:80    10.0.2.10:80",
            "TCP 00:58  SYN_RECV    198.51.100.1:40000 203.0.113.10:80    10.0.2.10:80",
        ] {
            put_connection(&mut tables, &row.split_whitespace().collect::<Vec<_>>());
        }
    }
    daemon.director.lock().unwrap().tick().unwrap();
    daemon
}

/// The title, and each service with its real servers, without their order: that is of the kernel's hash.
fn blocks(listing: &str) -> BTreeSet<String> {
    let mut blocks: Vec<String> = Vec::new();
    for line in listing.split_inclusive('\n') {
        match blocks.last_mut() {
            Some(block) if line.starts_with("  ->") => block.push_str(line),
            Some(_) | None => blocks.push(line.to_owned()),
        }
    }
    blocks.into_iter().collect()
}

const fn file(command: &str) -> Option<File> {
    match command.as_bytes() {
        b"cat /proc/net/ip_vs" => Some(File::IpVs),
        b"cat /proc/net/ip_vs_stats" => Some(File::IpVsStats),
        _ => None,
    }
}

#[tokio::test]
async fn every_listing_is_the_originals_to_the_byte() {
    let trace = golden("ipvsadm_output");
    let daemon = recorded(&trace).await;
    let mut compared = 0;
    for step in trace["steps"].as_array().unwrap() {
        // What these print is this program's own, or needs another clock or the counts of each CPU.
        let others = [
            "ipvsadm -v",
            "ipvsadm -h",
            "cat /proc/net/ip_vs_conn",
            "cat /proc/net/ip_vs_stats_percpu",
        ];
        // The last listing is of the table that `errors` leave behind.
        let last = step["t_ms"].as_f64() > Some(8000.0);
        let Some(line) = step["cmd"]
            .as_str()
            .filter(|l| !others.contains(l) && !last)
        else {
            continue;
        };
        let expected = text(&step["out"]);
        let told = match file(line) {
            Some(file) => proc::text(&daemon.client, file).await.unwrap(),
            None => printed(&daemon, line).await,
        };
        if line.contains("--nosort") || file(line) == Some(File::IpVs) {
            assert_eq!(blocks(&told), blocks(expected), "{line}");
        } else {
            assert_eq!(told, expected, "{line}");
        }
        compared += 1;
    }
    assert_eq!(compared, 22, "listings in the trace");
}

#[tokio::test]
async fn every_refusal_is_the_originals() {
    let trace = golden("ipvsadm_output");
    let daemon = recorded(&trace).await;
    let errors = trace["errors"].as_array().unwrap();
    for case in errors {
        let line = text(&case["cmd"]);
        let outcome = ipvsadm(&daemon, line).await;
        let told = (u64::from(outcome.status), outcome.stderr.as_str());
        assert_eq!(
            told,
            (case["rc"].as_u64().unwrap(), text(&case["out"])),
            "{line}"
        );
    }
    assert_eq!(errors.len(), 30, "errors in the trace");
    let last = trace["steps"].as_array().unwrap().last().unwrap();
    assert_eq!(printed(&daemon, "-Ln").await, text(&last["out"]));
}

#[tokio::test]
async fn what_is_not_carried_is_refused_and_changes_nothing() {
    let daemon = TestDaemon::start();
    printed(&daemon, "-A -t 203.0.113.10:80 -s rr").await;
    let before = printed(&daemon, "-Ln").await;
    let cases = [
        (
            "-A -u 203.0.113.10:9 --pe sip",
            "persistence engines are not carried by the datapath yet: udp 203.0.113.10:9",
        ),
        (
            "--start-daemon master --mcast-interface lo",
            "connections are not synchronised by this director yet: no sync daemon can be started",
        ),
    ];
    for (line, message) in cases {
        let outcome = ipvsadm(&daemon, line).await;
        assert_eq!(
            (outcome.status, outcome.stderr),
            (REFUSED, format!("{message}\n")),
            "{line}"
        );
    }
    assert_eq!(printed(&daemon, "-Ln").await, before);
}
