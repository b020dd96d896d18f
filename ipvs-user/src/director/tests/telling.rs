//! What there is to tell another director, and when.

use super::{
    sync::{ESTABLISHED, flow, told, told_template},
    *,
};
use crate::sync::Entry;

/// Enters what a master would have: by being told.
fn master() -> Bench {
    let mut b = Bench::with_three(Scheduler::Rr);
    for port in 1..=60 {
        b.take(&Entry {
            timeout: Some(900),
            ..told(port, 2, ESTABLISHED)
        });
    }
    b.director.tell_backup(true).unwrap();
    b
}

#[test]
fn within_a_period_everything_is_told_once_and_spread_over_it() {
    let mut b = master();
    let mut all = Vec::new();
    let mut most = 0;
    for _ in 0..60 {
        b.pass_seconds(1);
        let now = b.director.due_to_tell(1000).unwrap();
        most = most.max(now.len());
        all.extend(now.iter().map(|e| e.client.port()));
    }
    all.sort_unstable();
    assert_eq!(all, (1..=60).collect::<Vec<u16>>());
    assert!(most < 10, "{most} in one second");
}

#[test]
fn a_backup_keeps_a_connection_until_it_is_told_again_and_no_longer_than_its_timeout() {
    let mut b = master();
    b.pass_seconds(60);
    let told = b.director.due_to_tell(1000).unwrap();
    assert_eq!(told.len(), 60);
    for e in told {
        // 840 seconds to go, and 60 to the next turn.
        assert_eq!(e.timeout, Some(900));
        assert_eq!((e.flags, e.state), (0, ESTABLISHED));
    }
    b.pass_seconds(60);
    let told = b.director.due_to_tell(1000).unwrap();
    assert!(told.iter().all(|e| e.timeout == Some(840)));
}

#[test]
fn the_period_is_a_knob() {
    let mut b = master();
    b.director.set_sysctl("sync_refresh_period", "10").unwrap();
    b.director.set_sysctl("sync_retries", "1").unwrap();
    assert!(b.director.changes_to_tell(1).unwrap().is_none());
    b.pass_seconds(10);
    assert_eq!(b.director.due_to_tell(1000).unwrap().len(), 120);
}

#[test]
fn nothing_is_told_again_after_the_master_ended() {
    let mut b = master();
    b.pass_seconds(30);
    b.director.tell_backup(false).unwrap();
    b.pass_seconds(60);
    assert!(b.director.due_to_tell(1000).unwrap().is_empty());
    assert_eq!(b.tables().settings.flags & SettingsFlags::SYNC_MASTER, 0);
}

#[test]
fn templates_are_told_again_and_connections_under_them_only_if_wished() {
    let mut b = Bench::persistent();
    b.take(&told_template(2));
    b.take(&told(1, 2, ESTABLISHED));
    let mut child = b.conn(1).unwrap();
    child.status.flags |= ConnFlags::CHILD;
    b.tables().four.conns.insert(flow(1), child);
    b.director.tell_backup(true).unwrap();
    b.pass_seconds(60);
    let both = b.director.due_to_tell(10).unwrap();
    assert_eq!(both.iter().filter(|e| e.is_template()).count(), 1);
    assert_eq!(both.len(), 2);
    b.director.set_sysctl("sync_persist_mode", "1").unwrap();
    b.director.changes_to_tell(1).unwrap();
    b.pass_seconds(10);
    let told = b.director.due_to_tell(10).unwrap();
    assert!(told.iter().all(Entry::is_template));
}
