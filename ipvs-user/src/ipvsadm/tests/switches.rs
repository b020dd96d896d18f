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
