//! A client's flow to the director, and the frames of it that were not recorded, made again.

use std::net::{Ipv4Addr, SocketAddrV4};

use etherparse::Ipv4HeaderSlice;
use ipvs_common::Proto;

use crate::{
    packet::{ETHERNET, Packet, chunk, flag},
    trace::{Frame, Network},
};

/// The clients are numbered: 250 to a network of 256, from its address 1 on.
const CLIENTS: [u8; 3] = [198, 51, 100];
const TO_A_NETWORK: u32 = 250;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Flow {
    pub(super) proto: Proto,
    pub(super) client: SocketAddrV4,
    pub(super) virt: SocketAddrV4,
}

impl Flow {
    /// What a frame from a client belongs to; an ICMP error: what the packet belongs to that it is about.
    pub(super) fn of(frame: &[u8]) -> Option<Self> {
        Self::of_packet(frame.get(ETHERNET..)?)
    }

    fn of_packet(packet: &[u8]) -> Option<Self> {
        let ip = Ipv4HeaderSlice::from_slice(packet).ok()?;
        let data = packet.get(ip.slice().len()..)?;
        let proto = match ip.protocol().0 {
            6 => Proto::Tcp,
            17 => Proto::Udp,
            132 => Proto::Sctp,
            1 if matches!(data.first(), Some(3 | 4 | 5 | 11 | 12)) => {
                let about = Self::of_packet(data.get(8..)?)?;
                return Some(Self {
                    client: about.virt,
                    virt: about.client,
                    ..about
                });
            }
            _ => return None,
        };
        let [s0, s1, d0, d1, ..] = *data else {
            return None;
        };
        Some(Self {
            proto,
            client: SocketAddrV4::new(ip.source_addr(), u16::from_be_bytes([s0, s1])),
            virt: SocketAddrV4::new(ip.destination_addr(), u16::from_be_bytes([d0, d1])),
        })
    }

    /// The frame that opens it.
    pub(super) fn opening(&self, network: &Network) -> Frame {
        match self.proto {
            Proto::Tcp => self.segment(network, flag::SYN, 0),
            Proto::Udp => self.sent(network, 0, b"x".to_vec()),
            Proto::Sctp => self.segment(network, chunk::INIT, 0),
        }
    }

    pub(super) fn segment(&self, network: &Network, flags: u8, data: usize) -> Frame {
        self.sent(network, flags, vec![b'x'; data])
    }

    fn sent(&self, network: &Network, flags: u8, payload: Vec<u8>) -> Frame {
        let packet = Packet {
            payload,
            ..self.packet(self.client, self.virt, flags)
        };
        let link = &network.links[0];
        let packet = packet.between(network.gateway_mac, link.mac);
        Frame {
            link: link.name.to_owned(),
            bytes: packet.frame(),
        }
    }

    /// A packet of a masqueraded real server to the client; `None` if it is on no link.
    pub(super) fn reply(
        &self,
        network: &Network,
        real: SocketAddrV4,
        flags: u8,
        data: usize,
    ) -> Option<Frame> {
        let packet = Packet {
            payload: vec![b'y'; data],
            ..self.packet(real, self.client, flags)
        };
        let (link, _, mac) = network
            .neighbours()
            .into_iter()
            .find(|n| n.1 == *real.ip())?;
        let link = &network.links[link];
        let packet = packet.between(mac, link.mac);
        Some(Frame {
            link: link.name.to_owned(),
            bytes: packet.frame(),
        })
    }

    fn packet(&self, from: SocketAddrV4, to: SocketAddrV4, flags: u8) -> Packet {
        match self.proto {
            Proto::Tcp => Packet::tcp(from, to, flags),
            Proto::Udp => Packet::udp(from, to),
            Proto::Sctp => Packet::sctp(from, to, flags),
        }
    }

    pub(super) fn number(&self) -> Option<u32> {
        number(*self.client.ip())
    }

    /// The flow so many clients and ports further on.
    pub(super) fn moved(&self, clients: i64, ports: i64) -> Option<Self> {
        let ip = client(u32::try_from(i64::from(self.number()?) + clients).ok()?)?;
        let port = u16::try_from(i64::from(self.client.port()) + ports).ok()?;
        Some(Self {
            client: SocketAddrV4::new(ip, port),
            ..*self
        })
    }
}

/// The address of a client by its number.
pub(super) fn client(number: u32) -> Option<Ipv4Addr> {
    let [a, b, c] = CLIENTS;
    let c = u8::try_from(u32::from(c) + number / TO_A_NETWORK).ok()?;
    Some(Ipv4Addr::new(a, b, c, (number % TO_A_NETWORK) as u8 + 1))
}

pub(super) fn number(client: Ipv4Addr) -> Option<u32> {
    let [a, b, c, d] = client.octets();
    let net = c.checked_sub(CLIENTS[2])?;
    let number = u32::from(net) * TO_A_NETWORK + u32::from(d.checked_sub(1)?);
    ([a, b] == CLIENTS[..2] && u32::from(d) <= TO_A_NETWORK).then_some(number)
}

/// TCP flags by their letters.
pub(super) fn flags(letters: &str) -> Option<u8> {
    letters.chars().try_fold(0, |flags, letter| {
        Some(
            flags
                | match letter {
                    'F' => flag::FIN,
                    'S' => flag::SYN,
                    'R' => flag::RST,
                    'P' => flag::PSH,
                    'A' => flag::ACK,
                    _ => return None,
                },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_numbered_through_networks() {
        for (n, address) in [
            (0, [198, 51, 100, 1]),
            (249, [198, 51, 100, 250]),
            (250, [198, 51, 101, 1]),
        ] {
            assert_eq!(client(n), Some(address.into()));
            assert_eq!(number(address.into()), Some(n));
        }
        assert_eq!(number([203, 0, 113, 10].into()), None);
        assert_eq!(number([198, 51, 100, 0].into()), None);
    }
}
