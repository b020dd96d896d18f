//! Packets of many flows: what they look like, and which flow follows which.

use std::net::SocketAddrV4;

use ipvs_common::bench::{FLOWS, FRAME6, Walk};

use super::{
    network::{DIRECTOR_MAC, ROUTER_MAC},
    service::{BenchService, REALS},
};
use crate::packet::Packet;

/// Packets that differ in their client alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Template {
    pub(super) service: BenchService,
    flags: u8,
    reply: bool,
}

/// Which flow follows which.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// One after the other.
    From(u32),
    /// All flows of a set of this size, over and over, in an order that no prefetcher guesses.
    Around(u32),
}

impl Template {
    pub(super) const fn request(service: BenchService, flags: u8) -> Self {
        Self {
            service,
            flags,
            reply: false,
        }
    }

    pub(super) const fn reply(service: BenchService, flags: u8) -> Self {
        Self {
            service,
            flags,
            reply: true,
        }
    }

    /// The packet of a flow's client, or of the real server at a place to it.
    pub(super) fn packet(self, (addr, port): ([u8; 4], [u8; 2]), place: u16) -> Packet {
        let client = SocketAddrV4::new(addr.into(), u16::from_be_bytes(port));
        let (src, dst, from) = if self.reply {
            // The harness fills in the real server's IP address alone.
            (self.service.real(place), client, self.service.mac(0))
        } else {
            (client, self.service.virtual_server(), ROUTER_MAC)
        };
        let mut packet = Packet::tcp(src, dst, self.flags).between(from, DIRECTOR_MAC);
        packet.six = self.service.six;
        packet.payload = vec![0; self.service.frame_len() - packet.frame().len()];
        packet
    }

    pub(super) fn walk(self, order: Order) -> Walk {
        // A multiplier of a generator with full period for any power of two.
        const FACTOR: u32 = 1_664_525;
        const STEP: u32 = 1_013_904_223;
        let (next, factor, step, mask) = match order {
            Order::From(first) => (first, 1, 1, FLOWS - 1),
            Order::Around(flows) => (0, FACTOR, STEP, flows - 1),
        };
        let mut frame = self.packet(([0; 4], [0; 2]), 0).frame();
        frame.resize(FRAME6, 0);
        Walk {
            frame: bytemuck::pod_read_unaligned(&frame),
            next,
            factor,
            step,
            mask,
            reply: self.reply.into(),
            reals: if self.reply { u32::from(REALS - 1) } else { 0 },
            six: self.service.six.into(),
            pad: 0,
            packets: 0,
        }
    }
}
