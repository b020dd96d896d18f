//! Configurations applied over a real socket: what changes, what is left alone, and the way back.

use std::time::Duration;

use super::{TestDaemon, code};
use crate::api::wire::{Action, ApplyQuery, ByHand, Change, Command, ErrorCode, Plan, What};

pub(super) const FILE: &str = r#"
[[service]]
tcp = "10.0.0.5:80"
scheduler = "wlc"
[[service.real]]
address = "10.0.1.1"
method = "droute"
[[service.real]]
address = "10.0.1.2"
method = "droute"
weight = 2
[[service]]
udp = "10.0.0.5:53"
scheduler = "sh"
[[service.real]]
address = "10.0.1.1"
method = "masq"
[[service.real]]
address = "10.0.1.2"
method = "masq"
"#;

impl TestDaemon {
    pub(super) async fn put(&self, file: &str) -> Plan {
        self.put_how(file, ApplyQuery::default()).await
    }

    pub(super) async fn put_how(&self, file: &str, how: ApplyQuery) -> Plan {
        let put = self.client.put_file(file.to_owned(), &how).await;
        put.unwrap_or_else(|e| panic!("{e}"))
    }

    pub(super) async fn by_hand(&self, line: &str) {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        let nothing = &mut std::io::empty();
        let outcome = crate::ipvsadm::run(
            "ipvsadm",
            &words,
            &self.client,
            &crate::ipvsadm::System,
            nothing,
        )
        .await;
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{line}");
    }

    pub(super) async fn weight(&self, service: usize, real: &str) -> Option<u32> {
        let services = self.client.services().await.unwrap();
        let dests = &services[service].dests;
        let found = dests.iter().find(|d| d.address.to_string() == real);
        found.map(|d| d.spec.weight)
    }
}

pub(super) fn lines(changes: &[Change]) -> Vec<String> {
    changes.iter().map(ToString::to_string).collect()
}

pub(super) fn dry() -> ApplyQuery {
    ApplyQuery {
        dry_run: true,
        ..ApplyQuery::default()
    }
}

fn force() -> ApplyQuery {
    ApplyQuery {
        by_hand: Some(ByHand::Overwrite),
        ..ApplyQuery::default()
    }
}

#[tokio::test]
async fn only_what_differs_is_changed() {
    let daemon = TestDaemon::start();
    assert_eq!(daemon.put(FILE).await.changes.len(), 6);
    assert_eq!(daemon.put(FILE).await.changes, []);
    let mut events = daemon.client.events(None).await.unwrap();
    events.event().await.unwrap();
    let plan = daemon.put(&FILE.replace("weight = 2", "weight = 5")).await;
    let expected = ["~ tcp 10.0.0.5:80, real server 10.0.1.2:80: weight 2 -> 5"];
    assert_eq!(lines(&plan.changes), expected);
    assert_eq!(daemon.weight(0, "10.0.1.2:80").await, Some(5));
    // One command, and the end of it: nothing else was touched.
    let command = events.event().await.unwrap().what;
    assert!(
        matches!(command, What::Command(Command::EditDest { .. })),
        "{command:?}"
    );
    assert!(matches!(
        events.event().await.unwrap().what,
        What::Applied { changes: 1, .. }
    ));
}

#[tokio::test]
async fn change_by_hand_is_kept_and_listed_where_the_file_says_nothing_new() {
    let daemon = TestDaemon::start();
    daemon.put(FILE).await;
    daemon
        .by_hand("-e -t 10.0.0.5:80 -r 10.0.1.1 -g -w 0")
        .await;
    daemon.by_hand("-a -t 10.0.0.5:80 -r 10.0.1.9 -g").await;
    daemon.by_hand("-d -u 10.0.0.5:53 -r 10.0.1.2").await;
    daemon.by_hand("-A -t 10.0.0.9:80 -s rr").await;
    daemon.by_hand("-E -t 10.0.0.5:80 -s rr").await;
    daemon.by_hand("--set 700 0 0").await;
    let kept = [
        "+ tcp 10.0.0.9:80: 0 real servers",
        "~ tcp 10.0.0.5:80: scheduler wlc -> rr",
        "+ tcp 10.0.0.5:80, real server 10.0.1.9:80: droute, weight 1",
        "~ tcp 10.0.0.5:80, real server 10.0.1.1:80: weight 1 -> 0",
        "- udp 10.0.0.5:53, real server 10.0.1.2:53: masq, weight 1",
        "~ director.timeouts.tcp: 900 -> 700",
    ];
    let file = FILE.replace("weight = 2", "weight = 5");
    for plan in [daemon.put_how(&file, dry()).await, daemon.put(&file).await] {
        assert_eq!(lines(&plan.kept), kept);
        assert_eq!(plan.changes.len(), 1, "{plan}");
        assert_eq!(plan.overridden, []);
    }
    assert_eq!(daemon.weight(0, "10.0.1.1:80").await, Some(0));
    // They are still there at the next reading, and go where that is wished.
    assert_eq!(lines(&daemon.put(&file).await.kept), kept);
    let forced = daemon.put_how(&file, force()).await;
    assert_eq!(lines(&forced.overridden), kept);
    assert_eq!(forced.changes.len(), 6, "{forced}");
    assert_eq!(daemon.weight(0, "10.0.1.1:80").await, Some(1));
    assert_eq!(daemon.put(&file).await.changes, []);
}

