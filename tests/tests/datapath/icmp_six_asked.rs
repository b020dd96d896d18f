//! ICMPv6 errors that open connections (`schedule_icmp`).

use ipvs_tests::backend::Verdict;

use crate::{
    icmp_six::{about_answer, report},
    rig::{C0, DROUTE, MASQ, R1, R2, Rig, link, syn},
};

#[test]
fn error_opens_a_connection_where_that_is_asked_for() {
    let mut rig = Rig::over_six(&DROUTE);
    assert_eq!(report(&mut rig, C0, about_answer(1)).verdict, Verdict::Pass);
    assert!(rig.entry_of(1).is_none());
    rig.knob("schedule_icmp", "1");
    let out = report(&mut rig, C0, about_answer(1));
    assert_eq!(link(&out), Some(R2));
    let (established, conn) = rig.entry_of(1).unwrap();
    assert_eq!((established, conn.status.state), (false, 0));
    assert_eq!(rig.counts(1), (0, 1, 0));
    rig.pass(4);
    assert!(rig.entry_of(1).is_none());
    assert_eq!(rig.counts(1), (0, 0, 0));
}

#[test]
fn error_opens_a_connection_of_a_persistent_client() {
    let mut rig = Rig::over_six(&MASQ);
    rig.ipvsadm("-E -t 203.0.113.10:80 -s rr -p 300");
    rig.knob("schedule_icmp", "1");
    assert_eq!(link(&report(&mut rig, C0, about_answer(1))), Some(R1));
    assert_eq!(rig.counts(0), (0, 1, 1));
}

#[test]
fn error_opens_anew_what_is_over() {
    let mut rig = Rig::over_six(&DROUTE[..2]);
    rig.knob("schedule_icmp", "1");
    rig.send(C0, syn(1));
    rig.clock_moves(61);
    assert_eq!(link(&report(&mut rig, C0, about_answer(1))), Some(R1));
    assert_eq!(rig.counts(0), (0, 1, 0));
}

#[test]
fn error_that_nobody_is_there_for_goes_nowhere() {
    let mut rig = Rig::over_six(&["-A -t 203.0.113.10:80 -s rr"]);
    rig.knob("schedule_icmp", "1");
    assert_eq!(report(&mut rig, C0, about_answer(1)).verdict, Verdict::Drop);
    assert_eq!(rig.reason("icmp_no_dest"), 1);
}
