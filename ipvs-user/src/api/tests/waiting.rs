//! Changes that wait to be confirmed, and what was applied last: over clients that go away, ways back that fail, and daemons
//! that end.

use std::{fs, time::Duration};

use tokio::sync::mpsc;

use super::{
    TestDaemon, code,
    desk::{FILE, dry, lines},
    state::{State, weighing, within},
};
use crate::api::{
    server::Attach,
    wire::{ApplyQuery, ErrorCode},
};

#[tokio::test]
async fn change_goes_on_and_is_taken_back_though_the_client_went_away_in_the_middle() {
    let (sender, mut asked) = mpsc::channel::<Attach>(1);
    let daemon = TestDaemon::attaching(sender);
    daemon.put(FILE).await;
    let client = daemon.client.clone();
    let file = format!("[interface.eth0]\n{}", weighing(5));
    let asks = tokio::spawn(async move { client.put_file(file, &within(1)).await });
    let attach = asked.recv().await.unwrap();
    asks.abort();
    // The server sees that the connection is closed.
    assert!(asks.await.unwrap_err().is_cancelled());
    tokio::time::sleep(Duration::from_millis(200)).await;
    let _ = attach.done.send(Ok(()));
    daemon.comes_to_weigh(5).await;
    assert!(daemon.waits().await);
    let attach = asked.recv().await.unwrap();
    assert!(attach.interfaces.is_empty());
    let _ = attach.done.send(Ok(()));
    daemon.comes_to_weigh(2).await;
    assert!(!daemon.waits().await);
}

#[tokio::test]
async fn way_back_that_fails_is_kept_told_and_gone_again() {
    let (sender, mut asked) = mpsc::channel::<Attach>(1);
    let daemon = TestDaemon::attaching(sender);
    daemon.put(FILE).await;
    let (fail, mut failures) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut answers = vec![Ok(()), Err("no such driver".to_owned()), Ok(())].into_iter();
        while let (Some(attach), Some(answer)) = (asked.recv().await, answers.next()) {
            let failed = answer.is_err();
            let _ = attach.done.send(answer);
            if failed {
                fail.send(()).await.unwrap();
            }
        }
    });
    let file = format!("[interface.eth0]\n{}", weighing(5));
    daemon.put_how(&file, within(1)).await;
    failures.recv().await.unwrap();
    let plan = daemon.put_how(FILE, dry()).await;
    let waiting = plan.waiting.clone().unwrap();
    assert_eq!((waiting.seconds, waiting.failed), (0, 1));
    assert!(plan.to_string().contains("no such driver"), "{plan}");
    let status = daemon.client.status().await.unwrap();
    assert_eq!(status.waiting, Some(waiting));
    let none = ApplyQuery::default();
    let refused = daemon.client.put_file(FILE.to_owned(), &none).await;
    let refused = refused.unwrap_err();
    assert!(refused.to_string().contains("no such driver"), "{refused}");
    assert_eq!(code(refused), ErrorCode::Pending);
    assert_eq!(daemon.weighs().await, Some(5));
    daemon.comes_to_weigh(2).await;
    assert!(!daemon.waits().await);
    assert_eq!(daemon.put(FILE).await.kept, []);
}

/// A director that has services already, as after a restart that kept them.
#[tokio::test]
async fn next_daemon_knows_what_was_applied_last() {
    let (daemon, state) = (TestDaemon::start(), State::new());
    daemon.begin(&state, None, false).await;
    daemon.put(FILE).await;
    daemon
        .by_hand("-e -t 10.0.0.5:80 -r 10.0.1.1 -g -w 0")
        .await;
    daemon.begin(&state, Some(&weighing(5)), true).await;
    assert_eq!(daemon.weight(0, "10.0.1.1:80").await, Some(0));
    assert_eq!(daemon.weighs().await, Some(5));
}

#[tokio::test]
async fn what_a_start_began_with_is_what_the_next_one_compares_with() {
    let (daemon, state) = (TestDaemon::start(), State::new());
    daemon.begin(&state, Some(FILE), false).await;
    daemon.begin(&state, Some(&weighing(5)), true).await;
    daemon
        .by_hand("-e -t 10.0.0.5:80 -r 10.0.1.2 -g -w 9")
        .await;
    daemon.begin(&state, Some(&weighing(5)), true).await;
    assert_eq!(daemon.weighs().await, Some(9));
    let plan = daemon.put_how(&weighing(5), dry()).await;
    assert_eq!(plan.changes, []);
    let kept = ["~ tcp 10.0.0.5:80, real server 10.0.1.2:80: weight 5 -> 9"];
    assert_eq!(lines(&plan.kept), kept);
}

