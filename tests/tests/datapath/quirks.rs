//! What ip_vs does that one is tempted to do otherwise.

use ipvs_common::State;
use ipvs_tests::{
    backend::{Backend, Verdict},
    packet::{Packet, flag},
};

use crate::rig::{C0, DROUTE, MASQ, R1, R2, Rig, ack, client, datagram, segment, syn, vip};

/// Two real servers of these weights, the second one the newer.
fn pair(scheduler: &str, weights: [u32; 2]) -> Rig {
    Rig::new(&[
        &format!("-A -t 203.0.113.10:80 -s {scheduler}"),
        &format!("-a -t 203.0.113.10:80 -r 10.0.1.10:80 -g -w {}", weights[0]),
        &format!("-a -t 203.0.113.10:80 -r 10.0.2.10:80 -g -w {}", weights[1]),
    ])
}

#[test]
fn of_idle_dests_the_newest_is_first_whatever_it_weighs() {
    for scheduler in ["rr", "lc", "wlc", "nq", "lblc", "lblcr"] {
        let mut rig = pair(scheduler, [9, 1]);
        assert_eq!(rig.leaves_by(syn(1)), Some(R2), "{scheduler}");
    }
    // Where the weight of idle ones counts, equal weights leave it to the list.
    for scheduler in ["sed", "fo", "ovf"] {
        let mut rig = pair(scheduler, [1, 1]);
        assert_eq!(rig.leaves_by(syn(1)), Some(R2), "{scheduler}");
        let mut rig = pair(scheduler, [9, 1]);
        assert_eq!(rig.leaves_by(syn(1)), Some(R1), "{scheduler}");
    }
}

#[test]
fn wrr_starts_over_at_the_head_with_every_edit() {
    let edit = |weight| format!("-e -t 203.0.113.10:80 -r 10.0.1.10:80 -g -w {weight}");
    let mut rig = pair("wrr", [3, 3]);
    for n in 0..6 {
        assert_eq!(rig.leaves_by(syn(n)), Some(R2));
        rig.ipvsadm(&edit(3));
    }
    assert_eq!(rig.leaves_by(syn(10)), Some(R2));
    assert_eq!(rig.leaves_by(syn(11)), Some(R1));
}

/// What was asked for when there was one real server is asked for still: the burst of the heavy one comes a round later.
#[test]
fn wrr_keeps_the_weight_that_it_asks_for() {
    let mut rig = pair("wrr", [3, 1]);
    let ways: Vec<_> = (0..8).map(|n| rig.leaves_by(syn(n))).collect();
    assert_eq!(ways, [R2, R1, R1, R1, R2, R1, R1, R1].map(Some));
}

/// As the walk in vain came by the end of the list.
#[test]
fn wrr_starts_at_the_top_when_all_were_overloaded() {
    let mut rig = Rig::new(&[
        "-A -t 203.0.113.10:80 -s wrr",
        "-a -t 203.0.113.10:80 -r 10.0.1.10:80 -g -w 3 -x 2",
        "-a -t 203.0.113.10:80 -r 10.0.2.10:80 -g -w 1 -x 1",
    ]);
    let ways: Vec<_> = (0..4).map(|n| rig.leaves_by(syn(n))).collect();
    assert_eq!(ways, [R2, R1, R1, C0].map(Some));
    for n in 0..3 {
        rig.send(C0, segment(n, 0));
    }
    rig.pass(11);
    assert_eq!(rig.leaves_by(syn(10)), Some(R1));
    assert_eq!(rig.leaves_by(syn(11)), Some(R1));
    assert_eq!(rig.leaves_by(syn(12)), Some(R2));
}

#[test]
fn nq_takes_the_newest_idle_one_and_not_the_fastest() {
    let mut rig = pair("nq", [100, 1]);
    assert_eq!(rig.leaves_by(syn(1)), Some(R2));
    assert_eq!(rig.leaves_by(syn(2)), Some(R1));
    assert!((3..20).all(|n| rig.leaves_by(syn(n)) == Some(R1)));
}

#[test]
fn ovf_fills_a_dest_by_one_more_than_it_weighs() {
    let mut rig = pair("ovf", [2, 4]);
    let ways: Vec<_> = (0..9).map(|n| rig.leaves_by(syn(n))).collect();
    assert_eq!(ways[..5], [Some(R2); 5]);
    assert_eq!(ways[5..8], [Some(R1); 3]);
    assert_eq!(ways[8], Some(C0), "all full: an error");
    assert_eq!(rig.reason("no_dest"), 1);
}

#[test]
fn sh_gives_a_quiesced_dest_a_bucket() {
    let mut rig = pair("sh", [1, 0]);
    let from = |n: u16| {
        let ip = std::net::Ipv4Addr::from_bits(0xc633_6400 + u32::from(n));
        Packet::tcp(std::net::SocketAddrV4::new(ip, 1024), vip(80), flag::SYN)
    };
    let ways: Vec<_> = (1..=60).map(|n| rig.leaves_by(from(n))).collect();
    let nobody = ways.iter().filter(|w| **w == Some(C0)).count();
    assert!(nobody > 10 && nobody < 50, "{nobody} of 60");
    rig.ipvsadm("-E -t 203.0.113.10:80 -s sh -b sh-fallback");
    assert!((61..=120).all(|n| rig.leaves_by(from(n)) == Some(R1)));
}

