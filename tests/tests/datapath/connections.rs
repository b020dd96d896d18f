//! How connections begin, stay and end.

use ipvs_common::maps::Capacities;
use ipvs_tests::{
    backend::Backend,
    packet::{Packet, flag},
};

use crate::rig::{
    C0, DROUTE, MASQ, R1, R2, Rig, TUNNEL, ack, client, datagram, link, real, syn, vip,
};

#[test]
fn half_open_connections_are_evicted_first_in_first_out() {
    let capacities = Capacities {
        half_open: 8,
        ..Capacities::SMALL
    };
    let mut rig = Rig::with(|s| s.capacities = capacities, &DROUTE);
    for n in 0..12 {
        rig.send(C0, syn(n));
    }
    let here = |rig: &Rig, n| rig.entry_of(n).is_some();
    assert!((0..4).all(|n| !here(&rig, n)), "the oldest are gone");
    assert!((4..12).all(|n| here(&rig, n)), "the youngest are not");
    assert_eq!(rig.reason("half_open_evicted"), 4);
}

#[test]
fn established_connection_does_not_count_among_the_half_open() {
    let capacities = Capacities {
        half_open: 8,
        ..Capacities::SMALL
    };
    for commands in [&DROUTE[..], &MASQ[..], &TUNNEL[..]] {
        let mut rig = Rig::with(|s| s.capacities = capacities, commands);
        rig.send(C0, syn(0));
        let way = rig.leaves_by(ack(0));
        for n in 1..100 {
            rig.send(C0, syn(n));
        }
        assert!(way.is_some());
        assert_eq!(rig.leaves_by(ack(0)), way);
        assert_eq!(rig.entry_of(0).map(|e| e.0), Some(true));
    }
}

#[test]
fn evicted_connection_is_counted_out() {
    let capacities = Capacities {
        half_open: 8,
        ..Capacities::SMALL
    };
    let mut rig = Rig::with(|s| s.capacities = capacities, &MASQ);
    for n in 0..100 {
        rig.send(C0, syn(n));
    }
    let tables = rig.host.snapshot(4).unwrap();
    assert_eq!(tables.counted(), tables.counters());
    assert_eq!(tables.dest_states[&0].active, 8);
}

#[test]
fn datagram_flow_is_established_by_its_second_datagram() {
    let mut rig = Rig::new(&MASQ);
    rig.send(C0, datagram(1));
    assert_eq!(rig.entry_of(1).map(|e| e.0), Some(false));
    rig.send(C0, datagram(1));
    assert_eq!(rig.entry_of(1).map(|e| e.0), Some(true));
}

#[test]
fn either_direction_keeps_a_masqueraded_connection() {
    let mut rig = Rig::new(&MASQ);
    rig.send(C0, syn(1));
    rig.send(C0, ack(1));
    for _ in 0..3 {
        rig.pass(600);
        let data = Packet::tcp(real(1, 8080), client(1), flag::ACK).data(9);
        assert_eq!(link(&rig.send(R1, data)), Some(C0));
    }
    assert_eq!(rig.leaves_by(ack(1)), Some(R1));
    rig.pass(901);
    assert!(rig.entry_of(1).is_none());
    assert!(rig.host.snapshot(0).unwrap().conns.is_empty());
}

#[test]
fn client_that_closes_is_counted_inactive() {
    let mut rig = Rig::new(&DROUTE[..2]);
    rig.send(C0, syn(1));
    rig.send(C0, ack(1));
    let counts = |rig: &Rig| {
        let state = rig.host.snapshot(1).unwrap().dest_states[&0];
        (state.active, state.inactive)
    };
    assert_eq!(counts(&rig), (1, 0));
    rig.send(C0, Packet::tcp(client(1), vip(80), flag::FIN | flag::ACK));
    assert_eq!(counts(&rig), (0, 1));
    rig.pass(121);
    assert_eq!(counts(&rig), (0, 0));
}

#[test]
fn syn_on_a_closed_connection_is_scheduled_anew() {
    let mut rig = Rig::new(&DROUTE);
    assert_eq!(rig.leaves_by(syn(1)), Some(R2));
    // A segment without any flag closes.
    rig.send(C0, Packet::tcp(client(1), vip(80), 0));
    assert_eq!(rig.leaves_by(syn(1)), Some(R1));
    assert_eq!(rig.reason("reused"), 1);
}

/// A real server that is a client of another service, and whose packets look like replies to somebody: whoever comes later
/// gets them, and the counts follow.
#[test]
fn connection_whose_packets_become_replies_ends_with_its_counts() {
    for established in [false, true] {
        let mut rig = Rig::with(
            |s| s.marks[R1] = 7,
            &[
                "-A -f 7 -s rr -p 60",
                "-a -f 7 -r 10.0.2.10 -g",
                "-A -t 203.0.113.10:80 -s rr",
                "-a -t 203.0.113.10:80 -r 10.0.1.10:8080 -m",
            ],
        );
        rig.host.tables().local_marks.insert(7);
        let out = Packet::tcp(real(1, 8080), client(1), flag::SYN);
        assert_eq!(link(&rig.send(R1, out)), Some(R2));
        if established {
            rig.send(R1, Packet::tcp(real(1, 8080), client(1), flag::ACK));
        }
        assert_eq!(rig.counts(0), (1, 0, 1));
        assert_eq!(rig.leaves_by(syn(1)), Some(R1));
        rig.host.snapshot(2).unwrap().is_consistent().unwrap();
        assert_eq!((rig.counts(0), rig.counts(1)), ((0, 0, 1), (1, 0, 0)));
        let reply = Packet::tcp(real(1, 8080), client(1), flag::SYN | flag::ACK);
        assert_eq!(link(&rig.send(R1, reply)), Some(C0));
    }
}

/// Two services lead to one port of a real server, and a client uses its own port for both: the replies cannot be told apart,
/// and go to whoever opened last, even after the other one is gone.
#[test]
fn replies_go_to_the_connection_that_was_opened_last() {
    for persistence in ["", "-p 600"] {
        let mut rig = Rig::new(&[
            &format!("-A -t 203.0.113.10:80 -s rr {persistence}"),
            "-a -t 203.0.113.10:80 -r 10.0.1.10:8080 -m",
            &format!("-A -t 203.0.113.10:81 -s rr {persistence}"),
            "-a -t 203.0.113.10:81 -r 10.0.1.10:8080 -m",
        ]);
        let open = |rig: &mut Rig, port, flags| {
            rig.send(C0, Packet::tcp(client(1), vip(port), flags));
        };
        // The port that the client sees an answer come from.
        let answer = |rig: &mut Rig| {
            let reply = Packet::tcp(real(1, 8080), client(1), flag::SYN | flag::ACK);
            let out = rig.send(R1, reply);
            (link(&out) == Some(C0)).then(|| u16::from_be_bytes([out.frame[34], out.frame[35]]))
        };
        for port in [80, 81] {
            open(&mut rig, port, flag::SYN);
            open(&mut rig, port, flag::ACK);
            assert_eq!(answer(&mut rig), Some(port));
            open(&mut rig, port, flag::RST);
        }
        open(&mut rig, 80, flag::SYN);
        assert_eq!(answer(&mut rig), Some(80), "{persistence}");
        rig.pass(11);
        open(&mut rig, 80, flag::SYN);
        assert_eq!(answer(&mut rig), Some(80), "{persistence}");
        rig.host.snapshot(2).unwrap().is_consistent().unwrap();
    }
}