#[tokio::test]
async fn change_that_waits_goes_on_waiting_after_a_crash_and_can_be_confirmed() {
    let (daemon, state) = (TestDaemon::start(), State::new());
    daemon.begin(&state, Some(FILE), false).await;
    daemon.put_how(&weighing(5), within(60)).await;
    daemon.dies().await;
    daemon.begin(&state, Some(FILE), true).await;
    assert_eq!(daemon.weighs().await, Some(5));
    let waiting = daemon.client.status().await.unwrap().waiting.unwrap();
    assert!((50..=60).contains(&waiting.seconds), "{waiting:?}");
    let none = ApplyQuery::default();
    let refused = daemon.client.put_file(FILE.to_owned(), &none).await;
    assert_eq!(code(refused.unwrap_err()), ErrorCode::Pending);
    daemon.client.confirm().await.unwrap();
    daemon.begin(&state, None, true).await;
    assert!(!daemon.waits().await);
    assert_eq!(daemon.put(&weighing(5)).await.kept, []);
}

#[tokio::test]
async fn interfaces_of_a_change_are_those_of_the_next_start_until_it_is_taken_back() {
    let (sender, mut asked) = mpsc::channel::<Attach>(1);
    let (daemon, state) = (TestDaemon::attaching(sender), State::new());
    tokio::spawn(async move {
        while let Some(attach) = asked.recv().await {
            let _ = attach.done.send(Ok(()));
        }
    });
    let changed = format!("[interface.eth7]\n{}", weighing(5));
    for file in [Some(FILE), None] {
        let interfaces_at_start = || {
            let mut desk = state.desk(file);
            let _ = desk.recall(&daemon.director.lock().unwrap(), true);
            desk.interfaces().keys().cloned().collect::<Vec<_>>()
        };
        daemon.begin(&state, file, false).await;
        daemon.put_how(&changed, within(60)).await;
        assert_eq!(interfaces_at_start(), ["eth7"]);
        daemon.client.confirm().await.unwrap();
        // A file is what holds; without one it is what was applied last.
        let confirmed: &[&str] = if file.is_some() { &[] } else { &["eth7"] };
        assert_eq!(interfaces_at_start(), confirmed);
        daemon.put(FILE).await;
        daemon.put_how(&changed, within(1)).await;
        daemon.dies().await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(interfaces_at_start(), [""; 0]);
    }
}

#[tokio::test]
async fn change_that_waits_is_taken_back_by_the_next_daemon_at_the_end_of_its_time() {
    let (daemon, state) = (TestDaemon::start(), State::new());
    daemon.begin(&state, Some(FILE), false).await;
    daemon.put_how(&weighing(5), within(2)).await;
    daemon.begin(&state, Some(FILE), true).await;
    crate::api::desk::go_on_waiting(&daemon.handle).await;
    assert_eq!(daemon.weighs().await, Some(5));
    daemon.comes_to_weigh(2).await;
    assert!(!daemon.waits().await);
    assert!(state.record()["waiting"].is_null());
}

#[tokio::test]
async fn change_whose_time_is_over_is_taken_back_by_the_start() {
    let (daemon, state) = (TestDaemon::start(), State::new());
    // The file of the daemon is the change or not.
    for file in [FILE, &weighing(5)] {
        daemon.begin(&state, Some(FILE), true).await;
        daemon.put_how(&weighing(5), within(1)).await;
        daemon.dies().await;
        daemon
            .by_hand("-e -t 10.0.0.5:80 -r 10.0.1.1 -g -w 9")
            .await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        daemon.begin(&state, Some(file), true).await;
        assert_eq!(daemon.weighs().await, Some(2));
        assert_eq!(daemon.weight(0, "10.0.1.1:80").await, Some(9));
        assert!(!daemon.waits().await);
        let plan = daemon.put_how(&weighing(5), dry()).await;
        assert_eq!(plan.changes.len(), 1, "{plan}");
    }
}

#[tokio::test]
async fn file_that_says_something_new_comes_after_the_way_back() {
    let (daemon, state) = (TestDaemon::start(), State::new());
    daemon.begin(&state, Some(FILE), false).await;
    daemon
        .put_how(&weighing(5).replace("wlc", "rr"), within(60))
        .await;
    daemon.dies().await;
    daemon.begin(&state, Some(&weighing(7)), true).await;
    assert_eq!(daemon.weighs().await, Some(7));
    let services = daemon.client.services().await.unwrap();
    assert_eq!(services[0].spec.scheduler, "wlc");
    assert!(!daemon.waits().await);
}

