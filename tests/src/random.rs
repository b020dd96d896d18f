//! Random packets that a director might meet: flows in both directions through services of every kind, with every flaw a
//! packet can have. The same seed gives the same packets, as long as the datapath behind does the same.

mod flaw;
mod fragments;
mod icmp;
mod matches;
mod six;
mod world;

use std::net::{Ipv4Addr, SocketAddrV4};

use etherparse::Ipv4HeaderSlice;
use fastrand::Rng;
use ipvs_common::Proto;

pub use matches::{random_rules, ten_thousand_rules};
pub use world::{COMMANDS, DESTS, LINK_MARKS, random_command, random_knob};

use crate::{
    packet::{ETHERNET, Packet, chunk, flag},
    trace::{Network, Way},
};

/// Flows that are remembered, to be replied to.
const REPLIES: usize = 256;
/// Flows that clients have open at a time.
const FLOWS: usize = 120;
const CLIENTS: u16 = 500;

/// A frame that arrives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arrival {
    pub link: usize,
    pub frame: Vec<u8>,
}

/// What a client has open, or tries to.
#[derive(Clone, Copy)]
struct Flow {
    proto: Proto,
    client: SocketAddrV4,
    virt: SocketAddrV4,
    link: usize,
}

pub struct Generator {
    /// Packets of IPv6, between twins.
    six: bool,
    network: Network,
    rng: Rng,
    flows: Vec<Flow>,
    /// Packets that the director sent to real servers.
    served: Vec<(Proto, SocketAddrV4, SocketAddrV4)>,
    /// The frames of some, as far as an ICMP error quotes them.
    sent: Vec<Vec<u8>>,
    /// Fragments that are still to come, the last one first.
    to_come: Vec<Arrival>,
}

impl Generator {
    #[must_use]
    pub fn new(network: Network, seed: u64) -> Self {
        Self {
            six: false,
            network,
            rng: Rng::with_seed(seed),
            flows: Vec::new(),
            served: Vec::new(),
            sent: Vec::new(),
            to_come: Vec::new(),
        }
    }

    /// The same over IPv6.
    #[must_use]
    pub fn over_six(self) -> Self {
        Self { six: true, ..self }
    }

    /// For decisions beside packets.
    pub const fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// The next frame.
    pub fn arrival(&mut self) -> Arrival {
        if self.rng.u8(..4) != 0
            && let Some(mut fragment) = self.to_come.pop()
        {
            if self.rng.u8(..16) == 0 {
                self.flaw(&mut fragment.frame);
            }
            return fragment;
        }
        if self.rng.u8(..) < 30 {
            let (link, mut frame) = self.icmp();
            self.flaw(&mut frame);
            return Arrival { link, frame };
        }
        let reply = !self.served.is_empty() && self.rng.u8(..) < 80;
        let (link, packet) = if reply { self.reply() } else { self.request() };
        let mut packet = self.dress(packet);
        packet.six = self.six;
        flaw::of_packet(&mut self.rng, &mut packet);
        let mut frame = flaw::frame(&mut self.rng, &packet);
        if self.rng.u8(..12) == 0 {
            let pieces = fragments::cut(&mut self.rng, link, &frame, self.six);
            self.to_come.extend(pieces.into_iter().rev());
            if let Some(first) = self.to_come.pop() {
                return first;
            }
        }
        self.flaw(&mut frame);
        Arrival { link, frame }
    }

    fn flaw(&mut self, frame: &mut Vec<u8>) {
        if self.six {
            six::of_frame(&mut self.rng, frame);
        } else {
            flaw::of_frame(&mut self.rng, frame);
        }
    }

    /// Learns from what the director sent: real servers reply to it.
    pub fn observe(&mut self, sent: &[u8]) {
        self.remember(sent);
        let seen = if self.six {
            six::seen(sent)
        } else {
            seen(sent)
        };
        let Some((proto, client, real)) = seen else {
            return;
        };
        if real.ip().octets()[0] != 10 {
            return;
        }
        if self.served.len() < REPLIES {
            self.served.push((proto, real, client));
        } else {
            let place = self.rng.usize(..REPLIES);
            self.served[place] = (proto, real, client);
        }
    }

    fn request(&mut self) -> (usize, Packet) {
        let flow = self.flow();
        let packet = match flow.proto {
            Proto::Tcp => Packet::tcp(flow.client, flow.virt, self.flags()),
            Proto::Udp => Packet::udp(flow.client, flow.virt),
            Proto::Sctp => {
                let chunk = self.chunk(false);
                self.bundle(Packet::sctp(flow.client, flow.virt, chunk))
            }
        };
        let (from, to) = (self.network.gateway_mac, self.network.links[flow.link].mac);
        (flow.link, packet.between(from, to))
    }

