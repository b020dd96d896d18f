//! ICMP messages about packets, of either family.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{IpNumber, Ipv4Header, Ipv6Header};
use ipvs_common::Mac;

use super::{ETHERNET, checksum, ethernet};

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// An ICMP error in an Ethernet frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IcmpError {
    pub to: Mac,
    pub from: Mac,
    pub src: IpAddr,
    /// Of the same family.
    pub dst: IpAddr,
    pub kind: u8,
    pub code: u8,
    pub mtu: u16,
    pub ttl: u8,
    /// IPv6's extension headers, each by its number; what follows in it is filled in.
    pub extensions: Vec<(u8, Vec<u8>)>,
    /// As much of a packet as there is.
    pub quoted: Vec<u8>,
}

impl IcmpError {
    /// About the packet in a frame, to whoever sent it.
    #[must_use]
    pub fn about(frame: &[u8], src: impl Into<IpAddr>, (kind, code): (u8, u8)) -> Self {
        let (src, quoted) = (src.into(), frame[ETHERNET..].to_vec());
        Self {
            to: [0; 6],
            from: [0; 6],
            src,
            dst: if src.is_ipv4() {
                Ipv4Addr::from(at(&quoted, 12)).into()
            } else {
                Ipv6Addr::from(at(&quoted, 8)).into()
            },
            kind,
            code,
            mtu: 0,
            ttl: 64,
            extensions: Vec::new(),
            quoted,
        }
    }

    #[must_use]
    pub fn between(self, from: Mac, to: Mac) -> Self {
        Self { to, from, ..self }
    }

    /// The frame, with all checksums right.
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        let mut message = vec![self.kind, self.code, 0, 0, 0, 0];
        message.extend(self.mtu.to_be_bytes());
        message.extend(&self.quoted);
        match (self.src, self.dst) {
            (IpAddr::V6(src), IpAddr::V6(dst)) => self.frame_over_six(src, dst, message),
            (IpAddr::V4(src), IpAddr::V4(dst)) => self.frame_over_four(src, dst, message),
            ends => unreachable!("two families: {ends:?}"),
        }
    }

    fn frame_over_four(&self, src: Ipv4Addr, dst: Ipv4Addr, mut message: Vec<u8>) -> Vec<u8> {
        let check = checksum(&message);
        message[2..4].copy_from_slice(&check.to_be_bytes());
        let mut ip = Ipv4Header {
            identification: 7,
            time_to_live: self.ttl,
            protocol: IpNumber(ICMP),
            source: src.octets(),
            destination: dst.octets(),
            ..Ipv4Header::default()
        };
        ip.total_len = (ip.header_len() + message.len()) as u16;
        ip.header_checksum = ip.calc_header_checksum();
        let mut frame = ethernet(self.from, self.to, 0x0800);
        frame.extend(ip.to_bytes());
        frame.extend(message);
        frame
    }

    fn frame_over_six(&self, src: Ipv6Addr, dst: Ipv6Addr, mut message: Vec<u8>) -> Vec<u8> {
        let check = checksum_of_six(src, dst, &message);
        message[2..4].copy_from_slice(&check.to_be_bytes());
        let before: usize = self.extensions.iter().map(|(_, body)| body.len()).sum();
        let numbers = self.extensions.iter().map(|(number, _)| *number);
        let mut numbers = numbers.chain([ICMPV6]);
        let ip = Ipv6Header {
            payload_length: (before + message.len()) as u16,
            next_header: IpNumber(numbers.next().unwrap_or_default()),
            hop_limit: self.ttl,
            source: src.octets(),
            destination: dst.octets(),
            ..Ipv6Header::default()
        };
        let mut frame = ethernet(self.from, self.to, 0x86dd);
        frame.extend(ip.to_bytes());
        for ((_, body), next) in self.extensions.iter().zip(numbers) {
            frame.push(next);
            frame.extend(&body[1..]);
        }
        frame.extend(message);
        frame
    }
}

/// Checksum of an ICMPv6 message; 0 of one that has its own.
#[must_use]
pub fn checksum_of_six(src: Ipv6Addr, dst: Ipv6Addr, message: &[u8]) -> u16 {
    let mut all = [src.octets(), dst.octets()].concat();
    all.extend((message.len() as u32).to_be_bytes());
    all.extend([0, 0, 0, ICMPV6]);
    all.extend_from_slice(message);
    checksum(&all)
}

fn at<const N: usize>(bytes: &[u8], from: usize) -> [u8; N] {
    bytes
        .get(from..)
        .and_then(|b| b.first_chunk())
        .copied()
        .unwrap_or([0; N])
}
