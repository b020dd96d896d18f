//! Test packets: built with right lengths and checksums by somebody else's code, and told in one line.

mod check;
mod describe;
mod icmp;
mod pieces;

use std::net::SocketAddrV4;

use etherparse::{
    Ethernet2Header, IpNumber, Ipv4Header, Ipv4Options, Ipv6Header, TcpHeader, UdpHeader,
};
use ipvs_common::{Mac, Proto};

use crate::six::six;
pub use check::{checksum, checksums_are_right, crc32c};
pub use describe::{contrast, describe, hex};
pub use icmp::{IcmpError, checksum_of_six};
pub use pieces::{UNIT, data_at, pieces, whole};

/// TCP flag bits at their place in the header.
pub mod flag {
    pub const FIN: u8 = 1;
    pub const SYN: u8 = 2;
    pub const RST: u8 = 4;
    pub const PSH: u8 = 8;
    pub const ACK: u8 = 16;
    pub const URG: u8 = 32;
}

/// Types of SCTP's chunks.
pub mod chunk {
    pub const DATA: u8 = 0;
    pub const INIT: u8 = 1;
    pub const INIT_ACK: u8 = 2;
    pub const ABORT: u8 = 6;
    pub const SHUTDOWN: u8 = 7;
    pub const SHUTDOWN_ACK: u8 = 8;
    pub const ERROR: u8 = 9;
    pub const COOKIE_ECHO: u8 = 10;
    pub const COOKIE_ACK: u8 = 11;
    pub const SHUTDOWN_COMPLETE: u8 = 14;
}

/// Bytes before the IP header.
pub const ETHERNET: usize = 14;
/// IP length at which a packet without options has none of its payload left.
const IP_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;

/// A TCP segment, UDP datagram or packet of SCTP in an Ethernet frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    pub to: Mac,
    pub from: Mac,
    pub proto: Proto,
    pub src: SocketAddrV4,
    pub dst: SocketAddrV4,
    /// Of TCP; of SCTP the type of its first chunk.
    pub flags: u8,
    pub ttl: u8,
    pub tos: u8,
    pub id: u16,
    pub df: bool,
    /// Over IPv6, between the twins of the addresses.
    pub six: bool,
    /// IPv6's extension headers, each by its number; what follows in it is filled in.
    pub extensions: Vec<(u8, Vec<u8>)>,
    /// IP options, a multiple of four bytes.
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
    /// SCTP's chunks behind the first one, each by its type.
    pub bundled: Vec<u8>,
}

impl Packet {
    #[must_use]
    pub const fn tcp(src: SocketAddrV4, dst: SocketAddrV4, flags: u8) -> Self {
        Self::new(Proto::Tcp, src, dst, flags)
    }

    #[must_use]
    pub const fn udp(src: SocketAddrV4, dst: SocketAddrV4) -> Self {
        Self::new(Proto::Udp, src, dst, 0)
    }

    #[must_use]
    pub const fn sctp(src: SocketAddrV4, dst: SocketAddrV4, chunk: u8) -> Self {
        Self::new(Proto::Sctp, src, dst, chunk)
    }

    const fn new(proto: Proto, src: SocketAddrV4, dst: SocketAddrV4, flags: u8) -> Self {
        Self {
            to: [0; 6],
            from: [0; 6],
            proto,
            src,
            dst,
            flags,
            ttl: 64,
            tos: 0,
            id: 1,
            df: true,
            six: false,
            extensions: Vec::new(),
            options: Vec::new(),
            payload: Vec::new(),
            bundled: Vec::new(),
        }
    }

    /// With so many bytes of data.
    #[must_use]
    pub fn data(self, len: usize) -> Self {
        Self {
            payload: (0..len).map(|i| i as u8).collect(),
            ..self
        }
    }

    #[must_use]
    pub fn between(self, from: Mac, to: Mac) -> Self {
        Self { to, from, ..self }
    }

