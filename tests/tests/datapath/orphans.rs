//! Connections whose real server was deleted or quiesced: `expire_nodest_conn`, and what a service may do better (`on_dead`).

use ipvs_common::Policy;
use ipvs_tests::{
    backend::{Backend, Outcome, Verdict},
    packet::{ETHERNET, IcmpError, Packet, checksums_are_right, flag},
};

use crate::{
    icmp::report,
    rig::{C0, DROUTE, MASQ, R1, R2, Rig, ack, client, datagram, link, real, segment, syn, vip},
};

const DELETE_R2: &str = "-d -t 203.0.113.10:80 -r 10.0.2.10:80";
const QUIESCE_R2: &str = "-e -t 203.0.113.10:80 -r 10.0.2.10:80 -g -w 0";
const UDP: [&str; 3] = [
    "-A -u 203.0.113.10:53 -s rr",
    "-a -u 203.0.113.10:53 -r 10.0.1.10:53 -g",
    "-a -u 203.0.113.10:53 -r 10.0.2.10:53 -g",
];

/// One established connection, to the second real server.
fn established() -> Rig {
    let mut rig = Rig::new(&DROUTE);
    assert_eq!(rig.leaves_by(syn(1)), Some(R2));
    assert_eq!(rig.leaves_by(ack(1)), Some(R2));
    rig
}

#[test]
fn without_expire_nodest_conn_packets_of_a_deleted_dest_are_dropped() {
    let mut rig = established();
    rig.ipvsadm(DELETE_R2);
    for packet in [ack(1), syn(1), segment(1, flag::FIN | flag::ACK)] {
        assert_eq!(rig.send(C0, packet).verdict, Verdict::Drop);
    }
    assert_eq!(rig.reason("dest_gone"), 3);
    // Nor do they keep it alive, or change it.
    assert_eq!(rig.counts(1), (1, 0, 0));
    rig.pass(901);
    assert_eq!(rig.counts(1), (0, 0, 0));
}

/// Answers go on, and errors about them.
#[test]
fn nothing_is_counted_of_a_deleted_dest() {
    let mut rig = Rig::new(&MASQ);
    let reply = |n, flags| Packet::tcp(real(1, 8080), client(n), flags);
    for n in [1, 2] {
        rig.send(C0, syn(n));
    }
    rig.send(R1, reply(1, flag::SYN | flag::ACK));
    rig.send(C0, ack(1));
    let counted = |rig: &Rig| rig.host.snapshot(1).unwrap().dest_stats[&0];
    let before = counted(&rig);
    rig.ipvsadm("-d -t 203.0.113.10:80 -r 10.0.1.10:8080");
    for (n, flags) in [(1, flag::ACK), (2, flag::SYN | flag::ACK)] {
        assert_eq!(link(&rig.send(R1, reply(n, flags))), Some(C0));
    }
    let answer = Packet::tcp(vip(80), client(1), flag::ACK).frame();
    let error = IcmpError::about(&answer, *client(1).ip(), (3, 3));
    assert_eq!(link(&report(&mut rig, C0, error)), Some(R1));
    assert_eq!(counted(&rig), before);
    rig.ipvsadm("-a -t 203.0.113.10:80 -r 10.0.1.10:8080 -m");
    rig.send(R1, reply(1, flag::ACK));
    assert_eq!(counted(&rig).out_packets, before.out_packets + 1);
}

#[test]
fn with_expire_nodest_conn_connections_end_with_their_dest() {
    let mut rig = established();
    rig.knob("expire_nodest_conn", "1");
    rig.ipvsadm(DELETE_R2);
    assert!(rig.entry_of(1).is_none());
    assert_eq!(rig.counts(1), (0, 0, 0));
    // The stack answers with a reset.
    assert_eq!(rig.send(C0, ack(1)).verdict, Verdict::Pass);
    assert_eq!(rig.leaves_by(syn(1)), Some(R1));
}

#[test]
fn expire_nodest_conn_leaves_connections_that_their_service_moves_or_resets() {
    for (policy, verdict) in [
        (Policy::RESCHEDULE, Verdict::Redirect(Some(R1))),
        (Policy::RESET, Verdict::Redirect(Some(C0))),
    ] {
        let mut rig = established();
        rig.policy(80, policy);
        rig.knob("expire_nodest_conn", "1");
        rig.ipvsadm(DELETE_R2);
        assert!(rig.entry_of(1).is_some());
        assert_eq!(rig.send(C0, ack(1)).verdict, verdict);
    }
}

