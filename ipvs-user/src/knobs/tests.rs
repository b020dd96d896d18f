//! `ipvsd sysctl` against a daemon over the host's tables.

use super::*;
use crate::api::tests::TestDaemon;

async fn sysctl(daemon: &TestDaemon, line: &str) -> Result<String, String> {
    let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
    let outcome = run(&daemon.client, &words).await;
    outcome.map_err(|e| format!("{e:#}"))
}

#[tokio::test]
async fn knobs_are_looked_at_and_turned() {
    let daemon = TestDaemon::start();
    let looked = sysctl(&daemon, "conn_reuse_mode sloppy_tcp").await.unwrap();
    assert_eq!(looked, "conn_reuse_mode = 1\nsloppy_tcp = 0\n");
    let turned = sysctl(&daemon, "sloppy_tcp=1 conn_reuse_mode")
        .await
        .unwrap();
    assert_eq!(turned, "sloppy_tcp = 1\nconn_reuse_mode = 1\n");
    assert_eq!(
        sysctl(&daemon, "sloppy_tcp").await.unwrap(),
        "sloppy_tcp = 1\n"
    );
}

#[tokio::test]
async fn the_whole_list_says_what_each_takes_or_why_it_takes_nothing() {
    let daemon = TestDaemon::start();
    let all = sysctl(&daemon, "").await.unwrap();
    assert!(all.contains("\nsecure_tcp = 0\n    A connection"), "{all}");
    assert!(all.contains("\n    takes 0 to 3; default 0\n"), "{all}");
    assert!(all.contains("\n    cannot be set: packets that"), "{all}");
}

#[tokio::test]
async fn a_mistake_turns_none_of_the_knobs() {
    let daemon = TestDaemon::start();
    for (line, said) in [
        ("sloppy_tcp=1 slopy_tcp", "did you mean `sloppy_tcp`?"),
        (
            "sloppy_tcp=1 secure_tcp=7",
            "secure_tcp = 7 is out of range: it takes 0 to 3; none of the 2 was set",
        ),
        (
            "sloppy_tcp=1 conntrack=1",
            "conntrack = 1 does not apply here: ",
        ),
        ("sloppy_tcp=1 sloppy_tcp=0", "sloppy_tcp is set twice"),
    ] {
        let refused = sysctl(&daemon, line).await.unwrap_err();
        assert!(refused.contains(said), "{line}: {refused}");
        let after = sysctl(&daemon, "sloppy_tcp").await.unwrap();
        assert_eq!(after, "sloppy_tcp = 0\n", "{line}");
    }
}