    /// The frame, with all checksums right.
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        let transport = self.transport();
        if self.six {
            return self.frame_over_six(&transport);
        }
        let ip = self.ip(transport.len());
        let mut frame = ethernet(self.from, self.to, 0x0800);
        frame.extend(ip.to_bytes());
        frame.extend(transport);
        frame
    }

    fn frame_over_six(&self, transport: &[u8]) -> Vec<u8> {
        let numbers = self.extensions.iter().map(|(number, _)| *number);
        let mut numbers = numbers.chain([self.proto as u8]);
        let header = Ipv6Header {
            traffic_class: self.tos,
            payload_length: (self.extensions_len() + transport.len()) as u16,
            next_header: IpNumber(numbers.next().unwrap_or_default()),
            hop_limit: self.ttl,
            source: six(*self.src.ip()).octets(),
            destination: six(*self.dst.ip()).octets(),
            ..Ipv6Header::default()
        };
        let mut frame = ethernet(self.from, self.to, 0x86dd);
        frame.extend(header.to_bytes());
        for ((_, body), next) in self.extensions.iter().zip(numbers) {
            frame.push(next);
            frame.extend(&body[1..]);
        }
        frame.extend(transport);
        frame
    }

    fn extensions_len(&self) -> usize {
        self.extensions.iter().map(|(_, body)| body.len()).sum()
    }

    fn ip(&self, len: usize) -> Ipv4Header {
        let mut ip = Ipv4Header {
            identification: self.id,
            dont_fragment: self.df,
            time_to_live: self.ttl,
            protocol: IpNumber(self.proto as u8),
            source: self.src.ip().octets(),
            destination: self.dst.ip().octets(),
            options: Ipv4Options::try_from(&self.options[..]).expect("whole words, at most ten"),
            ..Ipv4Header::default()
        };
        ip.total_len = (ip.header_len() + len) as u16;
        let mut bytes = ip.to_bytes();
        bytes[1] = self.tos;
        bytes[10..12].fill(0);
        let check = checksum(&bytes);
        let (mut ip, _) = Ipv4Header::from_slice(&bytes).expect("just made");
        ip.header_checksum = check;
        ip
    }

    fn transport(&self) -> Vec<u8> {
        let (src, dst) = (self.src.ip().octets(), self.dst.ip().octets());
        let twins = [self.src, self.dst].map(|a| six(*a.ip()).octets());
        let (sport, dport) = (self.src.port(), self.dst.port());
        let payload = &self.payload[..];
        let mut bytes = match self.proto {
            Proto::Tcp => {
                let header = TcpHeader::new(sport, dport, 1000, 0xffff);
                let mut bytes = header.to_bytes().to_vec();
                bytes[13] = self.flags;
                if self.flags & flag::ACK != 0 {
                    bytes[8..12].copy_from_slice(&5000_u32.to_be_bytes());
                }
                let (mut header, _) = TcpHeader::from_slice(&bytes).expect("just made");
                let sum = if self.six {
                    header.calc_checksum_ipv6_raw(twins[0], twins[1], payload)
                } else {
                    header.calc_checksum_ipv4_raw(src, dst, payload)
                };
                header.checksum = sum.expect("short enough");
                header.to_bytes().to_vec()
            }
            Proto::Udp => {
                let mut header = UdpHeader {
                    source_port: sport,
                    destination_port: dport,
                    length: (8 + payload.len()) as u16,
                    checksum: 0,
                };
                let sum = if self.six {
                    header.calc_checksum_ipv6_raw(twins[0], twins[1], payload)
                } else {
                    header.calc_checksum_ipv4_raw(src, dst, payload)
                };
                header.checksum = sum.expect("short enough");
                header.to_bytes().to_vec()
            }
            Proto::Sctp => return self.sctp_packet(),
        };
        bytes.extend_from_slice(payload);
        bytes
    }

    /// Common header, the chunk with the payload as its value, and those that are bundled with it (RFC 9260, 3).
    fn sctp_packet(&self) -> Vec<u8> {
        let [a, b] = self.src.port().to_be_bytes();
        let [c, d] = self.dst.port().to_be_bytes();
        let mut bytes = vec![a, b, c, d, 0, 0, 0, 1, 0, 0, 0, 0];
        let [high, low] = ((4 + self.payload.len()) as u16).to_be_bytes();
        bytes.extend([self.flags, 0, high, low]);
        bytes.extend(&self.payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        for kind in &self.bundled {
            bytes.extend([*kind, 0, 0, 4]);
        }
        let check = crc32c(&bytes).to_le_bytes();
        bytes[8..12].copy_from_slice(&check);
        bytes
    }

    /// Where the transport checksum is in the frame.
    #[must_use]
    pub fn checksum_at(&self) -> usize {
        let ip = if self.six {
            IPV6_HEADER + self.extensions_len()
        } else {
            IP_HEADER + self.options.len()
        };
        ETHERNET + ip + checksum_offset(self.proto)
    }

    /// The frame as a sender leaves it that has its card complete the checksum.
    #[must_use]
    pub fn frame_with_partial_checksum(&self) -> Vec<u8> {
        let mut frame = self.frame();
        let at = self.checksum_at();
        if self.proto == Proto::Sctp {
            frame[at..at + 4].fill(0);
            return frame;
        }
        frame[at..at + 2].copy_from_slice(&self.partial_checksum().to_be_bytes());
        frame
    }

    /// Sum of the pseudo header, not inverted.
    #[must_use]
    pub fn partial_checksum(&self) -> u16 {
        let ends = [*self.src.ip(), *self.dst.ip()];
        let mut pseudo = if self.six {
            ends.map(|a| six(a).octets()).concat()
        } else {
            ends.map(|a| a.octets()).concat()
        };
        pseudo.extend([0, self.proto as u8]);
        let len = match self.proto {
            Proto::Tcp => 20,
            Proto::Udp => 8,
            Proto::Sctp => unreachable!("its checksum covers no addresses"),
        } + self.payload.len();
        pseudo.extend((len as u16).to_be_bytes());
        !checksum(&pseudo)
    }
}

/// Offset of the checksum in the transport header.
#[must_use]
pub const fn checksum_offset(proto: Proto) -> usize {
    match proto {
        Proto::Tcp => 16,
        Proto::Udp => 6,
        Proto::Sctp => 8,
    }
}

/// An Ethernet header.
#[must_use]
pub fn ethernet(from: Mac, to: Mac, ether_type: u16) -> Vec<u8> {
    let header = Ethernet2Header {
        source: from,
        destination: to,
        ether_type: ether_type.into(),
    };
    header.to_bytes().to_vec()
}
