//! The cases: which program gets which packets, and what has to come out.

use std::net::SocketAddrV4;

use anyhow::{Result, ensure};
use aya::programs::ProgramFd;
use ipvs_common::{
    Mac,
    bench::{FLOWS, FRAME, Walk, client},
};

use super::{
    director::{
        DR, Director, FLOOR, IPIP, MASQ, NEW_DR, NEW_LBLC, NEW_MASQ, NEW_WLC, NOBODY, PORT,
        SERVICES,
    },
    harness::{Harness, Outcome},
    network::{DIRECTOR, DIRECTOR_MAC, REALS, ROUTER_MAC, real, real_mac, vip},
};
use crate::packet::{Packet, checksum, contrast, ethernet, flag};

/// A balancer that does nothing but drop, behind the harness: what the harness costs.
pub(super) const HARNESS: &str = "harness";
/// The empty run.
pub(super) const EMPTY: &str = "floor_drop";

/// Packets that differ in their client alone.
#[derive(Clone, Debug)]
pub(super) struct Template {
    service: u8,
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
    pub(super) const fn request(service: u8, flags: u8) -> Self {
        Self {
            service,
            flags,
            reply: false,
        }
    }

    pub(super) const fn reply(service: u8, flags: u8) -> Self {
        Self {
            service,
            flags,
            reply: true,
        }
    }

    /// The packet of a flow's client, or of the real server to it.
    fn packet(&self, (addr, port): ([u8; 4], [u8; 2]), number: u8) -> Packet {
        let client = SocketAddrV4::new(addr.into(), u16::from_be_bytes(port));
        let (src, dst, from) = if self.reply {
            let port = SERVICES[usize::from(self.service)].port;
            let server = SocketAddrV4::new(real(self.service, number), port);
            // The harness fills in the real server's IP address alone.
            (server, client, real_mac(self.service, 0))
        } else {
            let server = SocketAddrV4::new(vip(self.service), PORT);
            (client, server, ROUTER_MAC)
        };
        let mut packet = Packet::tcp(src, dst, self.flags).between(from, DIRECTOR_MAC);
        packet.payload = vec![0; FRAME - packet.frame().len()];
        packet
    }

    pub(super) fn walk(&self, order: Order) -> Walk {
        // A multiplier of a generator with full period for any power of two.
        const FACTOR: u32 = 1_664_525;
        const STEP: u32 = 1_013_904_223;
        let (next, factor, step, mask) = match order {
            Order::From(first) => (first, 1, 1, FLOWS - 1),
            Order::Around(flows) => (0, FACTOR, STEP, flows - 1),
        };
        let frame = self.packet(([0; 4], [0; 2]), 0).frame();
        Walk {
            frame: bytemuck::pod_read_unaligned(&frame),
            next,
            factor,
            step,
            mask,
            reply: self.reply.into(),
            reals: if self.reply { u32::from(REALS - 1) } else { 0 },
            packets: 0,
        }
    }
}

/// What a program has to make of a packet. Verdicts are XDP's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Output {
    Drop,
    Pass,
    /// Sent back as it is.
    Unchanged,
    /// Sent back with the real server's address in front, as sender the one before or the director.
    Readdressed {
        sender: Mac,
    },
    /// Sent on to the real server by Ethernet address alone.
    Direct,
    /// Sent on with the real server's address and port in the place of the virtual ones.
    Translated,
    /// Sent on to the client with the virtual address and port as source.
    TranslatedBack,
    /// Sent on in IP in IP; the packet inside aged by so much.
    Encapsulated {
        aged: u8,
    },
}

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;

/// Which real server it has to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Choice {
    /// The one of the flow's number.
    Flow,
    /// The one behind the last.
    Next,
    Any,
}

pub(super) struct Case {
    pub(super) name: &'static str,
    program: ProgramFd,
    template: Template,
    output: Output,
    choice: Choice,
    /// The verdict, should it be another one than the output's own.
    verdict: Option<u32>,
    /// Every packet is a new flow: the number of the next.
    fresh: Option<u32>,
}

