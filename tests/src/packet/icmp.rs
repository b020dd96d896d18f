//! ICMP messages about packets.

use std::net::Ipv4Addr;

use etherparse::{IpNumber, Ipv4Header};
use ipvs_common::Mac;

use super::{ETHERNET, checksum, ethernet};

/// An ICMP error in an Ethernet frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IcmpError {
    pub to: Mac,
    pub from: Mac,
    pub src: Ipv4Addr,
    pub dst: Ipv4Addr,
    pub kind: u8,
    pub code: u8,
    pub mtu: u16,
    pub ttl: u8,
    /// As much of a packet as there is.
    pub quoted: Vec<u8>,
}

impl IcmpError {
    /// About the packet in a frame, to whoever sent it.
    #[must_use]
    pub fn about(frame: &[u8], src: Ipv4Addr, (kind, code): (u8, u8)) -> Self {
        let quoted = frame[ETHERNET..].to_vec();
        let dst = Ipv4Addr::new(quoted[12], quoted[13], quoted[14], quoted[15]);
        Self {
            to: [0; 6],
            from: [0; 6],
            src,
            dst,
            kind,
            code,
            mtu: 0,
            ttl: 64,
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
        let check = checksum(&message);
        message[2..4].copy_from_slice(&check.to_be_bytes());
        let mut ip = Ipv4Header {
            identification: 7,
            time_to_live: self.ttl,
            protocol: IpNumber(1),
            source: self.src.octets(),
            destination: self.dst.octets(),
            ..Ipv4Header::default()
        };
        ip.total_len = (ip.header_len() + message.len()) as u16;
        ip.header_checksum = ip.calc_header_checksum();
        let mut frame = ethernet(self.from, self.to, 0x0800);
        frame.extend(ip.to_bytes());
        frame.extend(message);
        frame
    }
}
