//! The listings, to the column.

mod others;

use std::{fmt::Write as _, net::SocketAddr};

use super::{
    lower::{Columns, Format},
    names::{Names, Transport, address_port},
    parse::transport,
    sort,
};
use crate::api::wire::{
    Dest, Method, Netmask, Rates, Service, ServiceId, Stats, Tunnel, TunnelChecksum, TunnelKind,
};
pub(super) use others::{connections, daemons, timeouts};

/// Version of the kernel's interface that the original reports.
const IPVS_VERSION: &str = "1.2.1";
/// Columns for the name of a service where numbers follow; longer names are cut.
const SERVICE_WIDTH: usize = 33;
/// The same for a real server.
const DEST_WIDTH: usize = 28;

pub(super) fn version_line(table_size: u32) -> String {
    format!("IP Virtual Server version {IPVS_VERSION} (size={table_size})\n")
}

/// Title and all of the services.
pub(super) fn services(mut list: Vec<Service>, names: &dyn Names, format: Format) -> String {
    if format.sorted {
        sort::services(&mut list);
    }
    let mut text = title(format.columns);
    for mut service in list {
        if format.sorted {
            sort::dests(&mut service.dests);
        }
        text += &service_line(&service, names, format);
        let transport = transport(service.service);
        for dest in &service.dests {
            text += &dest_line(dest, transport, names, format);
        }
    }
    text
}

fn title(columns: Columns) -> String {
    let first = "Prot LocalAddress:Port";
    let second = "  -> RemoteAddress:Port";
    match columns {
        Columns::Plain => format!(
            "{first} Scheduler Flags\n{second}           Forward Weight ActiveConn InActConn\n"
        ),
        Columns::Stats => format!(
            "{first:<33} {:>8} {:>8} {:>8} {:>8} {:>8}\n{second}\n",
            "Conns", "InPkts", "OutPkts", "InBytes", "OutBytes"
        ),
        Columns::Rates => format!(
            "{first:<33} {:>8} {:>8} {:>8} {:>8} {:>8}\n{second}\n",
            "CPS", "InPPS", "OutPPS", "InBPS", "OutBPS"
        ),
        Columns::Thresholds => format!(
            "{first:<33} {:<10} {:<10} {:<10} {:<10}\n{second}\n",
            "Uthreshold", "Lthreshold", "ActiveConn", "InActConn"
        ),
        Columns::TunInfo => format!(
            "{first} Scheduler Flags\n{second}           Forward TunnelInfo    Weight ActiveConn InActConn\n"
        ),
        Columns::PersistentConn => format!(
            "{first:<33} {:<9} {:<11} {:<10} {:<10}\n{second}\n",
            "Weight", "PersistConn", "ActiveConn", "InActConn"
        ),
    }
}

fn service_line(s: &Service, names: &dyn Names, format: Format) -> String {
    let name = |proto: &str, a: SocketAddr| {
        let name = address_port(names, format.numeric, a, transport(s.service));
        cut(format!("{proto:<4} {name}"), SERVICE_WIDTH, a)
    };
    let name = match s.service {
        ServiceId::Tcp(a) => name("TCP", a),
        ServiceId::Udp(a) => name("UDP", a),
        ServiceId::Sctp(a) => name("SCTP", a),
        ServiceId::Fwmark(mark) => format!("FWM  {mark}"),
        ServiceId::Fwmark6(mark) => format!("FWM  {mark} IPv6"),
    };
    match format.columns {
        Columns::Stats => {
            let numbers = large_numbers(stats(&s.stats), format.exact);
            return format!("{name:<SERVICE_WIDTH$}{numbers}\n");
        }
        Columns::Rates => {
            let numbers = large_numbers(rates(&s.rates), format.exact);
            return format!("{name:<SERVICE_WIDTH$}{numbers}\n");
        }
        Columns::Plain | Columns::Thresholds | Columns::PersistentConn | Columns::TunInfo => {}
    }
    let mut line = format!("{name} {}", s.spec.scheduler);
    if !s.spec.sched_flags.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(line, " ({})", s.spec.sched_flags.join(","));
    }
    if let Some(seconds) = s.spec.persistent {
        let _ = write!(line, " persistent {seconds}");
        if let Some(mask) = partial_mask(s) {
            let _ = write!(line, " mask {mask}");
        }
    }
    if let Some(engine) = &s.spec.engine {
        let _ = write!(line, " pe {engine}");
    }
    if s.spec.one_packet {
        line += " ops";
    }
    line + "\n"
}