#[tokio::test]
async fn file_wins_over_a_change_by_hand_of_what_it_changes_and_says_so() {
    let daemon = TestDaemon::start();
    daemon.put(FILE).await;
    daemon
        .by_hand("-e -t 10.0.0.5:80 -r 10.0.1.2 -g -w 0")
        .await;
    daemon.by_hand("-d -u 10.0.0.5:53 -r 10.0.1.2").await;
    let file = FILE.replace("weight = 2", "weight = 5").replace(
        "\"10.0.1.2\"\nmethod = \"masq\"",
        "\"10.0.1.2\"\nweight = 7\nmethod = \"masq\"",
    );
    let plan = daemon.put(&file).await;
    let overridden = [
        "~ tcp 10.0.0.5:80, real server 10.0.1.2:80: weight 2 -> 0",
        "- udp 10.0.0.5:53, real server 10.0.1.2:53: masq, weight 1",
    ];
    assert_eq!(lines(&plan.overridden), overridden);
    assert_eq!(daemon.weight(0, "10.0.1.2:80").await, Some(5));
    assert_eq!(daemon.weight(1, "10.0.1.2:53").await, Some(7));
}

#[tokio::test]
async fn services_of_nobody_knows_whom_stay_when_a_file_comes_for_the_first_time() {
    let daemon = TestDaemon::start();
    daemon.by_hand("-A -t 10.0.0.9:80 -s rr").await;
    let plan = daemon.put(FILE).await;
    assert_eq!(lines(&plan.kept), ["+ tcp 10.0.0.9:80: 0 real servers"]);
    assert_eq!(daemon.client.services().await.unwrap().len(), 3);
}

#[tokio::test]
async fn plan_tells_connections_and_hashed_clients_and_changes_nothing() {
    let daemon = TestDaemon::start();
    daemon.put(FILE).await;
    daemon.tables.lock().unwrap().dest_states[0].active = 3;
    daemon.tables.lock().unwrap().dest_states[1].inactive = 4;
    let file = FILE.replace("weight = 2", "weight = 0").replacen(
        "[[service.real]]\naddress = \"10.0.1.1\"\nmethod = \"droute\"\n",
        "",
        1,
    );
    let file = file.replace(
        "udp = \"10.0.0.5:53\"",
        "udp = \"10.0.0.5:53\"\nsched_flags = []",
    );
    let file = format!("{file}weight = 3\n");
    let before = daemon.client.services().await.unwrap();
    let plan = daemon.put_how(&file, dry()).await;
    assert!(!plan.applied);
    assert_eq!(daemon.client.services().await.unwrap(), before);
    let expected = [
        "- tcp 10.0.0.5:80, real server 10.0.1.1:80: droute, weight 1 (3 active, 0 inactive, 0 persistent go on)",
        "~ tcp 10.0.0.5:80, real server 10.0.1.2:80: weight 2 -> 0 (0 active, 4 inactive, 0 persistent go on)",
        "~ udp 10.0.0.5:53, real server 10.0.1.2:53: weight 1 -> 3",
    ];
    assert_eq!(lines(&plan.changes), expected);
    let [moved] = plan.moved[..] else {
        panic!("{:?}", plan.moved)
    };
    assert_eq!(moved.slots, 256);
    // Half of the slots were the first one's; a quarter will be.
    assert!((60..=196).contains(&moved.moved), "{moved:?}");
    assert_eq!(daemon.put(&file).await.moved, plan.moved);
}

