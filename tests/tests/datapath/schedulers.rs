//! What all schedulers have in common: thresholds, quiescence, services without anybody, and lists as long as they get.

use ipvs_common::{ForwardingMethod, Scheduler, Service};
use ipvs_tests::{
    backend::Verdict,
    packet::{ETHERNET, checksums_are_right},
};
use ipvs_user::model::{Command, DestSpec};

use crate::rig::{C0, R1, R2, Rig, ack, link, real, segment, syn, tcp_service};

/// Those whose choice can be any real server, which takes flags for some.
fn choosing() -> impl Iterator<Item = &'static str> {
    Scheduler::ALL.iter().filter_map(|s| match s {
        Scheduler::Sh => Some("sh -b sh-fallback,sh-port"),
        Scheduler::Mh => Some("mh -b mh-fallback,mh-port"),
        // One virtual address is one bucket.
        Scheduler::Dh | Scheduler::None => None,
        s => Some(s.name()),
    })
}

/// Two real servers with options.
fn pair(scheduler: &str, options: [&str; 2]) -> Rig {
    Rig::new(&[
        &format!("-A -t 203.0.113.10:80 -s {scheduler}"),
        &format!("-a -t 203.0.113.10:80 -r 10.0.1.10:80 -g {}", options[0]),
        &format!("-a -t 203.0.113.10:80 -r 10.0.2.10:80 -g {}", options[1]),
    ])
}

#[test]
fn overloaded_dest_is_passed_over_by_every_scheduler() {
    for scheduler in choosing() {
        let mut rig = pair(scheduler, ["-w 20", "-w 20 -x 3"]);
        let ways: Vec<_> = (0..18).filter_map(|n| rig.leaves_by(syn(n))).collect();
        let to = |link| ways.iter().filter(|w| **w == link).count();
        assert_eq!(to(R1) + to(R2), 18, "{scheduler}: {ways:?}");
        if scheduler == "lblc" {
            // Its cached one is used, overloaded or not, until it is over.
            assert_eq!(to(R2), 18);
        } else {
            assert!(to(R2) <= 3, "{scheduler}: {ways:?}");
        }
    }
}

#[test]
fn quiesced_dest_is_chosen_by_no_scheduler() {
    for scheduler in choosing() {
        let mut rig = pair(scheduler, ["-w 9", "-w 9"]);
        rig.ipvsadm("-e -t 203.0.113.10:80 -r 10.0.2.10:80 -g -w 0");
        assert!(
            (0..9).all(|n| rig.leaves_by(syn(n)) == Some(R1)),
            "{scheduler}"
        );
    }
}

#[test]
fn dest_quiesced_in_the_middle_is_chosen_by_no_scheduler_from_there_on() {
    for scheduler in choosing() {
        let mut rig = pair(scheduler, ["-w 9", "-w 9"]);
        for n in 0..6 {
            assert!(rig.leaves_by(syn(n)).is_some());
        }
        rig.ipvsadm("-e -t 203.0.113.10:80 -r 10.0.2.10:80 -g -w 0");
        assert!(
            (6..12).all(|n| rig.leaves_by(syn(n)) == Some(R1)),
            "{scheduler}"
        );
        rig.ipvsadm("-d -t 203.0.113.10:80 -r 10.0.1.10:80");
        assert_eq!(rig.leaves_by(syn(20)), Some(C0), "{scheduler}: nobody");
    }
}

#[test]
fn client_is_told_when_all_dests_are_overloaded() {
    for scheduler in Scheduler::NAMES {
        // lblc does not ask; all the others do.
        if *scheduler == "lblc" {
            continue;
        }
        let mut rig = pair(scheduler, ["-x 1", "-x 1"]);
        for n in 0..40 {
            rig.send(C0, syn(n));
            rig.console
                .director()
                .adjust_settings(|s| s.icmp_rate = 0)
                .unwrap();
        }
        let out = rig.send(C0, syn(99));
        assert_eq!(link(&out), Some(C0), "{scheduler}");
        assert_eq!(out.frame[ETHERNET + 9], 1, "ICMP");
        assert_eq!(
            out.frame[ETHERNET + 20..ETHERNET + 22],
            [3, 3],
            "{scheduler}"
        );
        assert!(checksums_are_right(&out.frame));
        let (a, b) = (rig.counts(0), rig.counts(1));
        assert!(a.0 <= 1 && b.0 <= 1, "{scheduler}: {a:?} {b:?}");
    }
}

