//! SCTP: what its chunks do to a connection, and its checksum.

use std::net::Ipv4Addr;

use ipvs_common::{AttachMode, State};
use ipvs_tests::{
    backend::{Backend, Outcome, Verdict},
    packet::{ETHERNET, IcmpError, Packet, checksums_are_right, chunk, describe, pieces},
};

use crate::{
    icmp::report,
    rig::{C0, R1, R2, Rig, client, link, real, vip},
};

const PORT: u16 = 36;
const ONE_WAY: [&str; 2] = [
    "-A --sctp-service 203.0.113.10:36 -s rr",
    "-a --sctp-service 203.0.113.10:36 -r 10.0.1.10:36 -g",
];
const PAIR: [&str; 3] = [
    "-A --sctp-service 203.0.113.10:36 -s rr",
    "-a --sctp-service 203.0.113.10:36 -r 10.0.1.10:36 -g",
    "-a --sctp-service 203.0.113.10:36 -r 10.0.2.10:36 -g",
];
const MASQ: [&str; 2] = [
    "-A --sctp-service 203.0.113.10:36 -s rr",
    "-a --sctp-service 203.0.113.10:36 -r 10.0.1.10:3600 -m",
];
const SAME_PORT: [&str; 2] = [
    "-A --sctp-service 203.0.113.10:36 -s rr",
    "-a --sctp-service 203.0.113.10:36 -r 10.0.1.10:36 -m",
];

fn sent(n: u16, kind: u8) -> Packet {
    Packet::sctp(client(n), vip(PORT), kind)
}

fn answered(n: u16, port: u16, kind: u8) -> Packet {
    Packet::sctp(real(1, port), client(n), kind)
}

fn both(test: impl Fn(fn(&[&str]) -> Rig)) {
    test(Rig::new);
    test(Rig::over_six);
}

fn state(rig: &Rig, n: u16) -> State {
    let (_, entry) = rig.entry_of(n).unwrap();
    State::from_number(entry.status.state).unwrap()
}

#[test]
fn one_way_association_is_established_by_its_cookie() {
    both(|rig| {
        let mut rig = rig(&ONE_WAY);
        let steps = [
            (chunk::INIT, State::SctpInit1, (0, 1, 0)),
            (chunk::INIT, State::SctpInit, (0, 1, 0)),
            (chunk::COOKIE_ECHO, State::SctpEstablished, (1, 0, 0)),
            (chunk::DATA, State::SctpEstablished, (1, 0, 0)),
            (chunk::SHUTDOWN, State::SctpShutdownReceived, (0, 1, 0)),
            (chunk::SHUTDOWN_COMPLETE, State::SctpClosed, (0, 1, 0)),
        ];
        for (kind, wanted, counts) in steps {
            assert_eq!(rig.leaves_by(sent(1, kind)), Some(R1), "{kind}");
            assert_eq!((state(&rig, 1), rig.counts(0)), (wanted, counts), "{kind}");
        }
    });
}

#[test]
fn association_through_masquerading_goes_by_both_directions() {
    both(|rig| {
        let mut rig = rig(&MASQ);
        let steps = [
            (false, chunk::INIT, State::SctpInit1),
            (true, chunk::INIT_ACK, State::SctpCookieSent),
            (false, chunk::COOKIE_ECHO, State::SctpCookieReplied),
            (true, chunk::COOKIE_ACK, State::SctpEstablished),
            (false, chunk::DATA, State::SctpEstablished),
            (true, 3, State::SctpEstablished),
            (true, chunk::SHUTDOWN, State::SctpShutdownSent),
            (false, chunk::SHUTDOWN_ACK, State::SctpClosed),
            (true, chunk::SHUTDOWN_COMPLETE, State::SctpClosed),
        ];
        for (replies, kind, wanted) in steps {
            let out = if replies {
                rig.send(R1, answered(1, 3600, kind))
            } else {
                rig.send(C0, sent(1, kind))
            };
            assert_eq!(link(&out), Some(if replies { C0 } else { R1 }), "{kind}");
            assert!(checksums_are_right(&out.frame), "{}", describe(&out.frame));
            let active = u32::from(wanted == State::SctpEstablished);
            assert_eq!(rig.counts(0), (active, 1 - active, 0), "{kind}");
            assert_eq!(state(&rig, 1), wanted, "{kind}");
        }
    });
}