#[test]
fn connection_stays_where_it_is_until_another_dest_can_take_it() {
    let mut rig = established();
    rig.policy(80, Policy::RESCHEDULE);
    rig.ipvsadm("-e -t 203.0.113.10:80 -r 10.0.1.10:80 -g -w 0");
    rig.ipvsadm(DELETE_R2);
    assert_eq!(rig.send(C0, ack(1)).verdict, Verdict::Drop);
    assert!(rig.entry_of(1).is_some());
    rig.ipvsadm("-e -t 203.0.113.10:80 -r 10.0.1.10:80 -g -w 1");
    assert_eq!(rig.leaves_by(ack(1)), Some(R1));
}

/// The knob turned after the deletion, without anybody having looked at the tables.
#[test]
fn packet_of_a_deleted_dest_ends_its_connection_if_the_sweep_did_not() {
    for (packet, verdict) in [
        (ack(1), Verdict::Pass),
        (syn(1), Verdict::Redirect(Some(R1))),
    ] {
        let mut rig = established();
        rig.ipvsadm(DELETE_R2);
        // Past the director, which would end them at once.
        rig.host.tables().settings.flags |= ipvs_common::SettingsFlags::EXPIRE_NODEST;
        assert_eq!(rig.send(C0, packet).verdict, verdict);
        assert_eq!(rig.counts(1), (0, 0, 0));
        assert_eq!(rig.reason("dest_gone_ended"), 1);
    }
}

#[test]
fn datagram_of_a_deleted_dest_is_scheduled_anew_with_expire_nodest_conn() {
    let mut rig = Rig::new(&UDP);
    assert_eq!(rig.leaves_by(datagram(1)), Some(R2));
    assert_eq!(rig.leaves_by(datagram(1)), Some(R2));
    rig.ipvsadm("-d -u 203.0.113.10:53 -r 10.0.2.10:53");
    assert_eq!(rig.send(C0, datagram(1)).verdict, Verdict::Drop);
    rig.knob("expire_nodest_conn", "1");
    assert_eq!(rig.leaves_by(datagram(1)), Some(R1));
    assert_eq!(rig.counts(1), (0, 0, 0));
    assert_eq!(rig.counts(0), (0, 1, 0));
}

#[test]
fn syn_on_a_connection_of_a_quiesced_dest_is_scheduled_anew_with_expire_nodest_conn() {
    let mut rig = established();
    rig.ipvsadm(QUIESCE_R2);
    assert_eq!(rig.leaves_by(syn(1)), Some(R2), "off");
    rig.knob("expire_nodest_conn", "1");
    assert_eq!(rig.leaves_by(ack(1)), Some(R2), "no SYN");
    assert_eq!(rig.leaves_by(syn(1)), Some(R1));
    assert_eq!((rig.counts(0), rig.counts(1)), ((1, 0, 0), (0, 0, 0)));
}

/// The connection of [`established`], its real server deleted, under a policy.
fn orphan_under(policy: u8) -> Rig {
    let rig = established();
    rig.policy(80, policy);
    rig.ipvsadm(DELETE_R2);
    rig
}

fn number(outcome: &Outcome, at: usize) -> u32 {
    let at = ETHERNET + 20 + at;
    u32::from_be_bytes(outcome.frame[at..at + 4].try_into().unwrap())
}

#[test]
fn reset_has_the_numbers_that_the_client_waits_for() {
    let mut rig = orphan_under(Policy::RESET);
    let out = rig.send(C0, ack(1).data(7));
    assert_eq!(link(&out), Some(C0));
    assert_eq!(out.frame.len(), ETHERNET + 40);
    assert!(checksums_are_right(&out.frame));
    assert_eq!(
        out.frame[ETHERNET + 12..ETHERNET + 24],
        [
            &vip(80).ip().octets()[..],
            &client(1).ip().octets(),
            &80_u16.to_be_bytes(),
            &client(1).port().to_be_bytes(),
        ]
        .concat()
    );
    // The test's segments acknowledge 5000, and are at 1000.
    assert_eq!(number(&out, 4), 5000);
    assert_eq!(out.frame[ETHERNET + 33], flag::RST);
    assert!(rig.entry_of(1).is_none());
    assert_eq!(rig.counts(1), (0, 0, 0));
    assert_eq!(
        (rig.reason("reset_sent"), rig.reason("dest_gone_reset")),
        (1, 1)
    );
    assert_eq!(rig.send(C0, ack(1)).verdict, Verdict::Pass, "once");
}