#[test]
fn overload_ends_below_three_quarters_or_the_lower_threshold() {
    for (options, ends_at) in [("-x 8", 5), ("-x 8 -y 3", 2)] {
        let mut rig = pair("rr", ["-w 0", options]);
        for n in 0..8 {
            assert_eq!(rig.leaves_by(syn(n)), Some(R2));
        }
        let mut left = 8;
        while rig.leaves_by(syn(100)) != Some(R2) {
            assert!(left > ends_at, "{options}: still overloaded with {left}");
            left -= 1;
            rig.send(C0, segment(left, 0));
            rig.pass(11);
        }
        assert_eq!(left, ends_at, "{options}");
    }
}

#[test]
fn raised_threshold_ends_overload_and_a_lowered_one_waits_for_the_next() {
    let edit = |x| format!("-e -t 203.0.113.10:80 -r 10.0.2.10:80 -g -x {x}");
    let mut rig = pair("rr", ["-w 0", "-x 2"]);
    let sent = |rig: &mut Rig, n| rig.leaves_by(syn(n)) == Some(R2);
    assert!(sent(&mut rig, 0) && sent(&mut rig, 1) && !sent(&mut rig, 2));
    rig.ipvsadm(&edit(4));
    assert!(sent(&mut rig, 3) && sent(&mut rig, 4) && !sent(&mut rig, 5));
    rig.ipvsadm(&edit(0));
    assert!((6..20).all(|n| sent(&mut rig, n)));
    rig.ipvsadm(&edit(1));
    assert!(sent(&mut rig, 30), "looked at when a connection comes");
    assert!(!sent(&mut rig, 31));
}

#[test]
fn the_last_of_the_longest_list_is_reached_by_every_scan() {
    for scheduler in choosing().filter(|s| !s.starts_with("sh")) {
        let mut rig = Rig::new(&[&format!("-A -t 203.0.113.10:80 -s {scheduler}")]);
        longest_list(&rig);
        let out = rig.send(C0, syn(1));
        assert_eq!(link(&out), Some(R1), "{scheduler}");
        let port = ETHERNET + 22;
        assert_eq!(
            out.frame[port..port + 2],
            1000_u16.to_be_bytes(),
            "{scheduler}"
        );
        assert_eq!(rig.leaves_by(ack(1)), Some(R1));
        // With that one overloaded all are looked at in vain.
        rig.ipvsadm("-e -t 203.0.113.10:80 -r 10.0.1.10:1000 -m -w 0");
        assert_eq!(rig.leaves_by(syn(2)), Some(C0), "{scheduler}");
    }
}

/// As many real servers as there may be, of which the last in the list, the oldest, is the only one with a weight.
fn longest_list(rig: &Rig) {
    let service = tcp_service(80);
    let add = |n: u32| Command::AddDest {
        service,
        dest: real(1, 1000 + n as u16).into(),
        spec: DestSpec::new(ForwardingMethod::Masq, u32::from(n == 0)),
    };
    let adds: Vec<_> = (0..Service::MAX_DESTS).map(add).collect();
    rig.console.director().execute_all(&adds).unwrap();
}

#[test]
fn scheduler_none_gives_new_connections_to_nobody() {
    let mut rig = pair("rr", ["", ""]);
    assert_eq!(rig.leaves_by(syn(1)), Some(R2));
    rig.ipvsadm("-E -t 203.0.113.10:80 -s none");
    assert_eq!(rig.leaves_by(syn(2)), Some(C0), "an error");
    assert_eq!(rig.leaves_by(ack(1)), Some(R2));
    assert_ne!(rig.send(C0, ack(2)).verdict, Verdict::Drop);
}
