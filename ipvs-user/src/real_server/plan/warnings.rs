//! What is not this command's to change, and may stand in the way nevertheless.

use std::net::{IpAddr, Ipv6Addr};

use super::STRICT;
use crate::real_server::{
    facts::{Facts, Medium},
    refusal::network,
    wanted::{Family, Method, Wanted},
};

pub(super) fn all(wanted: &Wanted, facts: &Facts) -> Vec<String> {
    let mut all = Vec::new();
    match wanted.method {
        Method::Masq => all.extend(neighbours(wanted, facts)),
        Method::Dr | Method::Tunnel => {
            all.extend(wanted.vips.iter().filter_map(|vip| nobody(*vip, facts)));
            all.extend(strict(wanted, facts));
        }
    }
    all
}

/// Whether a socket there hears of packets to the address.
fn hears(on: IpAddr, vip: IpAddr) -> bool {
    // What waits on `::` takes IPv4 as well, unless it was told otherwise, which is not to be seen.
    on == vip || on == IpAddr::V6(Ipv6Addr::UNSPECIFIED) || on.is_unspecified() && vip.is_ipv4()
}

/// No service waits for packets to the address, or one only on another address.
fn nobody(vip: IpAddr, facts: &Facts) -> Option<String> {
    let listeners = facts.listeners.iter();
    let others = listeners.clone().filter(|l| !l.ip().is_loopback());
    let elsewhere = others.filter(|l| {
        let mut same = facts.listeners.iter().filter(|s| s.port() == l.port());
        Family::of(l.ip()) == Family::of(vip) && !same.any(|s| hears(s.ip(), vip))
    });
    let elsewhere: Vec<_> = elsewhere.map(ToString::to_string).collect();
    if !elsewhere.is_empty() {
        return Some(format!(
            "what listens on {} alone hears nothing of packets to {vip}: if that is the service, have it listen there too, or on \
             every address",
            elsewhere.join(", ")
        ));
    }
    let heard = facts.listeners.iter().any(|l| hears(l.ip(), vip));
    (!heard).then(|| {
        format!("no service listens on {vip}, or on every address: clients will be refused")
    })
}

/// Packets of direct routing may come in by an interface that nobody named.
fn strict(wanted: &Wanted, facts: &Facts) -> Vec<String> {
    if wanted.method != Method::Dr || wanted.director.is_some() || !wanted.has(Family::V4) {
        return Vec::new();
    }
    let Some(out) = facts.default_route(Family::V4) else {
        return Vec::new();
    };
    let others = facts.links.iter().filter(|l| {
        l.medium == Medium::Ethernet
            && l.index != out.index
            && facts.own(Family::V4).any(|a| a.index == l.index)
    });
    others
        .filter(|l| facts.in_force(&l.name, "rp_filter") == STRICT)
        .map(|l| {
            format!(
                "net.ipv4.conf.{0}.rp_filter is strict, and answers go out by {1}: if the director's packets come in by {0}, \
                 name the director (--director)",
                l.name,
                facts.name(out.index)
            )
        })
        .collect()
}

/// Answers to clients on the same link do not pass the director.
fn neighbours(wanted: &Wanted, facts: &Facts) -> Vec<String> {
    let Some(director) = wanted.director else {
        return Vec::new();
    };
    let family = Family::of(director);
    let wide = facts.own(family).filter(|a| a.prefix < family.bits());
    wide.map(|a| {
        format!(
            "clients in {} get answers directly, not by the director, and will not know them: they need another way \
             (a route to {} by the director on this machine, or direct routing)",
            network(a.address, a.prefix),
            network(a.address, a.prefix)
        )
    })
    .collect()
}