/// All cases, in the order of the table.
pub(super) fn all(harness: &Harness, director: &Director) -> Result<Vec<Case>> {
    let ack = |service| Template::request(service, flag::ACK);
    let syn = |service| Template::request(service, flag::SYN);
    let floor = |name, output| Ok(Case::known(name, harness.fd(name)?, ack(FLOOR), output));
    let hit = |name, service, output| Ok(Case::known(name, director.tx()?, ack(service), output));
    let new = |name, service, output, choice| {
        Ok(Case {
            choice,
            fresh: Some(0),
            ..Case::known(name, director.tx()?, syn(service), output)
        })
    };
    [
        Ok(Case {
            name: HARNESS,
            ..Case::known(HARNESS, harness.fd(EMPTY)?, ack(FLOOR), Output::Drop)
        }),
        floor("floor_parse", Output::Unchanged),
        floor(
            "floor_lru_rewrite",
            Output::Readdressed { sender: ROUTER_MAC },
        ),
        floor(
            "lean_l2",
            Output::Readdressed {
                sender: DIRECTOR_MAC,
            },
        ),
        floor("lean_ipip", Output::Encapsulated { aged: 0 }),
        hit("dr_hit", DR, Output::Direct),
        hit("masq_in_hit", MASQ, Output::Translated),
        Ok(Case::known(
            "masq_out_hit",
            director.tx()?,
            Template::reply(MASQ, flag::ACK),
            Output::TranslatedBack,
        )),
        hit("ipip_hit", IPIP, Output::Encapsulated { aged: 1 }),
        Ok(Case {
            verdict: Some(XDP_REDIRECT),
            ..Case::known(
                "dr_hit_redirect",
                director.redirect()?,
                ack(DR),
                Output::Direct,
            )
        }),
        new("new_dr", NEW_DR, Output::Direct, Choice::Next),
        new("new_masq", NEW_MASQ, Output::Translated, Choice::Next),
        new("new_dr_wlc", NEW_WLC, Output::Direct, Choice::Any),
        new("new_dr_lblc", NEW_LBLC, Output::Direct, Choice::Any),
        hit("not_ours", NOBODY, Output::Pass),
    ]
    .into_iter()
    .collect()
}

impl Case {
    /// Packets of flows that are known.
    const fn known(
        name: &'static str,
        program: ProgramFd,
        template: Template,
        output: Output,
    ) -> Self {
        Self {
            name,
            program,
            template,
            output,
            choice: Choice::Flow,
            verdict: None,
            fresh: None,
        }
    }

    /// Cases with new flows: opens so many connections that each further one pushes one out.
    pub(super) fn fill_ring(&mut self, harness: &mut Harness, ring: u32) -> Result<()> {
        // The first such case fills the ring for all.
        if self.fresh.is_some() && self.choice == Choice::Next {
            self.prepare(harness, 1)?;
            harness.run(ring)?;
            self.finish(harness)?;
        }
        Ok(())
    }

    /// Time of one packet, in ns, out of a set of flows.
    pub(super) fn time(&mut self, harness: &mut Harness, flows: u32, packets: u32) -> Result<f64> {
        self.prepare(harness, flows)?;
        // Brings this case's tables into the caches, and its next hops up to date.
        harness.run(if self.fresh.is_some() { 1 } else { flows })?;
        let outcome = harness.run(packets)?;
        self.finish(harness)?;
        ensure!(
            outcome.verdict == self.verdict(),
            "case {}: the verdict became {}",
            self.name,
            outcome.verdict
        );
        Ok(outcome.ns)
    }

    fn prepare(&self, harness: &mut Harness, flows: u32) -> Result<()> {
        let order = self.fresh.map_or(Order::Around(flows), Order::From);
        harness.aim(&self.program, &self.template.walk(order))
    }

    fn finish(&mut self, harness: &Harness) -> Result<()> {
        if let Some(next) = &mut self.fresh {
            *next = harness.walk()?.next;
        }
        Ok(())
    }