fn dest_line(d: &Dest, transport: Option<Transport>, names: &dyn Names, format: Format) -> String {
    let name = address_port(names, format.numeric, d.address, transport);
    let name = format!("  -> {:<DEST_WIDTH$}", cut(name, DEST_WIDTH, d.address));
    let (active, inactive) = (d.active, d.inactive);
    match format.columns {
        Columns::Plain => {
            let (method, weight) = (method(d), d.spec.weight);
            format!("{name} {method:<7} {weight:<6} {active:<10} {inactive:<10}\n")
        }
        Columns::TunInfo => {
            let (method, weight, tunnel) = (method(d), d.spec.weight, tunnel_info(d));
            format!("{name} {method:<7} {tunnel:<13} {weight:<6} {active:<10} {inactive:<10}\n")
        }
        Columns::Stats => {
            let numbers = large_numbers(stats(&d.stats), format.exact);
            format!("{name}{numbers}\n")
        }
        Columns::Rates => {
            let [conns, in_packets, out_packets, bytes @ ..] = rates(&d.rates);
            let bytes = large_numbers(bytes, format.exact);
            format!("{name} {conns:>8} {in_packets:>8} {out_packets:>8}{bytes}\n")
        }
        Columns::Thresholds => {
            let (upper, lower) = (d.spec.upper_threshold, d.spec.lower_threshold);
            format!("{name} {upper:<10} {lower:<10} {active:<10} {inactive:<10}\n")
        }
        Columns::PersistentConn => {
            let (weight, persistent) = (d.spec.weight, d.persistent);
            format!("{name} {weight:<9} {persistent:<11} {active:<10} {inactive:<10}\n")
        }
    }
}

/// The netmask, if it keeps clients together.
pub(super) fn partial_mask(s: &Service) -> Option<String> {
    match s.spec.netmask.filter(|m| !m.is_full())? {
        Netmask::Mask(mask) => Some(mask.to_string()),
        Netmask::Prefix(prefix) => Some(prefix.to_string()),
    }
}

const fn method(d: &Dest) -> &'static str {
    match d.spec.method {
        Method::Masq => "Masq",
        Method::Tunnel => "Tunnel",
        Method::Droute => "Route",
    }
}

fn tunnel_info(d: &Dest) -> String {
    let checksum = |t: Tunnel| match t.checksum {
        TunnelChecksum::None => "-c",
        TunnelChecksum::Full => "+c",
        TunnelChecksum::Remote => "r+c",
    };
    match (d.spec.method, d.spec.tunnel) {
        (Method::Masq | Method::Droute, _) => "n/a".to_owned(),
        (Method::Tunnel, None) => "ipip".to_owned(),
        (Method::Tunnel, Some(t)) => match t.kind {
            TunnelKind::Ipip => "ipip".to_owned(),
            TunnelKind::Gue => format!("gue:{}:{}", t.port, checksum(t)),
            TunnelKind::Gre => format!("gre:{}", checksum(t)),
        },
    }
}

const fn stats(s: &Stats) -> [u64; 5] {
    [
        s.conns,
        s.in_packets,
        s.out_packets,
        s.in_bytes,
        s.out_bytes,
    ]
}

const fn rates(r: &Rates) -> [u64; 5] {
    [
        r.conns,
        r.in_packets,
        r.out_packets,
        r.in_bytes,
        r.out_bytes,
    ]
}

fn large_numbers<const N: usize>(numbers: [u64; N], exact: bool) -> String {
    numbers.map(|n| large_number(n, exact)).concat()
}

/// Nine columns with a leading blank; what does not fit is told in thousands and so on, rounded down.
fn large_number(n: u64, exact: bool) -> String {
    if exact {
        return format!(" {n:>8}");
    }
    match n {
        0..100_000_000 => format!("{n:>9}"),
        100_000_000..1_000_000_000 => format!("{:>8}K", n / 1_000),
        1_000_000_000..100_000_000_000 => format!("{:>8}M", n / 1_000_000),
        100_000_000_000..100_000_000_000_000 => format!("{:>8}G", n / 1_000_000_000),
        100_000_000_000_000.. => format!("{:>8}T", n / 1_000_000_000_000),
    }
}

/// Names of IPv4 addresses do not leave their column.
fn cut(mut name: String, width: usize, address: SocketAddr) -> String {
    if address.is_ipv4()
        && let Some((end, _)) = name.char_indices().nth(width)
    {
        name.truncate(end);
    }
    name
}