#[tokio::test]
async fn mistake_changes_nothing_and_is_told_with_its_line() {
    let daemon = TestDaemon::start();
    daemon.put(FILE).await;
    let before = daemon.client.config().await.unwrap();
    let how = ApplyQuery {
        name: Some("mail.toml".to_owned()),
        ..ApplyQuery::default()
    };
    let wrong = FILE.replace("weight = 2", "wait = 2");
    let refused = daemon.client.put_file(wrong, &how).await.unwrap_err();
    assert!(refused.to_string().contains("mail.toml:11"), "{refused}");
    assert_eq!(code(refused), ErrorCode::Config);
    // One that only the model sees, in the middle of others.
    let mut wrong = before.clone();
    wrong.services[0].spec.scheduler = "rr".to_owned();
    wrong.services[1].dests[0].spec.weight = u32::MAX;
    let refused = daemon.client.put_config(&wrong, &how).await.unwrap_err();
    assert_eq!(code(refused), ErrorCode::Range);
    assert_eq!(daemon.client.config().await.unwrap(), before);
}

#[tokio::test]
async fn what_is_put_is_what_is() {
    let daemon = TestDaemon::start();
    daemon
        .put(&format!(
            "{FILE}[sysctl]\nsloppy_tcp = 1\n[director.timeouts]\nudp = 77\n"
        ))
        .await;
    let mut config = daemon.client.config().await.unwrap();
    assert_eq!(config.timeouts.udp, Some(77));
    let none = ApplyQuery::default();
    assert_eq!(
        daemon
            .client
            .put_config(&config, &none)
            .await
            .unwrap()
            .changes,
        []
    );
    daemon.by_hand("-A -t 10.0.0.9:80 -s rr").await;
    config.services.remove(0);
    config.sysctls.clear();
    let plan = daemon.client.put_config(&config, &none).await.unwrap();
    assert!(plan.changes.iter().any(|c| c.action == Action::Removed));
    assert_eq!(daemon.client.config().await.unwrap(), config);
}

#[tokio::test]
async fn change_that_nobody_confirms_is_taken_back_and_what_came_by_hand_stays() {
    let daemon = TestDaemon::start();
    daemon.put(FILE).await;
    let how = ApplyQuery {
        confirm: Some(1),
        ..ApplyQuery::default()
    };
    let file = FILE
        .replace("weight = 2", "weight = 5")
        .replace("wlc", "rr");
    let mut events = daemon.client.events(None).await.unwrap();
    assert_eq!(daemon.put_how(&file, how.clone()).await.confirm, Some(1));
    let refused = daemon.client.put_file(FILE.to_owned(), &how).await;
    assert_eq!(code(refused.unwrap_err()), ErrorCode::Pending);
    daemon
        .by_hand("-e -t 10.0.0.5:80 -r 10.0.1.1 -g -w 9")
        .await;
    daemon
        .by_hand("-e -t 10.0.0.5:80 -r 10.0.1.2 -g -w 6")
        .await;
    let back = async {
        loop {
            if let What::Applied { from, kept, .. } = events.event().await.unwrap().what
                && from == "roll_back"
            {
                return kept;
            }
        }
    };
    let kept = tokio::time::timeout(Duration::from_secs(10), back)
        .await
        .unwrap();
    assert_eq!(kept, 1);
    assert_eq!(daemon.weight(0, "10.0.1.1:80").await, Some(9));
    assert_eq!(daemon.weight(0, "10.0.1.2:80").await, Some(2));
    let services = daemon.client.services().await.unwrap();
    assert_eq!(services[0].spec.scheduler, "wlc");
    // What was applied last is the file of before.
    let plan = daemon.put(FILE).await;
    assert_eq!((plan.changes.len(), plan.kept.len()), (0, 1), "{plan}");
    assert_eq!(
        code(daemon.client.confirm().await.unwrap_err()),
        ErrorCode::Pending
    );
}

#[tokio::test]
async fn confirmed_change_stays() {
    let daemon = TestDaemon::start();
    daemon.put(FILE).await;
    let how = ApplyQuery {
        confirm: Some(1),
        ..ApplyQuery::default()
    };
    daemon.put_how(&FILE.replace("wlc", "rr"), how).await;
    daemon.client.confirm().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let services = daemon.client.services().await.unwrap();
    assert_eq!(services[0].spec.scheduler, "rr");
}

#[tokio::test]
async fn what_only_a_start_can_change_is_named() {
    let daemon = TestDaemon::start();
    let file = format!("[director]\nconnections = 77\n[api]\nsocket_mode = '0666'\n{FILE}");
    let plan = daemon.put(&file).await;
    let told = lines(&plan.needs_restart);
    assert!(
        told.iter()
            .any(|l| l.starts_with("~ director.connections: ")),
        "{told:?}"
    );
    assert!(
        told.contains(&"~ api.socket_mode: default -> 0666".to_owned()),
        "{told:?}"
    );
}