#[test]
fn reset_of_a_client_in_syn_recv_leaves_it_active() {
    for commands in [&DROUTE[..2], &MASQ[..2]] {
        let mut rig = Rig::new(commands);
        rig.send(C0, syn(1));
        rig.send(C0, segment(1, flag::RST));
        assert_eq!(
            rig.entry_of(1).unwrap().1.status.state,
            State::SynRecv as u8
        );
        assert_eq!(rig.counts(0), (1, 0, 0));
        rig.pass(59);
        assert_eq!(rig.counts(0), (1, 0, 0));
        rig.pass(1);
        assert_eq!(rig.counts(0), (0, 0, 0));
    }
}

#[test]
fn segment_without_flags_closes_in_any_state() {
    for before in [None, Some(flag::ACK), Some(flag::FIN | flag::ACK)] {
        let mut rig = Rig::new(&DROUTE[..2]);
        rig.send(C0, syn(1));
        if let Some(flags) = before {
            rig.send(C0, ack(1));
            rig.send(C0, segment(1, flags));
        }
        rig.send(C0, segment(1, flag::PSH));
        assert_eq!(rig.entry_of(1).unwrap().1.status.state, State::Close as u8);
        assert_eq!(rig.counts(0), (0, 1, 0));
        rig.pass(10);
        assert_eq!(rig.counts(0), (0, 0, 0));
    }
}

#[test]
fn quiesced_and_overloaded_dests_are_reached_by_templates() {
    let mut rig = Rig::new(&[
        "-A -t 203.0.113.10:80 -s rr -p 60",
        "-a -t 203.0.113.10:80 -r 10.0.1.10:80 -g",
        "-a -t 203.0.113.10:80 -r 10.0.2.10:80 -g -x 1",
    ]);
    assert!((1..5).all(|n| rig.leaves_by(syn(n)) == Some(R2)));
    rig.ipvsadm("-e -t 203.0.113.10:80 -r 10.0.2.10:80 -g -x 1 -w 0");
    assert!((5..9).all(|n| rig.leaves_by(syn(n)) == Some(R2)));
}

#[test]
fn lblc_and_lblcr_give_one_address_to_one_dest_until_it_is_over() {
    for scheduler in ["lblc", "lblcr"] {
        let mut rig = pair(scheduler, [1, 5]);
        // Over is more active than it weighs; then the other, at half of its weight, takes the address.
        assert!(
            (0..6).all(|n| rig.leaves_by(syn(n)) == Some(R2)),
            "{scheduler}"
        );
        assert_eq!(rig.leaves_by(syn(6)), Some(R1), "{scheduler}");
    }
}

/// No tick in between: the packet itself finds that time is over.
#[test]
fn entry_past_its_deadline_is_gone_for_the_very_next_packet() {
    let mut rig = Rig::new(&DROUTE);
    assert_eq!(rig.leaves_by(syn(1)), Some(R2));
    assert_eq!(rig.leaves_by(ack(1)), Some(R2));
    rig.clock_moves(899);
    assert_eq!(rig.leaves_by(ack(1)), Some(R2));
    rig.clock_moves(900);
    assert_eq!(rig.send(C0, ack(1)).verdict, Verdict::Pass);
    assert_eq!(rig.counts(1), (0, 0, 0));
    assert!(rig.entry_of(1).is_none());
    assert_eq!(rig.reason("expired"), 1);
}

#[test]
fn half_open_entry_and_datagram_flow_are_gone_as_soon() {
    let mut rig = Rig::new(&[
        DROUTE[0],
        DROUTE[1],
        DROUTE[2],
        "-A -u 203.0.113.10:53 -s rr",
        "-a -u 203.0.113.10:53 -r 10.0.1.10:53 -g",
        "-a -u 203.0.113.10:53 -r 10.0.2.10:53 -g",
    ]);
    assert_eq!(rig.leaves_by(syn(1)), Some(R2));
    assert_eq!(rig.leaves_by(datagram(1)), Some(R2));
    rig.clock_moves(300);
    assert_eq!(rig.leaves_by(syn(1)), Some(R1));
    assert_eq!(rig.leaves_by(datagram(1)), Some(R1));
    for id in 0..4 {
        let (active, inactive, _) = rig.counts(id);
        assert_eq!(active + inactive, 1 - id % 2, "{id}");
    }
}

#[test]
fn template_past_its_deadline_is_gone_as_soon() {
    let mut rig = Rig::new(&[
        "-A -t 203.0.113.10:80 -s rr -p 60",
        "-a -t 203.0.113.10:80 -r 10.0.1.10:80 -g",
        "-a -t 203.0.113.10:80 -r 10.0.2.10:80 -g",
    ]);
    assert_eq!(rig.leaves_by(syn(1)), Some(R2));
    rig.send(C0, segment(1, 0));
    // The connection ends by its next packet; the template has no children then.
    rig.clock_moves(60);
    assert_eq!(rig.send(C0, ack(1)).verdict, Verdict::Pass);
    assert_eq!(rig.leaves_by(syn(2)), Some(R1));
    let tables = rig.host.snapshot(2).unwrap();
    assert_eq!(tables.templates.len(), 1);
    assert_eq!((rig.counts(0), rig.counts(1)), ((1, 0, 1), (0, 0, 0)));
}

#[test]
fn reply_of_a_masqueraded_connection_past_its_deadline_is_not_translated() {
    let mut rig = Rig::new(&MASQ);
    rig.send(C0, syn(1));
    rig.send(C0, ack(1));
    rig.clock_moves(900);
    let reply = Packet::tcp(crate::rig::real(1, 8080), client(1), flag::ACK);
    assert_eq!(rig.send(R1, reply).verdict, Verdict::Pass);
    assert!(rig.host.snapshot(0).unwrap().conns.is_empty());
    assert_eq!(rig.counts(0), (0, 0, 0));
}
