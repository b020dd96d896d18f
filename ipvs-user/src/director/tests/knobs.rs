//! Knobs and timeouts of a director, and what the datapath gets to see of them.

use std::sync::atomic::{AtomicU64, Ordering};

use ipvs_common::{Policy, maps};

use super::*;
use crate::{
    dataplane::Dataplane as _,
    director::Together,
    ledger::{Key, Kind, Value},
    sysctl::Knob,
    timeouts::Timeouts,
};

fn value(b: &Bench, name: &str) -> String {
    let all = b.director.sysctls();
    all.into_iter().find(|s| s.name == name).unwrap().value
}

#[test]
fn a_knob_that_is_turned_reaches_the_datapath_at_once() {
    let mut b = Bench::new();
    b.director.set_sysctl("sloppy_tcp", "1").unwrap();
    b.director.set_sysctl("conn_reuse_mode", "2").unwrap();
    let settings = b.tables().settings;
    assert_ne!(settings.flags & SettingsFlags::SLOPPY_TCP, 0);
    assert_eq!(settings.conn_reuse_mode, 2);
    assert_eq!(b.director.knob(Knob::SloppyTcp), 1);
    assert_eq!(value(&b, "conn_reuse_mode"), "2");
}

#[test]
fn all_knobs_are_turned_or_none() {
    let mut b = Bench::new();
    let before = b.tables().settings;
    let refused = b
        .director
        .set_sysctls([("sloppy_tcp", "1"), ("conntrack", "1")]);
    assert!(refused.is_err());
    assert_eq!(b.tables().settings, before);
    assert_eq!(value(&b, "sloppy_tcp"), "0");
    let both = [("sloppy_tcp", "1"), ("conntrack", "0")];
    b.director.set_sysctls(both).unwrap();
    assert_eq!(value(&b, "sloppy_tcp"), "1");
}

#[test]
fn knobs_that_cannot_be_noted_are_not_turned() {
    let mut b = Bench::new();
    let before = b.tables().settings;
    let room = Capacities::SMALL.entries(maps::LEDGER).unwrap() as usize;
    // Of no kind that anybody asks for.
    let there = b.dataplane.ledger().unwrap().len();
    let full: Vec<_> = (0..u32::try_from(room - there).unwrap())
        .map(|n| (Key::new(Kind::Reason, 1_000_000 + n), Value::of(&0_u64)))
        .collect();
    b.dataplane.put_ledger(&full).unwrap();
    let refused = b.director.set_sysctl("sloppy_tcp", "1").unwrap_err();
    assert!(refused.to_string().contains("LEDGER"), "{refused}");
    assert_eq!(b.tables().settings, before);
    assert_eq!(value(&b, "sloppy_tcp"), "0");
    let keys: Vec<_> = full.iter().map(|(key, _)| *key).collect();
    b.dataplane.remove_ledger(&keys).unwrap();
    b.director.set_sysctl("sloppy_tcp", "1").unwrap();
    assert_eq!(value(&b, "sloppy_tcp"), "1");
}

#[test]
fn packets_see_nothing_of_changes_that_go_with_a_refused_command() {
    let mut b = Bench::with_three(Scheduler::Rr);
    // Each look counts, too.
    let batches = |b: &mut Bench| b.director.tables.ledger_mut().next_batch();
    let before = batches(&mut b);
    let mut changes = Together {
        commands: vec![delete(9)],
        sysctls: vec![("sloppy_tcp".to_owned(), "1".to_owned())],
        icmp_rate: Some(7),
        ..Together::default()
    };
    assert!(b.director.carry_out(&changes).is_err());
    changes.commands.clear();
    changes.timeouts.tcp = Some(u32::MAX);
    assert!(b.director.carry_out(&changes).is_err());
    // Neither turned nor turned back.
    assert_eq!(batches(&mut b), before + 1);
    changes.timeouts.tcp = Some(60);
    b.director.carry_out(&changes).unwrap();
    assert!(batches(&mut b) > before + 2);
    assert_eq!(value(&b, "sloppy_tcp"), "1");
}

