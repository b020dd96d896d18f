//! `-S`: the table as commands. Thresholds are not among them, as in the original.

use std::{fmt::Write as _, net::SocketAddr};

use super::{
    list::partial_mask,
    names::{Names, address_port},
    parse::transport,
    sort,
};
use crate::api::wire::{Dest, Method, Service, ServiceId, TunnelChecksum, TunnelKind};

pub(super) fn rules(mut list: Vec<Service>, names: &dyn Names, numeric: bool) -> String {
    sort::services(&mut list);
    let mut text = String::new();
    for mut s in list {
        sort::dests(&mut s.dests);
        let name = |a: SocketAddr| address_port(names, numeric, a, transport(s.service));
        let service = match s.service {
            ServiceId::Tcp(a) => format!("-t {}", name(a)),
            ServiceId::Udp(a) => format!("-u {}", name(a)),
            ServiceId::Sctp(a) => format!("--sctp-service {}", name(a)),
            ServiceId::Fwmark(mark) => format!("-f {mark}"),
            ServiceId::Fwmark6(mark) => format!("-f {mark} -6"),
        };
        text += &service_rule(&s, &service);
        for d in &s.dests {
            text += &dest_rule(d, &service, &name(d.address));
        }
    }
    text
}

fn service_rule(s: &Service, service: &str) -> String {
    let mut rule = format!("-A {service} -s {}", s.spec.scheduler);
    if let Some(seconds) = s.spec.persistent {
        // Writing to a string cannot fail.
        let _ = write!(rule, " -p {seconds}");
        if let Some(mask) = partial_mask(s) {
            let _ = write!(rule, " -M {mask}");
        }
    }
    if let Some(engine) = &s.spec.engine {
        let _ = write!(rule, " --pe {engine}");
    }
    if s.spec.one_packet {
        rule += " -o";
    }
    if !s.spec.sched_flags.is_empty() {
        let _ = write!(rule, " -b {}", s.spec.sched_flags.join(","));
    }
    rule + "\n"
}

fn dest_rule(d: &Dest, service: &str, real: &str) -> String {
    let (method, tunnel) = match d.spec.method {
        Method::Droute => ("-g", String::new()),
        Method::Tunnel => ("-i", tunnel_rule(d)),
        Method::Masq => ("-m", String::new()),
    };
    let weight = d.spec.weight;
    format!("-a {service} -r {real} {method} -w {weight}{tunnel}\n")
}

fn tunnel_rule(d: &Dest) -> String {
    let Some(t) = d.spec.tunnel else {
        return " --tun-type ipip".to_owned();
    };
    let checksum = match t.checksum {
        TunnelChecksum::None => "--tun-nocsum",
        TunnelChecksum::Full => "--tun-csum",
        TunnelChecksum::Remote => "--tun-remcsum",
    };
    match t.kind {
        TunnelKind::Ipip => " --tun-type ipip".to_owned(),
        TunnelKind::Gue => format!(" --tun-type gue --tun-port {} {checksum}", t.port),
        TunnelKind::Gre => format!(" --tun-type gre {checksum}"),
    }
}
