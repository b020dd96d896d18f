//! What has to become of a packet.

use ipvs_common::{Iface, Mac, bench::client};
use ipvs_datapath::{Ip, fwd::wrap::Inside, host::HostFrame};

use super::{
    network::{DIRECTOR, DIRECTOR_MAC, ROUTER_MAC},
    service::{BenchService, GUE_PORT},
    walk::Template,
};
use crate::packet::{Packet, checksum, ethernet};

// XDP's verdicts.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
pub(super) const XDP_REDIRECT: u32 = 4;

/// IP's numbers.
const IN_IP: u8 = 4;
const UDP: u8 = 17;
const GRE: u8 = 47;

/// What a program has to make of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Output {
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
    /// Sent on in GRE, or in GUE.
    InGre,
    InGue,
}

impl Output {
    pub(super) const fn verdict(self) -> u32 {
        match self {
            Self::Drop => XDP_DROP,
            Self::Pass => XDP_PASS,
            Self::Unchanged
            | Self::Readdressed { .. }
            | Self::Direct
            | Self::Translated
            | Self::TranslatedBack
            | Self::Encapsulated { .. }
            | Self::InGre
            | Self::InGue => XDP_TX,
        }
    }

    /// The frame that comes out for a flow, with the real server at this place.
    pub(super) fn frame(self, template: Template, flow: u32, place: u16) -> Vec<u8> {
        let service = template.service;
        let mut packet = template.packet(client(flow), place);
        let mac = service.mac(place);
        match self {
            Self::Drop | Self::Pass | Self::Unchanged => {}
            Self::Readdressed { sender } => packet = packet.between(sender, mac),
            Self::Direct => {
                packet = packet.between(DIRECTOR_MAC, mac);
                packet.ttl -= 1;
            }
            Self::Translated => {
                packet = packet.between(DIRECTOR_MAC, mac);
                packet.ttl -= 1;
                packet.dst = service.real(place);
            }
            Self::TranslatedBack => {
                packet = packet.between(DIRECTOR_MAC, ROUTER_MAC);
                packet.ttl -= 1;
                packet.src = service.virtual_server();
            }
            Self::Encapsulated { aged } => {
                packet.ttl -= aged;
                return encapsulated(&packet, service, place, IN_IP, &[]);
            }
            Self::InGre => {
                packet.ttl -= 1;
                return encapsulated(&packet, service, place, GRE, &[0, 0, 8, 0]);
            }
            Self::InGue => {
                let header = gue(&packet);
                packet.ttl -= 1;
                return encapsulated(&packet, service, place, UDP, &header);
            }
        }
        packet.frame()
    }
}

/// The headers of UDP and GUE, without a checksum, from the port that the flow is hashed to.
fn gue(packet: &Packet) -> Vec<u8> {
    let frame = packet.frame();
    let len = (frame.len() - size_of::<[u8; 14]>() + 12) as u16;
    let mut frame = HostFrame::new(&frame);
    let parsed = <[u8; 4] as Ip>::packet(&mut frame, &Iface::default());
    let inside = parsed.map(|p| Inside::of(&mut frame, &p, true));
    let port = inside.map_or(0, |inside| inside.map_or(0, |inside| inside.port));
    let words = [port, GUE_PORT, len, 0, u16::from(IN_IP), 0];
    words.into_iter().flat_map(u16::to_be_bytes).collect()
}

/// The frame with the packet inside another one, behind a header.
fn encapsulated(
    packet: &Packet,
    service: BenchService,
    place: u16,
    proto: u8,
    header: &[u8],
) -> Vec<u8> {
    let inner = packet.frame().split_off(size_of::<[u8; 14]>());
    let len = (inner.len() + header.len() + 20) as u16;
    let mut outer = vec![0x45, 0];
    outer.extend(len.to_be_bytes());
    // No identification; DF; no checksum yet.
    outer.extend([0, 0, 0x40, 0, packet.ttl, proto, 0, 0]);
    outer.extend(DIRECTOR.octets());
    outer.extend(service.real(place).ip().octets());
    let check = checksum(&outer).to_be_bytes();
    outer[10..12].copy_from_slice(&check);
    let mut frame = ethernet(DIRECTOR_MAC, service.mac(place), 0x0800);
    frame.extend(outer);
    frame.extend(header);
    frame.extend(inner);
    frame
}
