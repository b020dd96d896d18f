//! `-S`: the table as commands. Thresholds are not among them, as in the original.

use std::{fmt::Write as _, net::SocketAddrV4};

use super::{
    names::{Names, address_port},
    parse::transport,
    sort,
};
use crate::api::wire::{Dest, Method, Service, ServiceId, full_netmask};

pub(super) fn rules(mut list: Vec<Service>, names: &dyn Names, numeric: bool) -> String {
    sort::services(&mut list);
    let mut text = String::new();
    for mut s in list {
        sort::dests(&mut s.dests);
        let name =
            |a: SocketAddrV4| address_port(names, numeric, *a.ip(), a.port(), transport(s.service));
        let service = match s.service {
            ServiceId::Tcp(a) => format!("-t {}", name(a)),
            ServiceId::Udp(a) => format!("-u {}", name(a)),
            ServiceId::Fwmark(mark) => format!("-f {mark}"),
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
        if s.spec.netmask != full_netmask() {
            let _ = write!(rule, " -M {}", s.spec.netmask);
        }
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
        Method::Droute => ("-g", ""),
        Method::Tunnel => ("-i", " --tun-type ipip"),
        Method::Masq => ("-m", ""),
    };
    let weight = d.spec.weight;
    format!("-a {service} -r {real} {method} -w {weight}{tunnel}\n")
}
