//! What is saved, and what comes of it when it is restored.

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::*;
use crate::{
    api::{
        tests::random::any_configuration,
        wire::{Command, Service},
    },
    carries::Carries,
};

async fn restored(daemon: &TestDaemon, line: &str, rules: &str) -> Outcome {
    run(
        "ipvsadm",
        &words(line),
        &daemon.client,
        &Fixed,
        &mut rules.as_bytes(),
    )
    .await
}

/// Services and real servers, by name.
async fn table(daemon: &TestDaemon) -> Vec<Service> {
    let mut list = daemon.client.services().await.unwrap();
    for service in &mut list {
        service.dests.sort_by_key(|d| d.address);
    }
    list.sort_by_key(|s| format!("{:?}", s.service));
    list
}

async fn survives(commands: &[Command]) -> Result<(), TestCaseError> {
    let first = TestDaemon::carrying(Carries::ALL);
    first.client.apply(commands).await.unwrap();
    for save in ["-S", "-Sn"] {
        let saved = printed(&first, save).await;
        for restore in ["-R", "-R --partial"] {
            let second = TestDaemon::carrying(Carries::ALL);
            let outcome = restored(&second, restore, &saved).await;
            prop_assert_eq!(outcome, Outcome::default(), "{}", saved);
            prop_assert_eq!(table(&second).await, table(&first).await, "{}", saved);
            // The order is the original's, which follows from no rule among addresses that are far apart.
            let again = printed(&second, save).await;
            prop_assert_eq!(sorted(&again), sorted(&saved));
        }
    }
    Ok(())
}

#[test]
fn any_table_survives_being_saved_and_restored() {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config {
        cases: 48,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&any_configuration(), |commands| {
            runtime.block_on(survives(&commands))
        })
        .unwrap();
}

#[tokio::test]
async fn the_originals_saved_rules_are_restored() {
    let trace = golden("ipvsadm_output");
    for command in ["ipvsadm -S", "ipvsadm -Sn"] {
        let steps = trace["steps"].as_array().unwrap();
        let step = steps.iter().find(|s| s["cmd"] == command).unwrap();
        let daemon = TestDaemon::carrying(Carries::ALL);
        let outcome = restored(&daemon, "-R", text(&step["out"])).await;
        assert_eq!(outcome, Outcome::default());
        assert_eq!(printed(&daemon, command).await, text(&step["out"]));
    }
}

/// Restores over one service; the table that is left.
async fn after(line: &str, rules: &str) -> (u8, String, String) {
    let daemon = TestDaemon::start();
    printed(&daemon, "-A -f 1 -s rr").await;
    let outcome = restored(&daemon, line, rules).await;
    (
        outcome.status,
        outcome.stderr,
        printed(&daemon, "-Sn").await,
    )
}

#[tokio::test]
async fn a_file_is_restored_as_a_whole_or_not_at_all() {
    let cases = [
        (
            "-A -f 2\n-A -f 0\n",
            2,
            "line 2: invalid fwmark value `0' specified",
        ),
        (
            "# rules\n\n-A -f 2\n  -A -f 1\n-A -f 3\n",
            255,
            "line 4: Service already exists",
        ),
        (
            "-A -f 2\n-A -f 3 --pe sip\n",
            255,
            "line 2: persistence engines are not carried by the datapath yet: fwmark 3",
        ),
        (
            "-A -f 2\n-A -f 3 -s foo\n-A -f 4\n",
            255,
            "line 2: Scheduler or persistence engine not found",
        ),
        (
            "-A -f 2\nfoo\n",
            255,
            "line 2: Try `ipvsadm -h' or 'ipvsadm --help' for more information.",
        ),
        (
            "-A -f 2\n-R\n",
            2,
            "line 2: not a change of services, real servers or timeouts; leave it out, or give -R --partial",
        ),
        (
            "--set 5 5 5\n-6\n",
            255,
            "line 2: Try `ipvsadm -h' or 'ipvsadm --help' for more information.",
        ),
    ];
    for (rules, status, message) in cases {
        let told = after("-R", rules).await;
        assert_eq!(
            told,
            (
                status,
                format!("ipvsadm: {message}\n"),
                "-A -f 1 -s rr\n".to_owned()
            )
        );
    }
}

#[tokio::test]
async fn partially_a_file_is_restored_up_to_its_first_mistake() {
    let rules = "-A -f 2 -s rr\n-A -f 1\n-A -f 3\n";
    let told = after("-R --partial", rules).await;
    let table = "-A -f 1 -s rr\n-A -f 2 -s rr\n";
    assert_eq!(
        told,
        (255, "Service already exists\n".to_owned(), table.to_owned())
    );
}

#[tokio::test]
async fn timeouts_among_the_rules_are_set_with_them() {
    let daemon = TestDaemon::start();
    let outcome = restored(
        &daemon,
        "-R",
        "ipvsadm -A -f 1\n--set 0 0 100\n--set 800 0 0\n",
    )
    .await;
    assert_eq!(outcome, Outcome::default());
    assert_eq!(
        printed(&daemon, "-L --timeout").await,
        "Timeout (tcp tcpfin udp): 800 120 100\n"
    );
}