#[test]
fn cookie_proves_a_client_and_an_init_does_not() {
    let mut rig = Rig::new(&ONE_WAY);
    rig.send(C0, sent(1, chunk::INIT));
    rig.send(C0, sent(1, chunk::INIT));
    assert!(!rig.entry_of(1).unwrap().0);
    rig.send(C0, sent(1, chunk::COOKIE_ECHO));
    assert!(rig.entry_of(1).unwrap().0);
}

#[test]
fn states_have_the_timeouts_of_ip_vs() {
    for (kinds, seconds) in [
        (&[chunk::INIT][..], 4),
        (&[chunk::INIT, chunk::INIT], 61),
        (&[chunk::INIT, chunk::COOKIE_ECHO], 900),
        (&[chunk::INIT, chunk::ABORT], 61),
    ] {
        let mut rig = Rig::new(&ONE_WAY);
        for kind in kinds {
            rig.send(C0, sent(1, *kind));
        }
        rig.pass(seconds - 1);
        assert!(rig.entry_of(1).is_some(), "{kinds:?}");
        rig.pass(1);
        assert!(rig.entry_of(1).is_none(), "{kinds:?}");
    }
}

#[test]
fn only_an_init_opens_an_association() {
    let kinds = [
        chunk::DATA,
        chunk::COOKIE_ECHO,
        chunk::SHUTDOWN,
        chunk::ABORT,
        200,
    ];
    both(|rig| {
        for kind in kinds {
            let mut rig = rig(&ONE_WAY);
            assert_eq!(rig.send(C0, sent(1, kind)).verdict, Verdict::Pass, "{kind}");
            assert!(rig.entry_of(1).is_none());
            assert_eq!(rig.reason("cannot_open"), 1);
            rig.knob("sloppy_sctp", "1");
            let leaves = (kind != chunk::ABORT).then_some(R1);
            assert_eq!(rig.leaves_by(sent(1, kind)), leaves, "{kind}");
        }
    });
}

#[test]
fn sloppy_tcp_says_nothing_of_sctp() {
    let mut rig = Rig::new(&ONE_WAY);
    rig.knob("sloppy_tcp", "1");
    assert_eq!(rig.send(C0, sent(1, chunk::DATA)).verdict, Verdict::Pass);
}

#[test]
fn abort_behind_a_cookie_closes() {
    both(|rig| {
        for (first, closes) in [
            (chunk::COOKIE_ECHO, true),
            (chunk::COOKIE_ACK, true),
            (chunk::DATA, false),
        ] {
            for len in [0, 5, 1000] {
                let mut rig = rig(&ONE_WAY);
                rig.send(C0, sent(1, chunk::INIT));
                rig.send(C0, sent(1, chunk::COOKIE_ECHO));
                let bundle = Packet {
                    bundled: vec![chunk::ABORT],
                    ..sent(1, first).data(len)
                };
                assert_eq!(rig.leaves_by(bundle), Some(R1));
                let wanted = if closes {
                    State::SctpClosed
                } else {
                    State::SctpEstablished
                };
                assert_eq!(state(&rig, 1), wanted, "{first} with {len}");
            }
        }
    });
}

#[test]
fn init_on_a_closed_association_is_scheduled_anew() {
    both(|rig| {
        for (mode, last, over) in [
            ("1", chunk::ABORT, true),
            ("0", chunk::ABORT, false),
            ("1", chunk::SHUTDOWN, false),
            ("1", chunk::DATA, false),
        ] {
            let mut rig = rig(&PAIR);
            rig.knob("conn_reuse_mode", mode);
            for kind in [chunk::INIT, chunk::COOKIE_ECHO, last] {
                assert_eq!(rig.leaves_by(sent(1, kind)), Some(R2));
            }
            let by = if over { R1 } else { R2 };
            assert_eq!(
                rig.leaves_by(sent(1, chunk::INIT)),
                Some(by),
                "{mode} {last}"
            );
        }
    });
}

