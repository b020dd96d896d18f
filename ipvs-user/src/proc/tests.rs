//! The files against what the kernel's had in them.

use std::path::Path;

use super::*;
use crate::{
    api::tests::TestDaemon,
    ipvsadm::{System, run},
};

fn recorded(trace: &str, command: &str) -> String {
    let file = format!("../tests/golden/{trace}.json");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let trace = std::fs::read_to_string(file).unwrap();
    let trace: serde_json::Value = serde_json::from_str(&trace).unwrap();
    let steps = trace["steps"].as_array().unwrap();
    let step = steps.iter().find(|s| s["cmd"] == command).unwrap();
    step["out"].as_str().unwrap().to_owned()
}

async fn ipvsadm(daemon: &TestDaemon, line: &str) {
    let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
    let outcome = run(
        "ipvsadm",
        &words,
        &daemon.client,
        &System,
        &mut std::io::empty(),
    )
    .await;
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{line}");
}

#[tokio::test]
async fn services_are_the_kernels_to_the_byte() {
    let daemon = TestDaemon::start();
    for line in [
        "-A --sctp-service 203.0.113.10:99 -s nq",
        "-A -t 203.0.113.10:80 -s wlc -p 360",
        "-a -t 203.0.113.10:80 -r 10.0.1.10:80 -g -w 3 -x 100 -y 50",
        "-a -t 203.0.113.10:80 -r 10.0.2.10:8080 -g",
        "-A -u 203.0.113.10:53 -s rr -o",
        "-a -u 203.0.113.10:53 -r 10.0.1.10:53 -i",
        "-A -t 203.0.113.10:25 -s mh -b mh-fallback,mh-port",
        "-a -t 203.0.113.10:25 -r 10.0.1.10:26 -m",
        "-A -f 100 -s lblc -p -M 255.255.255.0",
        "-a -f 100 -r 10.0.1.10 -g -w 0",
        "-A -f 101 -s sh -b sh-port",
    ] {
        ipvsadm(&daemon, line).await;
    }
    daemon.tables.lock().unwrap().dest_states[1].active = 1;
    let printed = text(&daemon.client, File::IpVs).await.unwrap();
    let recorded = recorded("ipvsadm_output", "cat /proc/net/ip_vs");
    // Without IPv6, GRE and GUE.
    let foreign = ["[", "-> 0A00030A:0035", "-> 0A00020A:0035"];
    let ours = recorded
        .split_inclusive('\n')
        .filter(|line| !foreign.iter().any(|f| line.contains(f)));
    assert_eq!(printed, ours.collect::<String>());
}

#[tokio::test]
async fn traffic_is_the_kernels_to_the_byte() {
    let totals = Totals {
        stats: Stats {
            conns: 5,
            in_packets: 25,
            out_packets: 20,
            in_bytes: 3000,
            out_bytes: 4800,
        },
        rates: Rates {
            in_packets: 1,
            in_bytes: 67,
            out_bytes: 107,
            ..Rates::default()
        },
    };
    let recorded = recorded("stats_rate", "cat /proc/net/ip_vs_stats");
    assert_eq!(traffic(&totals), recorded);
}

fn conn(client: &str, state: &str, expires: u64, told: bool) -> Conn {
    Conn {
        protocol: "TCP".to_owned(),
        client: client.parse().unwrap(),
        r#virtual: "203.0.113.10:80".parse().unwrap(),
        real: "10.0.2.10:80".parse().unwrap(),
        state: state.to_owned(),
        expires,
        template: false,
        told,
        engine: None,
    }
}

#[test]
fn connections_are_the_kernels_to_the_byte() {
    let conn = |client, state, expires| conn(client, state, expires, false);
    let list = [
        conn("198.51.100.1:0", "NONE", 357),
        conn("198.51.100.1:40000", "SYN_RECV", 57),
    ];
    let recorded = recorded("ipvsadm_output", "cat /proc/net/ip_vs_conn");
    assert_eq!(connections(&list), recorded);
}

/// What ip_vs's format makes of the same two lines.
#[test]
fn origins_of_connections_stand_between_state_and_timer() {
    let list = [
        conn("198.51.100.1:0", "NONE", 357, true),
        conn("198.51.100.1:40000", "SYN_RECV", 57, false),
    ];
    let expected = "\
Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires
TCP C6336401 0000 CB00710A 0050 0A00020A 0050 NONE        SYNC       357
TCP C6336401 9C40 CB00710A 0050 0A00020A 0050 SYN_RECV    LOCAL       57
";
    assert_eq!(origins(&list), expected);
}