#[test]
fn reset_acknowledges_a_segment_that_acknowledges_nothing() {
    for (flags, counted) in [(flag::FIN, 1), (0, 0), (flag::PSH, 0)] {
        let mut rig = orphan_under(Policy::RESET);
        let out = rig.send(C0, segment(1, flags).data(7));
        assert!(checksums_are_right(&out.frame));
        assert_eq!(out.frame[ETHERNET + 33], flag::RST | flag::ACK);
        assert_eq!((number(&out, 4), number(&out, 8)), (0, 1000 + 7 + counted));
    }
}

#[test]
fn no_reset_answers_a_reset() {
    let mut rig = orphan_under(Policy::RESET);
    assert_eq!(rig.send(C0, segment(1, flag::RST)).verdict, Verdict::Drop);
    assert_eq!(rig.reason("reset_sent"), 0);
    assert!(rig.entry_of(1).is_none());
}

#[test]
fn syn_on_an_orphan_is_scheduled_and_not_reset() {
    for policy in [Policy::RESET, Policy::RESCHEDULE] {
        let mut rig = orphan_under(policy);
        assert_eq!(rig.leaves_by(syn(1)), Some(R1));
        assert_eq!(rig.counts(1), (0, 0, 0));
    }
}

#[test]
fn orphan_is_rescheduled_by_its_very_next_segment() {
    for flags in [flag::ACK, flag::ACK | flag::PSH, flag::FIN | flag::ACK] {
        let mut rig = orphan_under(Policy::RESCHEDULE);
        assert_eq!(rig.leaves_by(segment(1, flags).data(3)), Some(R1));
        assert_eq!(rig.counts(1), (0, 0, 0));
        assert_eq!(rig.reason("rescheduled"), 1);
        assert_eq!(rig.leaves_by(ack(1)), Some(R1));
    }
}

#[test]
fn reset_of_a_client_reschedules_nothing() {
    let mut rig = orphan_under(Policy::RESCHEDULE);
    assert_eq!(rig.send(C0, segment(1, flag::RST)).verdict, Verdict::Drop);
    assert_eq!(rig.reason("rescheduled"), 0);
    assert_eq!(rig.counts(0), (0, 0, 0));
}

#[test]
fn policy_applies_to_what_was_deleted_before_it_was_given() {
    let mut rig = established();
    rig.ipvsadm(DELETE_R2);
    assert_eq!(rig.send(C0, ack(1)).verdict, Verdict::Drop);
    rig.policy(80, Policy::RESCHEDULE);
    assert_eq!(rig.leaves_by(ack(1)), Some(R1));
}

#[test]
fn persistent_orphan_is_rescheduled_with_a_new_template() {
    let mut rig = Rig::new(&[
        "-A -t 203.0.113.10:80 -s rr -p 60",
        "-a -t 203.0.113.10:80 -r 10.0.1.10:80 -g",
        "-a -t 203.0.113.10:80 -r 10.0.2.10:80 -g",
    ]);
    rig.policy(80, Policy::RESCHEDULE);
    for n in 1..4 {
        rig.send(C0, syn(n));
        assert_eq!(rig.leaves_by(ack(n)), Some(R2));
    }
    rig.ipvsadm(DELETE_R2);
    for n in 1..4 {
        assert_eq!(rig.leaves_by(ack(n)), Some(R1));
    }
    assert_eq!((rig.counts(0), rig.counts(1)), ((3, 0, 1), (0, 0, 1)));
    rig.pass(61);
    rig.pass(61);
    assert_eq!(rig.counts(1), (0, 0, 0), "nothing holds the old template");
}

#[test]
fn masqueraded_orphan_moves_with_both_directions() {
    let mut rig = Rig::new(&[
        "-A -t 203.0.113.10:80 -s rr",
        "-a -t 203.0.113.10:80 -r 10.0.1.10:8080 -m",
        "-a -t 203.0.113.10:80 -r 10.0.2.10:8080 -m",
    ]);
    rig.policy(80, Policy::RESCHEDULE);
    rig.send(C0, syn(1));
    assert_eq!(rig.leaves_by(ack(1)), Some(R2));
    rig.ipvsadm("-d -t 203.0.113.10:80 -r 10.0.2.10:8080");
    assert_eq!(rig.leaves_by(ack(1)), Some(R1));
    let reply = |from| Packet::tcp(real(from, 8080), client(1), flag::RST);
    assert_eq!(rig.send(R1, reply(1)).verdict, Verdict::Redirect(Some(C0)));
    assert_eq!(rig.send(R2, reply(2)).verdict, Verdict::Pass, "not its own");
    let tables = rig.host.snapshot(2).unwrap();
    assert_eq!(tables.conns.len() + tables.half_open.len(), 2);
}
