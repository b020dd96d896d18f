//! What is written down of a change, as a crash at any moment of it leaves it, and what is seen while one is under way.

use std::{fs, time::Duration};

use tokio::{sync::mpsc, time::timeout};

use super::{
    TestDaemon, code,
    desk::{FILE, dry},
    state::{State, weighing, within},
};
use crate::api::{
    server::Attach,
    wire::{ApplyQuery, ConfiguredInterface, ErrorCode, SysctlValue},
};

const SOON: Duration = Duration::from_secs(5);

impl State {
    /// Its lines.
    fn written(&self) -> Vec<String> {
        let text = fs::read_to_string(self.file()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn change_is_written_down_as_what_differs_before_it_begins_and_when_it_is_done() {
    let (daemon, state) = (TestDaemon::start(), State::new());
    daemon.begin(&state, Some(FILE), false).await;
    let record = state.written();
    assert_eq!(record.len(), 1);
    daemon.put(&weighing(5)).await;
    let written = state.written();
    assert_eq!((&written[..1], written.len()), (&record[..], 3));
    // The other service is said to be as before.
    assert!(!written[1].contains("10.0.0.5:53"), "{}", written[1]);
    let mut wrong = daemon.client.config().await.unwrap();
    wrong.services[1].dests[0].spec.weight = u32::MAX;
    let none = ApplyQuery::default();
    let refused = daemon.client.put_config(&wrong, &none).await;
    assert_eq!(code(refused.unwrap_err()), ErrorCode::Range);
    assert_eq!(state.written().len(), 5);
    daemon.dies().await;
    daemon.begin(&state, None, true).await;
    let plan = daemon.put_how(&weighing(5), dry()).await;
    assert_eq!((plan.changes.len(), plan.kept.len()), (0, 0), "{plan}");
}

#[tokio::test]
async fn file_with_many_changes_is_written_anew() {
    let (daemon, state) = (TestDaemon::start(), State::new());
    daemon.begin(&state, Some(FILE), false).await;
    for weight in 1..=150 {
        daemon.put(&weighing(weight)).await;
    }
    let written = state.written();
    assert!(written.len() < 100, "{} lines", written.len());
    daemon.dies().await;
    daemon.begin(&state, None, true).await;
    assert_eq!(daemon.put_how(&weighing(150), dry()).await.kept, []);
}

/// As a crash leaves it after the last word of a change and before: the tables say whether it came to be.
#[tokio::test]
async fn change_that_a_crash_left_without_an_end_is_taken_for_what_the_tables_say() {
    for carried_out in [true, false] {
        let (daemon, state) = (TestDaemon::start(), State::new());
        daemon.begin(&state, Some(FILE), false).await;
        let by_hand = "-e -t 10.0.0.5:80 -r 10.0.1.1 -g -w 9";
        daemon.by_hand(by_hand).await;
        daemon.put(&weighing(5)).await;
        // And half a line, of what was about to be added.
        let mut lines = state.written();
        assert_eq!(lines.len(), 3);
        lines[2].truncate(6);
        if !carried_out {
            let by_hand = "-e -t 10.0.0.5:80 -r 10.0.1.2 -g -w 7";
            daemon.by_hand(by_hand).await;
        }
        daemon.dies().await;
        fs::write(state.file(), lines.join("\n")).unwrap();
        // The file is that of before. So it says something new, or what was applied last.
        daemon.begin(&state, Some(FILE), true).await;
        let weight = if carried_out { 2 } else { 7 };
        assert_eq!(daemon.weighs().await, Some(weight));
        assert_eq!(daemon.weight(0, "10.0.1.1:80").await, Some(9));
        assert_eq!(state.written().len(), 1);
    }
}

/// A start without a file then does not take it for one that was put.
#[tokio::test]
async fn change_that_is_the_daemons_own_file_stays_so_over_a_restart() {
    let (daemon, state) = (TestDaemon::start(), State::new());
    for (file, own) in [(weighing(5), true), (FILE.to_owned(), false)] {
        daemon.begin(&state, Some(FILE), false).await;
        daemon.put(FILE).await;
        daemon.put_how(&weighing(5), within(60)).await;
        daemon.dies().await;
        daemon.begin(&state, Some(&file), true).await;
        daemon.client.confirm().await.unwrap();
        assert_eq!(state.record()["applied"]["by_file"], own);
    }
}

#[tokio::test]
async fn status_tells_what_waits_while_a_change_is_under_way() {
    let (daemon, state) = (TestDaemon::start(), State::new());
    daemon.begin(&state, Some(FILE), false).await;
    daemon.put_how(&weighing(5), within(60)).await;
    let at_work = daemon.handle.desk.lock().await;
    let status = timeout(SOON, daemon.client.status()).await;
    let waiting = status.expect("it waits for the desk").unwrap().waiting;
    assert!((50..=60).contains(&waiting.unwrap().seconds));
    drop(at_work);
}

#[tokio::test]
async fn change_that_is_refused_anyway_touches_no_interface() {
    let (sender, mut asked) = mpsc::channel::<Attach>(1);
    let daemon = TestDaemon::attaching(sender);
    daemon.put(FILE).await;
    let none = ApplyQuery::default();
    let mut wrong = daemon.client.config().await.unwrap();
    wrong.interfaces = Some([("eth0".to_owned(), ConfiguredInterface::default())].into());
    wrong.services[1].dests[0].spec.weight = u32::MAX;
    let refused = daemon.client.put_config(&wrong, &none);
    let refused = timeout(SOON, refused).await.expect("no answer");
    assert_eq!(code(refused.unwrap_err()), ErrorCode::Range);
    assert!(asked.try_recv().is_err(), "interfaces were asked for");
}

/// As a crash leaves it after the knobs of a change and before its services; or before the knobs, too, one of which somebody had
/// turned by hand.
#[tokio::test]
async fn knobs_of_a_change_that_a_crash_cut_short_go_back() {
    for (by_hand, left) in [("4", "3"), ("7", "7")] {
        let (daemon, state) = (TestDaemon::start(), State::new());
        daemon.begin(&state, None, false).await;
        let with_knob = |file: &str, pages| format!("{file}\n[sysctl]\namemthresh = {pages}\n");
        daemon.put(&with_knob(FILE, 3)).await;
        daemon.put(&with_knob(&weighing(5), 4)).await;
        let mut lines = state.written();
        lines.last_mut().unwrap().clear();
        let before = "-e -t 10.0.0.5:80 -r 10.0.1.2 -g -w 2";
        daemon.by_hand(before).await;
        let text = SysctlValue::Text(by_hand.to_owned());
        let knob = [("amemthresh".to_owned(), text)].into();
        daemon.client.set_sysctls(&knob).await.unwrap();
        daemon.dies().await;
        fs::write(state.file(), lines.join("\n")).unwrap();
        daemon.begin(&state, None, true).await;
        let all = daemon.client.sysctls().await.unwrap();
        let knob = all.iter().find(|s| s.name == "amemthresh").unwrap();
        assert_eq!(
            (knob.value.as_str(), daemon.weighs().await),
            (left, Some(2))
        );
    }
}
