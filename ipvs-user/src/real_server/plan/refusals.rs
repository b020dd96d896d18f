//! What would do harm.

use std::net::IpAddr;

use super::tunnels;
use crate::real_server::{
    facts::{Address, Facts, Gateway, Link, Medium},
    refusal::{Refusal, network},
    wanted::{Family, Method, Wanted},
};

pub(super) fn all(wanted: &Wanted, facts: &Facts) -> Vec<Refusal> {
    let mut all: Vec<_> = interfaces(wanted, facts).collect();
    all.extend(wanted.director.and_then(|d| director(d, facts)));
    for vip in &wanted.vips {
        let of_vip = match wanted.method {
            Method::Masq => is_director(wanted, *vip).or_else(|| masq(wanted, *vip, facts)),
            Method::Dr | Method::Tunnel => is_director(wanted, *vip)
                .or_else(|| taken(*vip, facts))
                .or_else(|| gateway(*vip, facts))
                .or_else(|| no_ipv6(wanted, *vip, facts)),
        };
        all.extend(of_vip);
    }
    if wanted.method == Method::Masq {
        all.extend(wrong_gateway(wanted, facts));
    }
    all.extend(tunnels::refusals(wanted, facts));
    all
}

fn interfaces<'a>(wanted: &'a Wanted, facts: &'a Facts) -> impl Iterator<Item = Refusal> + 'a {
    let there = || {
        let names: Vec<_> = facts.links.iter().map(|l| l.name.as_str()).collect();
        names.join(", ")
    };
    let absent = move |option, name: &String| Refusal::NoInterface {
        option,
        name: name.clone(),
        there: there(),
    };
    let device = match facts.link(&wanted.device) {
        _ if wanted.method == Method::Masq => None,
        None => Some(absent("device", &wanted.device)),
        Some(l) if l.medium != Medium::Silent => Some(Refusal::Answers(l.name.clone())),
        Some(_) => None,
    };
    let named = wanted.interfaces.iter();
    let named = named.filter(|name| facts.link(name).is_none());
    device
        .into_iter()
        .chain(named.map(move |name| absent("interface", name)))
}

fn director(director: IpAddr, facts: &Facts) -> Option<Refusal> {
    if let Some((_, link)) = on(director, facts).next() {
        let device = link.name.clone();
        return Some(Refusal::DirectorIsHere { director, device });
    }
    let way = facts.towards_director;
    way.is_none().then_some(Refusal::NoWay(director))
}

/// Those of earlier calls are among the virtual addresses, and so is their director.
fn is_director(wanted: &Wanted, vip: IpAddr) -> Option<Refusal> {
    (wanted.director == Some(vip)).then_some(Refusal::IsDirector { vip })
}

/// Where an address is, if it is on this machine.
fn on(vip: IpAddr, facts: &Facts) -> impl Iterator<Item = (&Address, &Link)> {
    let all = facts.addresses.iter().filter(move |a| a.address == vip);
    all.filter_map(|a| Some((a, facts.by_index(a.index)?)))
}

/// The address is somewhere where it does harm.
fn taken(vip: IpAddr, facts: &Facts) -> Option<Refusal> {
    on(vip, facts).find_map(|(address, link)| {
        let device = link.name.clone();
        let prefix = address.prefix;
        if link.medium != Medium::Silent {
            return Some(if is_primary(address, facts) {
                Refusal::OwnAddress { vip, device }
            } else {
                Refusal::OnInterface {
                    vip,
                    prefix,
                    device,
                }
            });
        }
        let network = network(vip, prefix);
        (prefix != Family::of(vip).bits()).then_some(Refusal::IsWide {
            vip,
            prefix,
            network,
            device,
        })
    })
}

/// The kernel lists the address first by which the interface is known.
fn is_primary(address: &Address, facts: &Facts) -> bool {
    let family = Family::of(address.address);
    let mut all = facts.own(family).filter(|a| a.index == address.index);
    all.next().is_none_or(|a| a.address == address.address)
}

fn gateway(vip: IpAddr, facts: &Facts) -> Option<Refusal> {
    let route = facts.routes.iter().find(|r| r.by == vip)?;
    let which = if route.default {
        "the default route"
    } else {
        "a route"
    };
    let route = format!("{which} on {}", facts.name(route.index));
    Some(Refusal::Gateway { vip, route })
}

fn no_ipv6(wanted: &Wanted, vip: IpAddr, facts: &Facts) -> Option<Refusal> {
    if Family::of(vip) == Family::V4 {
        return None;
    }
    let off = |interface: &str| {
        let path = crate::real_server::facts::path(Family::V6, interface, "disable_ipv6");
        facts.settings.get(&path).map(|v| v != "0")
    };
    match off(&wanted.device) {
        None => Some(Refusal::KernelWithoutIpv6(vip)),
        Some(true) => Some(Refusal::NoIpv6(vip, wanted.device.clone())),
        Some(false) => None,
    }
}

fn masq(wanted: &Wanted, vip: IpAddr, facts: &Facts) -> Option<Refusal> {
    if let Some((address, link)) = on(vip, facts).next() {
        return Some(Refusal::HasVip {
            vip,
            prefix: address.prefix,
            device: link.name.clone(),
        });
    }
    let director = wanted.director?;
    let family = Family::of(director);
    (Family::of(vip) != family).then_some(Refusal::OtherFamily {
        director,
        family,
        vip,
    })
}

fn wrong_gateway(wanted: &Wanted, facts: &Facts) -> Option<Refusal> {
    let director = wanted.director?;
    let family = Family::of(director);
    let route = facts.default_route(family);
    if route.is_some_and(|r| r.by == director) {
        return None;
    }
    let by = |r: &Gateway| format!("by {} on {}", r.by, facts.name(r.index));
    Some(Refusal::WrongGateway {
        family,
        found: route.map_or_else(|| "nowhere by a gateway".to_owned(), by),
        director,
    })
}

/// For those who ask what is right.
pub(super) fn gateway_is_right(wanted: &Wanted, facts: &Facts) -> Option<String> {
    let director = wanted.director?;
    wrong_gateway(wanted, facts)
        .is_none()
        .then(|| format!("the default route goes by the director, {director}"))
}
