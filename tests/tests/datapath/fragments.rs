//! Packets that come in fragments.

use ipvs_common::PuntReason;
use ipvs_tests::{
    backend::{Backend, Outcome, Verdict},
    packet::{ETHERNET, Packet, checksums_are_right, pieces, whole},
};

use crate::rig::{C0, R1, R2, Rig, client, datagram, link, real, vip};

const ALL: [&str; 8] = [
    "-A -u 203.0.113.10:53 -s rr",
    "-a -u 203.0.113.10:53 -r 10.0.1.10:5353 -m",
    "-A -u 203.0.113.10:54 -s rr",
    "-a -u 203.0.113.10:54 -r 10.0.1.10:54 -g",
    "-A -u 203.0.113.10:55 -s rr",
    "-a -u 203.0.113.10:55 -r 10.0.1.10:55 -i",
    "-A -t 203.0.113.10:80 -s rr",
    "-a -t 203.0.113.10:80 -r 10.0.1.10:8080 -m",
];
const HEADERS: [usize; 2] = [20, 40];
const ENDS: [usize; 2] = [400, 800];

fn both() -> [(bool, Rig); 2] {
    [(false, Rig::new(&ALL)), (true, Rig::over_six(&ALL))]
}

/// A datagram of 1208 bytes with its header, in three fragments.
pub(crate) fn cut(rig: &Rig, from: usize, packet: Packet, six: bool, id: u32) -> Vec<Vec<u8>> {
    let packet = Packet {
        df: false,
        ..packet
    };
    let frame = rig.address(from, packet.data(1200)).frame();
    pieces(&frame, six, &ENDS, id)
}

fn run(rig: &mut Rig, from: usize, frame: &[u8]) -> Outcome {
    rig.host.run(from, frame).unwrap()
}

/// Whether it was handed over to be held.
fn is_early(outcome: &Outcome) -> bool {
    let handed = outcome.handed.as_ref();
    handed.is_some_and(|(header, _)| header.reason == PuntReason::Early as u32)
}

/// Puts them on a link; the frames that leave by another.
pub(crate) fn through(rig: &mut Rig, from: usize, to: usize, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let each = frames.iter().map(|frame| {
        let outcome = run(rig, from, frame);
        assert_eq!(link(&outcome), Some(to), "{:?}", outcome.verdict);
        outcome.frame
    });
    each.collect()
}

#[test]
fn fragments_of_a_masqueraded_datagram_arrive_as_one_with_a_right_checksum() {
    for (six, mut rig) in both() {
        let sent = cut(&rig, C0, Packet::udp(client(1), vip(53)), six, 7);
        let arrived = whole(&through(&mut rig, C0, R1, &sent), six);
        assert!(checksums_are_right(&arrived), "six: {six}");
        assert_eq!(
            arrived[ETHERNET + HEADERS[usize::from(six)] + 2..][..2],
            5353_u16.to_be_bytes()
        );
    }
}

#[test]
fn fragments_of_a_reply_arrive_as_one_with_a_right_checksum() {
    for (six, mut rig) in both() {
        rig.send(C0, Packet::udp(client(1), vip(53)));
        let sent = cut(&rig, R1, Packet::udp(real(1, 5353), client(1)), six, 7);
        let arrived = whole(&through(&mut rig, R1, C0, &sent), six);
        assert!(checksums_are_right(&arrived), "six: {six}");
        assert_eq!(
            arrived[ETHERNET + HEADERS[usize::from(six)]..][..2],
            53_u16.to_be_bytes()
        );
    }
}

#[test]
fn fragments_go_to_the_real_server_as_they_are_or_in_its_tunnel() {
    for (port, before) in [(54, [0, 0]), (55, HEADERS)] {
        for (six, mut rig) in both() {
            let sent = cut(&rig, C0, Packet::udp(client(1), vip(port)), six, 7);
            let left = through(&mut rig, C0, R1, &sent);
            for (sent, left) in sent.iter().zip(&left) {
                let before = before[usize::from(six)];
                let behind = ETHERNET + HEADERS[usize::from(six)];
                assert_eq!(sent.len() + before, left.len());
                assert_eq!(sent[behind..], left[behind + before..], "port {port}");
            }
        }
    }
}

