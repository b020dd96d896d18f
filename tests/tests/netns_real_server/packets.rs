//! Packets of tunnels, made by hand: what a director would send.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Result, bail};
use etherparse::PacketBuilder;
use ipvs_tests::topology::Netns;
use socket2::{Domain, Protocol, Socket, Type};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tunnel {
    Ipip,
    Gue(u16),
    Gre,
}

impl Tunnel {
    pub(crate) fn arguments(self) -> String {
        match self {
            Self::Ipip => "--method tunnel".to_owned(),
            Self::Gue(port) => format!("--method tunnel --tunnel-type gue --port {port}"),
            Self::Gre => "--method tunnel --tunnel-type gre".to_owned(),
        }
    }
}

/// A datagram from a client, as an IP packet.
pub(crate) fn datagram(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Result<Vec<u8>> {
    let builder = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => PacketBuilder::ipv6(from.octets(), to.octets(), 64),
        _ => bail!("two families"),
    };
    let mut packet = Vec::new();
    builder
        .udp(from.port(), to.port())
        .write(&mut packet, payload)?;
    Ok(packet)
}

/// Sends a packet inside another one from a namespace to a real server.
pub(crate) fn send(netns: &Netns, tunnel: Tunnel, to: IpAddr, packet: &[u8]) -> Result<()> {
    let is_v6 = packet[0] >> 4 == 6;
    let inside: u8 = if is_v6 { 41 } else { 4 };
    let ether_type: u16 = if is_v6 { 0x86dd } else { 0x0800 };
    let domain = if to.is_ipv6() {
        Domain::IPV6
    } else {
        Domain::IPV4
    };
    let raw = |protocol: u8, port, bytes: &[u8]| -> Result<()> {
        let (kind, protocol) = match protocol {
            17 => (Type::DGRAM, Protocol::UDP),
            other => (Type::RAW, Protocol::from(i32::from(other))),
        };
        let sent = netns.enter(|| {
            let socket = Socket::new(domain, kind, Some(protocol))?;
            socket.send_to(bytes, &SocketAddr::new(to, port).into())
        });
        anyhow::ensure!(sent? == bytes.len());
        Ok(())
    };
    match tunnel {
        Tunnel::Ipip => raw(inside, 0, packet),
        Tunnel::Gre => raw(
            47,
            0,
            &[&[0, 0], &ether_type.to_be_bytes()[..], packet].concat(),
        ),
        Tunnel::Gue(port) => raw(17, port, &[&[0, inside, 0, 0], packet].concat()),
    }
}

pub(crate) const CLIENTS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 10)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 9)),
];
pub(crate) const VIPS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 5)),
];