#[test]
fn template_proves_itself_with_an_established_association() {
    let mut rig = Rig::new(&[
        "-A --sctp-service 203.0.113.10:36 -s rr -p 60",
        "-a --sctp-service 203.0.113.10:36 -r 10.0.1.10:36 -g",
    ]);
    let assured = |rig: &Rig| {
        let tables = rig.host.snapshot(0).unwrap();
        tables.templates.values().map(|t| t.assured).next()
    };
    rig.send(C0, sent(1, chunk::INIT));
    assert_eq!(assured(&rig), Some(0));
    rig.send(C0, sent(1, chunk::COOKIE_ECHO));
    assert_eq!(assured(&rig), Some(1));
}

/// The packet as it goes to the real server behind [`MASQ`].
fn translated(packet: &Packet) -> Packet {
    Packet {
        dst: real(1, 3600),
        ttl: packet.ttl - 1,
        ..packet.clone()
    }
}

fn transport(packet: &Packet, frame: &[u8]) -> Vec<u8> {
    frame[packet.checksum_at() - 8..].to_vec()
}

#[test]
fn patched_checksum_is_the_one_that_a_whole_computation_gives() {
    both(|rig| {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut rig = rig(&MASQ);
        rig.send(C0, sent(1, chunk::INIT));
        for _ in 0..300 {
            let len = rng.usize(..1400);
            let packet = Packet {
                six: rig.six,
                ..sent(1, chunk::DATA).data(len)
            };
            let out = rig.send(C0, packet.clone());
            let wanted = transport(&packet, &translated(&packet).frame());
            assert_eq!(transport(&packet, &out.frame), wanted, "{len}");
        }
    });
}

#[test]
fn wrong_checksum_stays_wrong() {
    both(|rig| {
        for commands in [&MASQ, &SAME_PORT] {
            let mut rig = rig(commands);
            rig.send(C0, sent(1, chunk::INIT));
            let packet = rig.address(C0, sent(1, chunk::DATA).data(333));
            let mut frame = packet.frame();
            frame[packet.checksum_at()] ^= 0x40;
            let out = rig.host.run(C0, &frame).unwrap();
            assert_eq!(link(&out), Some(R1));
            assert!(!checksums_are_right(&out.frame));
            let at = packet.checksum_at();
            let mut mended = out.frame.clone();
            mended[at] ^= 0x40;
            assert!(checksums_are_right(&mended), "{}", describe(&out.frame));
        }
    });
}

/// Outer IP, UDP and GUE.
const OUTER: usize = 20 + 8 + 4;

fn run_partial(rig: &mut Rig, packet: Packet) -> (Outcome, usize) {
    let packet = rig.address(C0, packet);
    let frame = packet.frame_with_partial_checksum();
    (rig.host.run(C0, &frame).unwrap(), packet.checksum_at())
}

#[test]
fn partial_checksum_is_completed_before_a_native_redirect() {
    both(|rig| {
        for commands in [&ONE_WAY, &MASQ, &SAME_PORT] {
            for len in [0, 44, 45, 46, 47, 48, 49, 1000, 1440] {
                let mut rig = rig(commands);
                let (out, _) = run_partial(&mut rig, sent(1, chunk::INIT).data(len));
                assert_eq!(link(&out), Some(R1));
                assert!(checksums_are_right(&out.frame), "{}", describe(&out.frame));
                assert_eq!(rig.reason("checksum_completed"), 1);
            }
        }
    });
}

#[test]
fn partial_checksum_of_an_answer_is_completed_too() {
    let mut rig = Rig::new(&MASQ);
    rig.send(C0, sent(1, chunk::INIT));
    let answer = rig.address(R1, answered(1, 3600, chunk::INIT_ACK).data(300));
    let out = rig.host.run(R1, &answer.frame_with_partial_checksum());
    assert!(checksums_are_right(&out.unwrap().frame));
}