#[test]
fn a_datagram_in_fragments_counts_as_one_packet_with_all_its_bytes() {
    let mut rig = Rig::new(&ALL);
    let sent = cut(&rig, C0, Packet::udp(client(1), vip(53)), false, 7);
    through(&mut rig, C0, R1, &sent);
    let back = cut(&rig, R1, Packet::udp(real(1, 5353), client(1)), false, 8);
    through(&mut rig, R1, C0, &back);
    let stats = rig.host.snapshot(1).unwrap().dest_stats[&0];
    assert_eq!(
        (stats.conns, stats.in_packets, stats.out_packets),
        (1, 1, 1)
    );
    assert_eq!((stats.in_bytes, stats.out_bytes), (1228, 1228));
}

#[test]
fn fragments_that_came_before_the_first_one_follow_it() {
    for (six, mut rig) in both() {
        let sent = cut(&rig, C0, Packet::udp(client(1), vip(53)), six, 7);
        let [first, second, third] = &sent[..] else {
            panic!("{} fragments", sent.len());
        };
        for early in [third, second] {
            let outcome = run(&mut rig, C0, early);
            assert!(is_early(&outcome));
            let (_, held) = outcome.handed.unwrap();
            assert_eq!(held, *early, "as it came");
            let again = rig.host.run_held(C0, early).unwrap();
            assert_eq!(again.verdict, Verdict::Waits);
        }
        let mut left = through(&mut rig, C0, R1, std::slice::from_ref(first));
        for held in [second, third] {
            let outcome = rig.host.run_held(C0, held).unwrap();
            let (header, frame) = outcome.handed.unwrap();
            assert_eq!(header.reason, PuntReason::Fragment as u32);
            left.push(frame);
        }
        assert!(checksums_are_right(&whole(&left, six)));
        assert_eq!(rig.reason("handed_early"), 2);
        assert_eq!(rig.reason("released_early"), 2);
    }
}

#[test]
fn fragments_of_a_datagram_that_is_scheduled_by_itself_stay_together() {
    let mut rig = Rig::new(&[
        "-A -u 203.0.113.10:53 -s rr -o",
        "-a -u 203.0.113.10:53 -r 10.0.1.10:53 -g",
        "-a -u 203.0.113.10:53 -r 10.0.2.10:53 -g",
    ]);
    for (id, to) in [(7, R2), (8, R1), (9, R2)] {
        let sent = cut(&rig, C0, datagram(1), false, id);
        through(&mut rig, C0, to, &sent);
    }
}

#[test]
fn fragments_of_nobodys_packets_pass() {
    for (six, mut rig) in both() {
        let sent = cut(&rig, C0, Packet::udp(client(1), vip(99)), six, 7);
        for frame in &sent {
            assert_eq!(run(&mut rig, C0, frame).verdict, Verdict::Pass);
        }
        assert_eq!(rig.reason("fragment"), 2);
    }
}

#[test]
fn without_services_fragments_pass_at_once() {
    let mut rig = Rig::new(&[]);
    let sent = cut(&rig, C0, Packet::udp(client(1), vip(53)), false, 7);
    assert_eq!(run(&mut rig, C0, &sent[1]).verdict, Verdict::Pass);
}

#[test]
fn an_identification_may_be_used_again_ten_seconds_later() {
    let mut rig = Rig::new(&ALL);
    let sent = cut(&rig, C0, Packet::udp(client(1), vip(53)), false, 7);
    through(&mut rig, C0, R1, &sent[..2]);
    rig.clock_moves(11);
    assert!(is_early(&run(&mut rig, C0, &sent[2])));
}

#[test]
fn fragments_leave_state_and_timer_to_the_first_one() {
    let mut rig = Rig::new(&ALL);
    let sent = cut(&rig, C0, Packet::udp(client(1), vip(53)), false, 7);
    through(&mut rig, C0, R1, &sent[..1]);
    let before = rig.entry_of(1).unwrap();
    rig.clock_moves(5);
    through(&mut rig, C0, R1, &sent[1..]);
    assert_eq!(rig.entry_of(1).unwrap(), before);
}

#[test]
fn a_first_fragment_that_ends_within_its_header_is_dropped_only_if_it_is_a_services() {
    let tcp = |port| Packet::tcp(client(1), vip(port), 2).data(40);
    for (port, verdict) in [(80, Verdict::Drop), (99, Verdict::Pass)] {
        let mut rig = Rig::new(&ALL);
        let frame = rig
            .address(
                C0,
                Packet {
                    df: false,
                    ..tcp(port)
                },
            )
            .frame();
        let sent = pieces(&frame, false, &[16], 7);
        assert_eq!(run(&mut rig, C0, &sent[0]).verdict, verdict);
    }
}

