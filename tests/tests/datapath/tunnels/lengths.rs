//! What fits.

use ipvs_common::AttachMode;
use ipvs_tests::{
    backend::Verdict,
    packet::{ETHERNET, Packet},
};

use super::{Way, word};
use crate::rig::{C0, R1, ack, link, syn};

const MTU: usize = 1500;

/// Data of a segment whose packet has so many bytes.
fn data(way: Way, len: usize) -> usize {
    len - 20 - if way.six { 40 } else { 20 }
}

/// The number that an error in a frame tells.
pub(super) fn told(way: Way, frame: &[u8]) -> usize {
    let header = if way.six { 40 } else { 20 };
    let message = &frame[ETHERNET + header..];
    let expected = if way.six { [2, 0] } else { [3, 4] };
    assert_eq!(message[..2], expected, "{way:?}");
    word(message, 6)
}

#[test]
fn what_fits_is_sent_and_one_byte_more_is_answered_with_what_would() {
    for way in Way::all() {
        let fits = MTU - way.overhead();
        let mut rig = way.rig(AttachMode::Native);
        rig.send(C0, syn(1));
        let out = rig.send(C0, ack(1).data(data(way, fits)));
        assert_eq!(link(&out), Some(R1), "{way:?}");
        assert_eq!(out.frame.len(), ETHERNET + MTU);
        let out = rig.send(C0, ack(1).data(data(way, fits + 1)));
        assert_eq!((link(&out), told(way, &out.frame)), (Some(C0), fits));
        let packet = Packet {
            df: false,
            ..ack(1).data(data(way, fits + 1))
        };
        let out = rig.send(C0, packet);
        if way.six {
            assert_eq!(link(&out), Some(C0), "{way:?}");
            continue;
        }
        let (header, frame) = out.handed.unwrap();
        assert_eq!(header.mtu as usize, MTU);
        assert_eq!(frame.len(), ETHERNET + MTU + 1);
    }
}

#[test]
fn nobody_is_told_without_discovery() {
    for way in Way::all().filter(|way| !way.six) {
        let mut rig = way.rig(AttachMode::Native);
        rig.knob("pmtu_disc", "0");
        rig.send(C0, syn(1));
        let out = rig.send(C0, ack(1).data(data(way, MTU)));
        assert_eq!(out.handed.unwrap().1.len(), ETHERNET + MTU + way.overhead());
    }
}

#[test]
fn aggregate_is_dropped_and_counted_as_such() {
    for way in Way::all() {
        let mut rig = way.rig(AttachMode::Generic);
        rig.send(C0, syn(1));
        let out = rig.send(C0, ack(1).data(3000));
        assert_eq!(out.verdict, Verdict::Drop, "{way:?}");
        assert_eq!(rig.reason("aggregate"), 1);
    }
}
