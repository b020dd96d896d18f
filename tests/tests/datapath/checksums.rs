//! Checksums that are absent or partial.

use ipvs_common::AttachMode;
use ipvs_tests::{
    backend::{Backend, Outcome, Verdict},
    packet::{ETHERNET, Packet, checksums_are_right, describe, flag},
};

use crate::rig::{C0, DROUTE, MASQ, R1, Rig, TUNNEL, client, datagram, link, real, syn, vip};

#[test]
fn zero_udp_checksum_becomes_real_under_masq() {
    let mut rig = Rig::new(&MASQ);
    for (on, packet) in [
        (C0, datagram(1)),
        (R1, Packet::udp(real(1, 5353), client(1)).data(7)),
    ] {
        let packet = rig.address(on, packet);
        let mut frame = packet.frame();
        let at = packet.checksum_at();
        frame[at..at + 2].fill(0);
        let out = rig.host.run(on, &frame).unwrap();
        assert!(link(&out).is_some());
        assert_ne!(out.frame[at..at + 2], [0, 0]);
        assert!(checksums_are_right(&out.frame), "{}", describe(&out.frame));
    }
}

#[test]
fn zero_udp_checksum_stays_zero_under_direct_routing() {
    let mut rig = Rig::new(&[
        "-A -u 203.0.113.10:53 -s rr",
        "-a -u 203.0.113.10:53 -r 10.0.1.10:53 -g",
    ]);
    let packet = rig.address(C0, datagram(1));
    let mut frame = packet.frame();
    let at = packet.checksum_at();
    frame[at..at + 2].fill(0);
    let out = rig.host.run(C0, &frame).unwrap();
    assert_eq!(link(&out), Some(R1));
    assert_eq!(out.frame[at..at + 2], [0, 0]);
}

/// Runs a client's packet with a partial checksum; returns the outcome, and where the checksum is in the frame that came out.
fn run_partial(rig: &mut Rig, packet: Packet, outer: usize) -> (Outcome, usize) {
    let packet = rig.address(C0, packet);
    let out = rig
        .host
        .run(C0, &packet.frame_with_partial_checksum())
        .unwrap();
    (out, packet.checksum_at() + outer)
}

#[test]
fn partial_checksum_is_completed_before_a_native_redirect() {
    for commands in [&DROUTE[..], &MASQ[..]] {
        let mut rig = Rig::new(commands);
        let (out, _) = run_partial(&mut rig, syn(1).data(101), 0);
        assert!(link(&out).is_some());
        assert!(checksums_are_right(&out.frame), "{}", describe(&out.frame));
    }
    let mut rig = Rig::new(&TUNNEL);
    let (out, _) = run_partial(&mut rig, syn(1).data(101), 20);
    let inner = [&out.frame[..ETHERNET], &out.frame[ETHERNET + 20..]].concat();
    assert!(checksums_are_right(&inner), "{}", describe(&out.frame));
}

#[test]
fn partial_checksum_stays_partial_for_the_stack() {
    // The way of a masqueraded packet whose egress takes no frames from a program.
    let mut rig = Rig::with(|s| s.no_xmit = vec![R1], &MASQ);
    let (out, at) = run_partial(&mut rig, syn(1).data(101), 0);
    assert_eq!(out.verdict, Verdict::Pass);
    let translated = Packet::tcp(client(1), real(1, 8080), flag::SYN).data(101);
    assert_eq!(
        out.frame[at..at + 2],
        translated.partial_checksum().to_be_bytes()
    );
}

#[test]
fn partial_checksum_stays_partial_when_attached_in_the_stack() {
    for commands in [&DROUTE[..], &MASQ[..], &TUNNEL[..]] {
        let mut rig = Rig::with(|s| s.mode = AttachMode::Generic, commands);
        let outer = if commands == TUNNEL { 20 } else { 0 };
        let (out, at) = run_partial(&mut rig, syn(1).data(101), outer);
        assert!(link(&out).is_some());
        let to = if commands == MASQ {
            real(1, 8080)
        } else {
            vip(80)
        };
        let sent = Packet::tcp(client(1), to, flag::SYN).data(101);
        assert_eq!(out.frame[at..at + 2], sent.partial_checksum().to_be_bytes());
    }
}
