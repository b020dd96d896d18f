//! What the daemon is told and shows of one-packet scheduling, flags, timeouts, and what the command line cannot say.

use super::*;
use crate::api::wire::{Command, OnDead, ServiceSpec};

#[tokio::test]
async fn every_scheduler_is_taken_and_listed() {
    let daemon = TestDaemon::start();
    for (mark, scheduler) in (1..).zip(ipvs_common::Scheduler::NAMES) {
        printed(&daemon, &format!("-A -f {mark} -s {scheduler}")).await;
        let listing = printed(&daemon, &format!("-Ln -f {mark}")).await;
        let line = format!("FWM  {mark} {scheduler}");
        assert_eq!(listing.lines().last(), Some(line.as_str()));
    }
}

#[tokio::test]
async fn switches_are_listed_in_the_originals_order() {
    let daemon = TestDaemon::start();
    printed(
        &daemon,
        "-A -u 203.0.113.10:53 -s sh -p 60 -M 255.255.255.0 -o -b sh-port,sh-fallback",
    )
    .await;
    let listing = printed(&daemon, "-Ln -u 203.0.113.10:53").await;
    assert_eq!(
        listing.lines().last(),
        Some("UDP  203.0.113.10:53 sh (sh-fallback,sh-port) persistent 60 mask 255.255.255.0 ops")
    );
    assert_eq!(
        printed(&daemon, "-Sn").await,
        "-A -u 203.0.113.10:53 -s sh -p 60 -M 255.255.255.0 -o -b sh-fallback,sh-port\n"
    );
    printed(&daemon, "-E -u 203.0.113.10:53 -s sh").await;
    assert_eq!(
        printed(&daemon, "-Sn").await,
        "-A -u 203.0.113.10:53 -s sh\n"
    );
}

#[tokio::test]
async fn timeouts_of_0_stay_as_they_are() {
    let daemon = TestDaemon::start();
    for (line, after) in [
        ("--set 0 0 100", "900 120 100"),
        ("--set 3 2 0", "3 2 100"),
        ("--set 0 0 0", "3 2 100"),
    ] {
        printed(&daemon, line).await;
        assert_eq!(
            printed(&daemon, "-L --timeout").await,
            format!("Timeout (tcp tcpfin udp): {after}\n"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn an_edit_keeps_the_policies_that_the_command_line_cannot_say() {
    let daemon = TestDaemon::start();
    let spec = ServiceSpec {
        on_dead: Some(OnDead::Reset),
        reopen: Some(true),
        templates_die: Some(true),
        ..ServiceSpec::new("rr")
    };
    let service = ServiceId::Fwmark(1.try_into().unwrap());
    let add = Command::AddService {
        service,
        spec: spec.clone(),
    };
    daemon.client.apply(&[add]).await.unwrap();
    printed(&daemon, "-E -f 1 -s wlc").await;
    let after = daemon.client.service(service).await.unwrap().spec;
    let expected = ServiceSpec {
        scheduler: "wlc".to_owned(),
        ..spec
    };
    assert_eq!(after, expected);
}

#[tokio::test]
async fn counters_of_one_service_or_of_all_start_over() {
    let daemon = TestDaemon::start();
    for line in [
        "-A -f 1",
        "-a -f 1 -r 10.0.0.1",
        "-A -f 2",
        "-a -f 2 -r 10.0.0.1",
    ] {
        printed(&daemon, line).await;
    }
    for id in 0..2 {
        daemon.tables.lock().unwrap().dest_stats[id].conns = 7;
    }
    let counted = async |mark: u8| {
        let listing = printed(&daemon, &format!("-Ln --stats -f {mark}")).await;
        let rows = listing.lines().skip(2);
        let of_row = |row: &str| row.split_whitespace().nth(2).map(str::to_owned);
        rows.filter_map(of_row).collect::<Vec<_>>()
    };
    printed(&daemon, "-Z -f 1").await;
    assert_eq!(counted(1).await, ["0", "0"]);
    assert_eq!(counted(2).await, ["7", "7"]);
    assert_eq!(daemon.client.stats().await.unwrap().stats.conns, 14);
    printed(&daemon, "--zero").await;
    assert_eq!(counted(2).await, ["0", "0"]);
    assert_eq!(daemon.client.stats().await.unwrap().stats.conns, 0);
    let unknown = ipvsadm(&daemon, "-Z -f 3").await;
    assert_eq!(
        (unknown.status, unknown.stderr.as_str()),
        (255, "No such service\n")
    );
    let wrong = ipvsadm(&daemon, "-Z -n").await;
    assert_eq!(
        (wrong.status, wrong.stderr.as_str()),
        (2, "Illegal 'numeric' option with the 'zero' command\n")
    );
}

#[tokio::test]
async fn rates_of_a_second_are_listed() {
    let daemon = TestDaemon::start();
    printed(&daemon, "-A -f 1").await;
    printed(&daemon, "-a -f 1 -r 10.0.0.1").await;
    daemon.tables.lock().unwrap().dest_stats[0] = Stats {
        conns: 800_000_000,
        in_packets: 800_000_000,
        out_packets: 16_000_000_000,
        in_bytes: 1_600_000_000_000,
        out_bytes: 8,
    };
    daemon.director.lock().unwrap().tick().unwrap();
    let listing = printed(&daemon, "-Ln --rate").await;
    let rows: Vec<_> = listing.lines().skip(1).collect();
    // Of a real server's, only bytes are shortened.
    assert_eq!(
        rows,
        [
            "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS",
            "  -> RemoteAddress:Port",
            "FWM  1                             100000K  100000K    2000M     200G        1",
            "  -> 10.0.0.1:0                   100000000 100000000 2000000000     200G        1",
        ]
    );
    let exact = printed(&daemon, "-Ln --rate --exact").await;
    assert!(exact.contains(
        "\nFWM  1                            100000000 100000000 2000000000 200000000000        1\n"
    ));
    let status = daemon.client.status().await.unwrap();
    assert_eq!(status.totals.rates.in_packets, 100_000_000);
    let both = ipvsadm(&daemon, "-Lnc --rate").await;
    assert_eq!(both.stderr, "options conflicts in the list command\n");
}