#[test]
fn caches_age_as_the_knobs_say() {
    let mut b = Bench::new();
    let expirations = [("lblc_expiration", "600"), ("lblcr_expiration", "3")];
    b.director.set_sysctls(expirations).unwrap();
    let limits = b.director.cache_limits();
    assert_eq!((limits.lblc_expiration, limits.lblcr_expiration), (600, 3));
    assert_eq!(b.tables().settings.lblcr_expiration, 3 * HZ);
}

#[test]
fn turning_a_knob_leaves_the_services_flags() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.director.set_sysctl("pmtu_disc", "0").unwrap();
    assert_eq!(b.tables().settings.flags, SettingsFlags::HAS_SERVICES);
}

#[test]
fn an_automatic_defence_comes_and_goes_with_the_seconds() {
    static PAGES: AtomicU64 = AtomicU64::new(1 << 20);
    let mut b = Bench::new();
    b.director
        .set_memory_source(Box::new(|| PAGES.load(Ordering::Relaxed)));
    let modes = [
        ("drop_entry", "1"),
        ("drop_packet", "1"),
        ("secure_tcp", "1"),
    ];
    b.director.set_sysctls(modes).unwrap();
    b.pass_seconds(1);
    assert!(!b.director.drop_entry_in_force());

    PAGES.store(924, Ordering::Relaxed);
    assert!(!b.director.drop_entry_in_force(), "the second is not over");
    b.pass_seconds(1);
    assert!(b.director.drop_entry_in_force());
    let settings = b.tables().settings;
    assert_eq!(settings.drop_rate, 10);
    assert_ne!(settings.flags & SettingsFlags::SECURE_TCP, 0);
    assert_eq!(value(&b, "drop_packet"), "2");

    PAGES.store(1 << 20, Ordering::Relaxed);
    b.pass_seconds(1);
    let settings = b.tables().settings;
    assert_eq!(settings.drop_rate, 0);
    assert_eq!(settings.flags & SettingsFlags::SECURE_TCP, 0);
    assert!(!b.director.drop_entry_in_force());
    assert_eq!(value(&b, "drop_packet"), "1");
}

#[test]
fn without_word_of_the_memory_there_is_plenty() {
    let mut b = Bench::new();
    b.director.set_sysctl("drop_entry", "1").unwrap();
    b.pass_seconds(3);
    assert_eq!(value(&b, "drop_entry"), "1");
}

#[test]
fn deleted_real_servers_follow_the_policy_of_their_service() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.run(delete(2));
    let spec = ServiceSpec {
        policy: Policy::RESET,
        ..ServiceSpec::new(Scheduler::Rr)
    };
    b.run(Command::EditService {
        service: web(),
        spec,
        keep: 0,
    });
    let dests = b.tables().dests[..3].to_vec();
    assert!(dests.iter().all(|d| d.policy == Policy::RESET));
    assert_eq!(dests[1].flags, 0, "it is still deleted");
    assert_eq!(b.tables().services[&web()].policy, Policy::RESET);
}

#[test]
fn timeouts_that_are_not_given_stay() {
    let mut b = Bench::new();
    let before = b.tables().settings.timeouts;
    let udp = Timeouts {
        udp: Some(100),
        ..Timeouts::default()
    };
    b.director.set_timeouts(udp).unwrap();
    let mut expected = before;
    expected[State::Udp as usize] = 100 * HZ;
    assert_eq!(b.tables().settings.timeouts, expected);

    let too_long = Timeouts {
        tcp: Some(5),
        tcp_fin: Some(31 * 24 * 3600 + 1),
        udp: None,
    };
    let refused = b.director.set_timeouts(too_long).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "tcp_fin = 2678401 is out of range: a timeout takes 1 to 2678400 seconds"
    );
    assert_eq!(b.tables().settings.timeouts, expected);
}
