//! Match rules of configurations, and those set by a command of their own.

use super::{
    TestDaemon, code,
    desk::{dry, lines},
};
use crate::api::wire::{ApplyQuery, ByHand, Command, ErrorCode, MatchRule};

const FILE: &str = r#"
[[match]]
mark = 7
to = "0.0.0.0/0"
ports = 80
[[match]]
mark = 8
to = "10.0.0.0/8"
[[service]]
fwmark = 7
"#;

fn rule(mark: u32, to: &str) -> MatchRule {
    let text = format!(r#"{{"mark": {mark}, "to": "{to}"}}"#);
    serde_json::from_str(&text).unwrap()
}

impl TestDaemon {
    async fn set_matches(&self, matches: Vec<MatchRule>) {
        let set = Command::SetMatches { matches };
        self.client.apply(&[set]).await.unwrap();
    }

    /// Destinations of the rules, and why they do nothing.
    async fn matches(&self) -> Vec<(String, Option<String>)> {
        let listed = self.client.matches().await.unwrap();
        listed.into_iter().map(|m| (m.rule.to, m.idle)).collect()
    }
}

#[tokio::test]
async fn difference_is_told_rule_by_rule() {
    let daemon = TestDaemon::start();
    let plan = daemon.put_how(FILE, dry()).await;
    let expected = [
        "+ match to 0.0.0.0/0 port 80: mark 7",
        "+ match to 10.0.0.0/8: mark 8",
        "+ fwmark 7: 0 real servers",
    ];
    assert_eq!(lines(&plan.changes), expected);
    assert_eq!(daemon.matches().await, []);
    daemon.put(FILE).await;
    assert_eq!(daemon.put(FILE).await.changes, []);
    let changed = FILE
        .replace("mark = 8", "mark = 9")
        .replace("ports = 80", "ports = [80, 81]");
    let expected = [
        "- match to 0.0.0.0/0 port 80: mark 7",
        "+ match to 0.0.0.0/0 port 80,81: mark 7",
        "~ match to 10.0.0.0/8: mark 8 -> mark 9",
    ];
    assert_eq!(lines(&daemon.put(&changed).await.changes), expected);
    let (first, second) = changed.split_once("[[match]]\nmark = 9").unwrap();
    let (rule, rest) = second.split_once("[[service]]").unwrap();
    let turned = format!("[[match]]\nmark = 9{rule}{first}[[service]]{rest}");
    let plan = daemon.put(&turned).await;
    let expected = ["~ order of the match rules: as before -> another"];
    assert_eq!(lines(&plan.changes), expected);
}

#[tokio::test]
async fn rules_set_by_hand_stay_where_the_file_says_nothing_new() {
    let daemon = TestDaemon::start();
    daemon.put(FILE).await;
    daemon.set_matches(vec![rule(7, "192.0.2.0/24")]).await;
    let plan = daemon.put(FILE).await;
    assert_eq!(plan.changes, []);
    let kept = lines(&plan.kept);
    assert!(
        kept.contains(&"+ match to 192.0.2.0/24: mark 7".to_owned()),
        "{kept:?}"
    );
    assert_eq!(daemon.matches().await, [("192.0.2.0/24".to_owned(), None)]);
    let force = ApplyQuery {
        by_hand: Some(ByHand::Overwrite),
        ..ApplyQuery::default()
    };
    let plan = daemon.put_how(FILE, force).await;
    assert_eq!((plan.changes.len(), plan.overridden.len()), (3, 3));
    let no_service = Some("there is no service fwmark 8".to_owned());
    let expected = [
        ("0.0.0.0/0".to_owned(), None),
        ("10.0.0.0/8".to_owned(), no_service),
    ];
    assert_eq!(daemon.matches().await, expected);
}

#[tokio::test]
async fn command_with_a_rule_that_is_none_changes_nothing() {
    let daemon = TestDaemon::start();
    daemon.put(FILE).await;
    let before = daemon.matches().await;
    let set = Command::SetMatches {
        matches: vec![rule(7, "192.0.2.0/24"), rule(8, "192.0.2.0/24")],
    };
    let refused = daemon.client.apply(&[Command::Flush, set]).await;
    assert_eq!(code(refused.unwrap_err()), ErrorCode::Invalid);
    assert_eq!(daemon.matches().await, before);
    assert_eq!(daemon.client.services().await.unwrap().len(), 1);
}