    /// Looks at what becomes of some packets.
    pub(super) fn check(&mut self, harness: &mut Harness, flows: u32) -> Result<()> {
        const SAMPLES: u32 = 64;
        let mut last = None;
        // Spread over the set, and over the real servers.
        let stride = flows / SAMPLES + 1;
        for sample in 0..SAMPLES {
            let flow = self.fresh.unwrap_or(sample * stride % flows);
            harness.aim(&self.program, &self.template.walk(Order::From(flow)))?;
            let outcome = harness.run(1)?;
            self.finish(harness)?;
            let number = self.accept(flow, last, &outcome)?;
            last = Some(number);
        }
        Ok(())
    }

    /// Compares with what has to come out. Returns the real server.
    fn accept(&self, flow: u32, last: Option<u8>, outcome: &Outcome) -> Result<u8> {
        let due = match (self.choice, last) {
            (Choice::Flow, _) => Some(flow as u8 % REALS),
            (Choice::Next, Some(last)) => Some((last + 1) % REALS),
            (Choice::Next, None) | (Choice::Any, _) => None,
        };
        let numbers = due.map_or(0..REALS, |number| number..number + 1);
        let mut expected = Vec::new();
        for number in numbers {
            expected = self.expected(flow, number);
            if outcome.frame == expected && outcome.verdict == self.verdict() {
                return Ok(number);
            }
        }
        anyhow::bail!(
            "flow {flow}: verdict {} with\n{}\nexpected {} (or another real server's)",
            outcome.verdict,
            contrast(&expected, &outcome.frame),
            self.verdict()
        )
    }

    fn verdict(&self) -> u32 {
        self.verdict.unwrap_or(match self.output {
            Output::Drop => XDP_DROP,
            Output::Pass => XDP_PASS,
            Output::Unchanged
            | Output::Readdressed { .. }
            | Output::Direct
            | Output::Translated
            | Output::TranslatedBack
            | Output::Encapsulated { .. } => XDP_TX,
        })
    }

    fn expected(&self, flow: u32, number: u8) -> Vec<u8> {
        let service = self.template.service;
        let mut packet = self.template.packet(client(flow), number);
        let mac = real_mac(service, number);
        match self.output {
            Output::Drop | Output::Pass | Output::Unchanged => {}
            Output::Readdressed { sender } => packet = packet.between(sender, mac),
            Output::Direct => {
                packet = packet.between(DIRECTOR_MAC, mac);
                packet.ttl -= 1;
            }
            Output::Translated => {
                packet = packet.between(DIRECTOR_MAC, mac);
                packet.ttl -= 1;
                packet.dst =
                    SocketAddrV4::new(real(service, number), SERVICES[usize::from(service)].port);
            }
            Output::TranslatedBack => {
                packet = packet.between(DIRECTOR_MAC, ROUTER_MAC);
                packet.ttl -= 1;
                packet.src = SocketAddrV4::new(vip(service), PORT);
            }
            Output::Encapsulated { aged } => {
                packet.ttl -= aged;
                return encapsulated(&packet, service, number);
            }
        }
        packet.frame()
    }
}

/// The frame with the packet inside another one.
fn encapsulated(packet: &Packet, service: u8, number: u8) -> Vec<u8> {
    let inner = packet.frame().split_off(size_of::<[u8; 14]>());
    let len = (inner.len() + 20) as u16;
    let mut outer = vec![0x45, 0];
    outer.extend(len.to_be_bytes());
    // No identification; DF; IP in IP; no checksum yet.
    outer.extend([0, 0, 0x40, 0, packet.ttl, 4, 0, 0]);
    outer.extend(DIRECTOR.octets());
    outer.extend(real(service, number).octets());
    let check = checksum(&outer).to_be_bytes();
    outer[10..12].copy_from_slice(&check);
    let mut frame = ethernet(DIRECTOR_MAC, real_mac(service, number), 0x0800);
    frame.extend(outer);
    frame.extend(inner);
    frame
}