#[test]
fn a_checksum_that_is_absent_stays_so_in_fragments() {
    let mut rig = Rig::new(&ALL);
    let packet = Packet {
        df: false,
        ..Packet::udp(client(1), vip(53))
    };
    let mut frame = rig.address(C0, packet.data(1200)).frame();
    let at = ETHERNET + 20 + 6;
    frame[at..at + 2].fill(0);
    let left = through(&mut rig, C0, R1, &pieces(&frame, false, &ENDS, 7));
    assert_eq!(left[0][at..at + 2], [0, 0]);
}

#[test]
fn of_a_deleted_real_server_no_fragment_goes_on() {
    let mut rig = Rig::new(&ALL);
    let sent = cut(&rig, C0, Packet::udp(client(1), vip(54)), false, 7);
    through(&mut rig, C0, R1, &sent[..2]);
    rig.ipvsadm("-d -u 203.0.113.10:54 -r 10.0.1.10:54");
    assert_eq!(run(&mut rig, C0, &sent[2]).verdict, Verdict::Drop);
    assert_eq!(rig.reason("dest_gone"), 1);
}

#[test]
fn fragments_whose_first_one_came_to_nothing_are_not_held_for_long() {
    let mut rig = Rig::new(&["-A -u 203.0.113.10:53 -s rr"]);
    let sent = cut(&rig, C0, Packet::udp(client(1), vip(53)), false, 7);
    assert_eq!(link(&run(&mut rig, C0, &sent[0])), Some(C0), "told");
    assert!(is_early(&run(&mut rig, C0, &sent[1])));
    let held = |rig: &mut Rig| rig.host.run_held(C0, &sent[1]).unwrap().verdict;
    assert_eq!(held(&mut rig), Verdict::Waits);
    rig.clock_moves(1);
    assert_eq!(held(&mut rig), Verdict::Pass);
}

#[test]
fn strangers_cannot_have_the_daemon_hold_more_than_so_many_fragments_in_a_second() {
    let mut rig = Rig::new(&ALL);
    let mut early = 0;
    for id in 0..2500 {
        let sent = cut(&rig, C0, Packet::udp(client(1), vip(53)), false, id);
        early += u32::from(is_early(&run(&mut rig, C0, &sent[1])));
    }
    assert_eq!((early, rig.reason("fragment_early")), (2000, 500));
    rig.clock_moves(1);
    let sent = cut(&rig, C0, Packet::udp(client(1), vip(53)), false, 1);
    assert!(is_early(&run(&mut rig, C0, &sent[1])));
}

#[test]
fn a_short_first_fragment_changes_nothing_of_what_is_known() {
    let mut rig = Rig::new(&ALL);
    let sent = cut(&rig, C0, Packet::udp(client(1), vip(54)), false, 7);
    through(&mut rig, C0, R1, &sent[..1]);
    let known = rig.host.tables().four.fragments.clone();
    let mut short = sent[0][..ETHERNET + 20 + 4].to_vec();
    short[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&24_u16.to_be_bytes());
    run(&mut rig, C0, &short);
    assert_eq!(rig.host.tables().four.fragments, known);
    through(&mut rig, C0, R1, &sent[1..]);
}

#[test]
fn a_last_fragment_of_one_byte_goes_into_every_tunnel() {
    for kind in ["ipip", "gre", "gue --tun-port 6080"] {
        let tunnel = format!("-a -u 203.0.113.10:55 -r 10.0.1.10:55 -i --tun-type {kind}");
        let commands = ["-A -u 203.0.113.10:55 -s rr", &tunnel];
        for mut rig in [Rig::new(&commands), Rig::over_six(&commands)] {
            let six = rig.address(C0, datagram(1)).six;
            let packet = Packet {
                df: false,
                ..Packet::udp(client(1), vip(55))
            };
            let frame = rig.address(C0, packet.data(393)).frame();
            let sent = pieces(&frame, six, &[400], 7);
            let left = through(&mut rig, C0, R1, &sent);
            assert_eq!(left[1].last(), sent[1].last(), "{kind}");
        }
    }
}