#[tokio::test]
async fn change_that_a_crash_cut_short_is_taken_back() {
    let (sender, mut asked) = mpsc::channel::<Attach>(1);
    let (daemon, state) = (TestDaemon::attaching(sender), State::new());
    daemon.begin(&state, Some(FILE), false).await;
    let client = daemon.client.clone();
    let file = format!(
        "[interface.eth0]\n[sysctl]\nsloppy_tcp = 1\n{}",
        weighing(5)
    );
    let asks = tokio::spawn(async move { client.put_file(file, &within(60)).await });
    let attach = asked.recv().await.unwrap();
    let written = fs::read(state.file()).unwrap();
    let foreseen = state.record()["waiting"]["after"].clone();
    let _ = attach.done.send(Ok(()));
    asks.await.unwrap().unwrap();
    assert_eq!(state.record()["waiting"]["after"], foreseen);
    daemon.dies().await;
    fs::write(state.file(), written).unwrap();
    daemon.begin(&state, Some(FILE), true).await;
    assert_eq!(daemon.weighs().await, Some(2));
    assert!(daemon.client.config().await.unwrap().sysctls.is_empty());
    assert!(!daemon.waits().await);
}

#[tokio::test]
async fn change_that_was_refused_leaves_nothing_to_take_back() {
    let (daemon, state) = (TestDaemon::start(), State::new());
    daemon.begin(&state, Some(FILE), false).await;
    let mut wrong = daemon.client.config().await.unwrap();
    wrong.services[1].dests[0].spec.weight = u32::MAX;
    let refused = daemon.client.put_config(&wrong, &within(60)).await;
    assert_eq!(code(refused.unwrap_err()), ErrorCode::Range);
    assert!(state.record()["waiting"].is_null());
    assert!(!daemon.waits().await);
}

#[tokio::test]
async fn change_that_an_interface_refused_leaves_nothing_to_take_back() {
    let (sender, mut asked) = mpsc::channel::<Attach>(1);
    let (daemon, state) = (TestDaemon::attaching(sender), State::new());
    daemon.begin(&state, Some(FILE), false).await;
    let written = state.record();
    tokio::spawn(async move {
        let attach = asked.recv().await.unwrap();
        let _ = attach.done.send(Err("no such driver".to_owned()));
    });
    let file = format!("[interface.eth0]\n{}", weighing(5));
    let refused = daemon.client.put_file(file, &within(60)).await;
    assert_eq!(code(refused.unwrap_err()), ErrorCode::Interface);
    assert_eq!(state.record(), written);
    assert!(!daemon.waits().await);
}

#[tokio::test]
async fn what_another_director_or_another_boot_left_is_not_believed() {
    let (daemon, state) = (TestDaemon::start(), State::new());
    for leftover in ["fresh", "instance", "boot"] {
        daemon.begin(&state, Some(FILE), false).await;
        daemon.put_how(&weighing(5), within(1)).await;
        daemon.dies().await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        match leftover {
            "fresh" => {
                daemon.begin(&state, None, false).await;
                daemon.begin(&state, None, true).await;
            }
            "instance" => daemon.begin_with(state.desk_of("blue", None), true).await,
            _ => {
                let mut record = state.record();
                record["boot"] = "another".into();
                fs::write(state.file(), record.to_string()).unwrap();
                daemon.begin(&state, None, true).await;
            }
        }
        assert_eq!(daemon.weighs().await, Some(5), "{leftover}");
        assert!(!daemon.waits().await, "{leftover}");
    }
    assert!(daemon.client.confirm().await.is_err());
}

#[tokio::test]
async fn change_that_could_not_be_written_down_is_refused_if_it_may_have_to_be_taken_back() {
    let (daemon, state) = (TestDaemon::start(), State::new());
    daemon.begin(&state, Some(FILE), false).await;
    fs::remove_dir_all(state.directory()).unwrap();
    let refused = daemon.client.put_file(weighing(5), &within(60)).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("nothing was changed"), "{refused}");
    assert_eq!(daemon.weighs().await, Some(2));
    assert!(!daemon.waits().await);
    // Without a way back nothing is lost with the file.
    daemon.put(&weighing(5)).await;
    assert_eq!(daemon.weighs().await, Some(5));
}