#[test]
fn partial_checksum_stays_partial_where_its_metadata_does() {
    let generic = Rig::with(|s| s.mode = AttachMode::Generic, &MASQ);
    let kernel_routes = Rig::with(|s| s.no_xmit = vec![R1], &MASQ);
    for (mut rig, leaves) in [(generic, true), (kernel_routes, false)] {
        let (out, at) = run_partial(&mut rig, sent(1, chunk::INIT).data(100));
        assert_eq!(link(&out).is_some(), leaves);
        assert_eq!(out.frame[at..at + 4], [0; 4]);
        assert_eq!(out.frame[at - 6..at - 4], 3600_u16.to_be_bytes());
    }
}

#[test]
fn tunnels_checksum_covers_a_partial_one_as_the_card_completes_it() {
    let mut rig = Rig::with(
        |s| s.mode = AttachMode::Generic,
        &[
            "-A --sctp-service 203.0.113.10:36 -s rr",
            "-a --sctp-service 203.0.113.10:36 -r 10.0.1.10 -i --tun-type gue --tun-port 6080 --tun-csum",
        ],
    );
    let packet = rig.address(C0, sent(1, chunk::INIT).data(101));
    let (mut out, at) = run_partial(&mut rig, sent(1, chunk::INIT).data(101));
    assert_eq!(out.frame[at + OUTER..at + OUTER + 4], [0; 4]);
    let complete = packet.frame();
    out.frame[at + OUTER..at + OUTER + 4].copy_from_slice(&complete[at..at + 4]);
    assert!(checksums_are_right(&out.frame), "{}", describe(&out.frame));
}

#[test]
fn fragments_follow_their_first_one() {
    for commands in [&ONE_WAY, &SAME_PORT] {
        let mut rig = Rig::new(commands);
        rig.send(C0, sent(1, chunk::INIT));
        let packet = Packet {
            df: false,
            ..rig.address(C0, sent(1, chunk::DATA).data(2000))
        };
        for piece in &pieces(&packet.frame(), false, &[800, 1600], 9) {
            assert_eq!(link(&rig.host.run(C0, piece).unwrap()), Some(R1));
        }
    }
}

#[test]
fn fragments_whose_checksum_would_change_are_dropped_with_a_reason() {
    let mut rig = Rig::new(&MASQ);
    rig.send(C0, sent(1, chunk::INIT));
    let packet = Packet {
        df: false,
        ..rig.address(C0, sent(1, chunk::DATA).data(2000))
    };
    let first = &pieces(&packet.frame(), false, &[800, 1600], 9)[0];
    let out = rig.host.run(C0, first).unwrap();
    assert_eq!(out.verdict, Verdict::Drop);
    assert_eq!(rig.reason("fragment_crc"), 1);
}

#[test]
fn error_about_an_answer_reaches_its_real_server_translated() {
    let mut rig = Rig::new(&MASQ);
    rig.send(C0, sent(1, chunk::INIT));
    let answer = rig.send(R1, answered(1, 3600, chunk::INIT_ACK));
    let router = Ipv4Addr::new(198, 51, 100, 77);
    let error = IcmpError::about(&answer.frame, router, (3, 3));
    let out = report(&mut rig, C0, error);
    assert_eq!(link(&out), Some(R1), "{}", describe(&out.frame));
    let quoted = &out.frame[ETHERNET + 28..];
    assert_eq!(quoted[12..16], [10, 0, 1, 10]);
    assert_eq!(quoted[20..22], 3600_u16.to_be_bytes());
}

#[test]
fn real_server_without_an_association_is_told_but_not_of_its_abort() {
    let mut rig = Rig::new(&MASQ);
    rig.knob("nat_icmp_send", "1");
    let out = rig.send(R1, answered(1, 3600, chunk::ABORT));
    assert_eq!(out.verdict, Verdict::Pass);
    let out = rig.send(R1, answered(1, 3600, chunk::DATA));
    assert_ne!(out.verdict, Verdict::Pass);
    assert_eq!(rig.reason("no_connection"), 1);
}
