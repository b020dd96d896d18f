//! A client that uses its port again: `conn_reuse_mode`, and the policy that goes further.

use ipvs_common::Policy;
use ipvs_tests::packet::{Packet, flag};

use crate::rig::{C0, DROUTE, R1, R2, Rig, ack, client, real, segment, syn};

const MASQ_PAIR: [&str; 3] = [
    "-A -t 203.0.113.10:80 -s rr",
    "-a -t 203.0.113.10:80 -r 10.0.1.10:80 -m",
    "-a -t 203.0.113.10:80 -r 10.0.2.10:80 -m",
];
const PERSISTENT: [&str; 3] = [
    "-A -t 203.0.113.10:80 -s rr -p 60 -M 255.255.255.0",
    "-a -t 203.0.113.10:80 -r 10.0.1.10:80 -g",
    "-a -t 203.0.113.10:80 -r 10.0.2.10:80 -g",
];

/// States that a connection can be brought into, with its method's commands.
#[derive(Clone, Copy, PartialEq, Debug)]
enum State {
    Established,
    /// FIN of the client, replies never seen.
    FinWaitOneWay,
    /// FIN of the real server.
    FinWait,
    CloseWait,
    TimeWait,
    Close,
}

fn in_state(state: State, mode: &str) -> Rig {
    let one_way = state == State::FinWaitOneWay;
    let mut rig = Rig::new(if one_way { &DROUTE } else { &MASQ_PAIR });
    rig.knob("conn_reuse_mode", mode);
    rig.send(C0, syn(1));
    rig.send(C0, ack(1));
    let fin = flag::FIN | flag::ACK;
    let reply = |flags| Packet::tcp(real(2, 80), client(1), flags);
    match state {
        State::Established => {}
        State::FinWaitOneWay | State::CloseWait => drop(rig.send(C0, segment(1, fin))),
        State::FinWait => {
            rig.send(R2, reply(flag::ACK));
            rig.send(R2, reply(fin));
        }
        State::TimeWait => {
            rig.send(C0, segment(1, fin));
            rig.send(R2, reply(fin));
        }
        State::Close => drop(rig.send(C0, segment(1, flag::RST))),
    }
    rig
}

/// Whether a SYN is given to the other real server than the connection's.
fn starts_over(state: State, mode: &str) -> bool {
    let mut rig = in_state(state, mode);
    match rig.leaves_by(syn(1)) {
        Some(R1) => {
            assert_eq!((rig.counts(0), rig.counts(1)), ((1, 0, 0), (0, 0, 0)));
            assert_eq!(rig.reason("reused"), 1);
            true
        }
        Some(R2) => false,
        other => panic!("{state:?} in mode {mode}: left by {other:?}"),
    }
}

#[test]
fn syn_starts_a_connection_over_by_mode_and_state() {
    use State::{Close, CloseWait, Established, FinWait, FinWaitOneWay, TimeWait};
    let expected: [(&str, &[State]); 4] = [
        ("0", &[]),
        ("1", &[TimeWait, Close]),
        ("2", &[TimeWait, Close, FinWaitOneWay]),
        ("3", &[TimeWait, Close, FinWaitOneWay]),
    ];
    for (mode, anew) in expected {
        for state in [
            Established,
            FinWaitOneWay,
            FinWait,
            CloseWait,
            TimeWait,
            Close,
        ] {
            let expected = anew.contains(&state);
            assert_eq!(
                starts_over(state, mode),
                expected,
                "{state:?} in mode {mode}"
            );
        }
    }
}

/// A second connection of the network moves the round robin on, so that scheduling anew would show.
fn closed_child(mode: &str) -> Rig {
    let mut rig = Rig::new(&PERSISTENT);
    rig.knob("conn_reuse_mode", mode);
    assert_eq!(rig.leaves_by(syn(1)), Some(R2));
    rig.send(C0, segment(1, 0));
    rig
}

#[test]
fn children_of_templates_are_never_started_over() {
    for mode in ["1", "2", "3"] {
        let mut rig = closed_child(mode);
        assert_eq!(rig.leaves_by(syn(1)), Some(R2));
        assert_eq!(rig.reason("reused"), 0);
    }
}

#[test]
fn reopening_policy_starts_children_over_with_their_template() {
    let fin = flag::FIN | flag::ACK;
    for (flags, anew) in [(fin, 1), (0, 1), (flag::ACK, 0)] {
        let mut rig = closed_child("1");
        rig.policy(80, Policy::REOPEN);
        rig.send(C0, syn(2));
        rig.send(C0, ack(2));
        rig.send(C0, segment(2, flags));
        assert_eq!(rig.leaves_by(syn(2)), Some(R2), "by the template");
        assert_eq!(rig.reason("reused"), anew);
        // The template still has its real server, and as many children as there are connections.
        let tables = ipvs_tests::backend::Backend::snapshot(&rig.host, 2).unwrap();
        let templates: Vec<_> = tables.templates.values().collect();
        assert_eq!((templates.len(), templates[0].children), (1, 2));
    }
}

#[test]
fn reopening_policy_is_about_closing_connections_only() {
    for (state, anew) in [
        (State::Established, false),
        (State::CloseWait, true),
        (State::FinWait, true),
        (State::FinWaitOneWay, true),
    ] {
        let mut rig = in_state(state, "0");
        rig.policy(80, Policy::REOPEN);
        let expected = if anew { R1 } else { R2 };
        assert_eq!(rig.leaves_by(syn(1)), Some(expected), "{state:?}");
    }
}
