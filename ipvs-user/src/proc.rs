//! `ipvsd proc`: what the module ip_vs shows in files under `/proc/net`, in its format, for programs that read those.
//!
//! Knows the API's client and its types, and nothing of what is behind it.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
};

use clap::ValueEnum;

use crate::api::{
    client::{Client, ClientError},
    wire::{Conn, Dest, Method, Netmask, Rates, Service, ServiceId, Stats, Totals, Version},
};

/// One of the files.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum File {
    /// Services and real servers
    IpVs,
    /// Connections
    IpVsConn,
    /// Connections, and which of them another director told of
    IpVsConnSync,
    /// Traffic of all services
    IpVsStats,
}

/// What is in the file now.
pub async fn text(client: &Client, file: File) -> Result<String, ClientError> {
    Ok(match file {
        File::IpVs => services(&client.version().await?, &client.services().await?),
        File::IpVsConn => connections(&client.conns().await?),
        File::IpVsConnSync => origins(&client.conns().await?),
        File::IpVsStats => traffic(&client.stats().await?),
    })
}

fn services(version: &Version, list: &[Service]) -> String {
    let mut text = format!(
        "IP Virtual Server version 1.2.1 (size={})\n\
         Prot LocalAddress:Port Scheduler Flags\n  \
         -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n",
        version.connection_table_size
    );
    for service in list {
        text += &service_line(service, version.hz);
        text.extend(service.dests.iter().map(dest_line));
    }
    text
}

/// The timeout of persistence is in ticks of the kernel's clock.
fn service_line(s: &Service, hz: u32) -> String {
    let name = match s.service {
        ServiceId::Tcp(a) => format!("TCP  {}", address(a)),
        ServiceId::Udp(a) => format!("UDP  {}", address(a)),
        ServiceId::Sctp(a) => format!("SCTP  {}", address(a)),
        ServiceId::Fwmark(mark) | ServiceId::Fwmark6(mark) => format!("FWM  {mark:08X}"),
    };
    let ops = if s.spec.one_packet { "ops " } else { "" };
    // Services of IPv6 addresses have no place for it.
    let flags = match s.service {
        ServiceId::Tcp(a) | ServiceId::Udp(a) | ServiceId::Sctp(a) if a.is_ipv6() => String::new(),
        ServiceId::Tcp(_) | ServiceId::Udp(_) | ServiceId::Sctp(_) => format!("{ops} "),
        ServiceId::Fwmark(_) | ServiceId::Fwmark6(_) => ops.to_owned(),
    };
    let persistent = s.spec.persistent.map_or_else(String::new, |seconds| {
        let ticks = u64::from(seconds) * u64::from(hz);
        format!("persistent {ticks} {:08X}", mask(s))
    });
    format!("{name} {} {flags}{persistent}\n", s.spec.scheduler)
}

/// Of a prefix over IPv6 that tells every client from the others.
const FULL_PREFIX: u32 = 128;

/// A prefix length stands there with its bytes swapped, as if it were an address.
fn mask(s: &Service) -> u32 {
    match s.spec.netmask {
        Some(Netmask::Mask(mask)) => mask.to_bits(),
        Some(Netmask::Prefix(prefix)) => u32::from(prefix).swap_bytes(),
        None if s.service.is_v6() => FULL_PREFIX.swap_bytes(),
        None => u32::MAX,
    }
}

fn dest_line(d: &Dest) -> String {
    let method = match d.spec.method {
        Method::Masq => "Masq",
        Method::Tunnel => "Tunnel",
        Method::Droute => "Route",
    };
    let (address, weight) = (address(d.address), d.spec.weight);
    let (active, inactive) = (d.active, d.inactive);
    format!("  -> {address}      {method:<7} {weight:<6} {active:<10} {inactive:<10}\n")
}

fn address(a: SocketAddr) -> String {
    match a.ip() {
        IpAddr::V4(_) => format!("{}:{:04X}", digits(a.ip()), a.port()),
        IpAddr::V6(_) => format!("[{}]:{:04X}", digits(a.ip()), a.port()),
    }
}

/// Every digit of it.
fn digits(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("{:08X}", ip.to_bits()),
        IpAddr::V6(ip) => ip.segments().map(|s| format!("{s:04x}")).join(":"),
    }
}

fn connections(list: &[Conn]) -> String {
    let mut text =
        "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
            .to_owned();
    for c in list {
        let ends = ends(c);
        let engine = c.engine.as_ref();
        let engine = engine.map_or_else(String::new, |e| format!(" {} {}", e.name, e.data));
        let (protocol, state, expires) = (&c.protocol, &c.state, c.expires);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{protocol:<3} {ends} {state:<11} {expires:>7}{engine}"
        );
    }
    text
}

fn origins(list: &[Conn]) -> String {
    let mut text =
        "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires\n".to_owned();
    for c in list {
        let (protocol, ends, state, expires) = (&c.protocol, ends(c), &c.state, c.expires);
        let origin = if c.told { "SYNC" } else { "LOCAL" };
        let _ = writeln!(
            text,
            "{protocol:<3} {ends} {state:<11} {origin:<6} {expires:>7}"
        );
    }
    text
}

/// Client, virtual address and real server.
fn ends(c: &Conn) -> String {
    let each = [c.client, c.r#virtual, c.real];
    each.map(|a| format!("{} {:04X}", digits(a.ip()), a.port()))
        .join(" ")
}

fn traffic(t: &Totals) -> String {
    let Stats {
        conns,
        in_packets,
        out_packets,
        in_bytes,
        out_bytes,
    } = t.stats;
    let total = numbers([conns, in_packets, out_packets, in_bytes, out_bytes]);
    let Rates {
        conns,
        in_packets,
        out_packets,
        in_bytes,
        out_bytes,
    } = t.rates;
    let in_a_second = numbers([conns, in_packets, out_packets, in_bytes, out_bytes]);
    format!(
        "   Total Incoming Outgoing         Incoming         Outgoing\n   \
         Conns  Packets  Packets            Bytes            Bytes\n\
         {total}\n \
         Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n\
         {in_a_second}"
    )
}

fn numbers([conns, in_packets, out_packets, in_bytes, out_bytes]: [u64; 5]) -> String {
    format!("{conns:8X} {in_packets:8X} {out_packets:8X} {in_bytes:16X} {out_bytes:16X}\n")
}

#[cfg(test)]
mod tests;