    /// One that goes on, or now and then a new one in the place of another.
    fn flow(&mut self) -> Flow {
        if self.flows.len() < FLOWS {
            let new = self.new_flow();
            self.flows.push(new);
        }
        let place = self.rng.usize(..self.flows.len());
        if self.rng.u8(..16) == 0 {
            self.flows[place] = self.new_flow();
        }
        self.flows[place]
    }

    fn new_flow(&mut self) -> Flow {
        let (proto, virt) = world::virtual_address(&mut self.rng);
        // The last link's packets carry a firewall mark.
        let marked = self.rng.u8(..) < 40;
        Flow {
            proto,
            client: SocketAddrV4::new(self.client(), self.rng.u16(1000..1100)),
            virt,
            link: if marked {
                self.network.links.len() - 1
            } else {
                0
            },
        }
    }

    fn reply(&mut self) -> (usize, Packet) {
        let (proto, real, client) = self.served[self.rng.usize(..self.served.len())];
        let packet = match proto {
            Proto::Tcp => Packet::tcp(real, client, self.flags()),
            Proto::Udp => Packet::udp(real, client),
            Proto::Sctp => {
                let chunk = self.chunk(true);
                self.bundle(Packet::sctp(real, client, chunk))
            }
        };
        let link = match self.network.way(*real.ip()) {
            Way::Link(link, _) => link,
            Way::Local => 1,
        };
        let from = [2, 0, 0, 1, link as u8, real.ip().octets()[3]];
        (link, packet.between(from, self.network.links[link].mac))
    }

    /// Mostly from far away, some from the networks around, and some that cannot be.
    fn client(&mut self) -> Ipv4Addr {
        let n = self.rng.u16(..CLIENTS);
        match self.rng.u8(..) {
            0 => Ipv4Addr::from_bits(self.rng.u32(..)),
            1 => Ipv4Addr::new(10, 0, self.rng.u8(1..4), self.rng.u8(..)),
            2 => Ipv4Addr::new(203, 0, 113, self.rng.u8(..)),
            // One that is at it all the time.
            3..35 => Ipv4Addr::new(198, 51, 100, 1),
            _ => Ipv4Addr::new(198, 51, 100 + (n / 250) as u8, 1 + (n % 250) as u8),
        }
    }

    fn flags(&mut self) -> u8 {
        match self.rng.u8(..100) {
            0..35 => flag::SYN,
            35..70 => flag::ACK,
            70..80 => flag::ACK | flag::PSH,
            80..90 => flag::FIN | flag::ACK,
            90..93 => flag::RST,
            93..95 => flag::SYN | flag::ACK,
            95..96 => 0,
            _ => self.rng.u8(..),
        }
    }

    /// The first chunk of a client's packet, or of a real server's.
    fn chunk(&mut self, of_server: bool) -> u8 {
        let (first, second) = if of_server {
            (chunk::INIT_ACK, chunk::COOKIE_ACK)
        } else {
            (chunk::INIT, chunk::COOKIE_ECHO)
        };
        match self.rng.u8(..100) {
            0..30 => first,
            30..50 => second,
            50..75 => chunk::DATA,
            75..83 => chunk::SHUTDOWN,
            83..88 => chunk::SHUTDOWN_ACK,
            88..92 => chunk::SHUTDOWN_COMPLETE,
            92..95 => chunk::ABORT,
            95..98 => self.rng.u8(..20),
            _ => self.rng.u8(..),
        }
    }

    /// Other chunks behind the first one, now and then.
    fn bundle(&mut self, packet: Packet) -> Packet {
        let bundled = match self.rng.u8(..8) {
            0 => vec![chunk::ABORT],
            1 => vec![chunk::DATA, chunk::ABORT],
            _ => Vec::new(),
        };
        Packet { bundled, ..packet }
    }

    fn dress(&mut self, packet: Packet) -> Packet {
        let len = match self.rng.u8(..100) {
            0..70 => self.rng.usize(..40),
            70..90 => self.rng.usize(..1461),
            90..97 => self.rng.usize(1400..1475),
            _ => self.rng.usize(1400..3300),
        };
        Packet {
            df: self.rng.bool(),
            id: self.rng.u16(..),
            tos: if self.rng.u8(..) < 60 {
                self.rng.u8(..)
            } else {
                0
            },
            ..packet
        }
        .data(len)
    }
}

/// Protocol, source and destination of a frame.
fn seen(sent: &[u8]) -> Option<(Proto, SocketAddrV4, SocketAddrV4)> {
    let header = Ipv4HeaderSlice::from_slice(sent.get(ETHERNET..)?).ok()?;
    let proto = Proto::from_number(header.protocol().0)?;
    let (sport, dport) = ports(sent, ETHERNET + header.slice().len())?;
    Some((
        proto,
        SocketAddrV4::new(header.source_addr(), sport),
        SocketAddrV4::new(header.destination_addr(), dport),
    ))
}

fn ports(sent: &[u8], at: usize) -> Option<(u16, u16)> {
    let [a, b, c, d] = sent.get(at..at + 4)? else {
        return None;
    };
    Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])))
}
