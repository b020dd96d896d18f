//! How a service and a real server work, on the wire and in the model.

use std::net::Ipv4Addr;

use ipvs_common::{ForwardingMethod, Policy, Scheduler, ServiceFlags};

use super::{
    error,
    wire::{self, ErrorCode},
};
use crate::{
    model::{DestSpec, Engine, OnDead, ServiceSpec, Tunnel, TunnelChecksum, TunnelKind},
    sched_flags,
};

pub(super) fn service_spec(
    of: wire::ServiceId,
    s: &wire::ServiceSpec,
) -> Result<ServiceSpec, wire::Error> {
    let scheduler = Scheduler::from_name(&s.scheduler).ok_or_else(|| {
        let known = Scheduler::NAMES.join(", ");
        error(
            ErrorCode::UnknownScheduler,
            format!("no scheduler `{}`; there are {known}", s.scheduler),
        )
    })?;
    Ok(ServiceSpec {
        scheduler,
        persistent: s.persistent,
        prefix: prefix(of, s.netmask)?,
        flags: flags(s, scheduler)?,
        policy: policy(s),
        engine: engine(s.engine.as_deref())?,
    })
}

fn engine(name: Option<&str>) -> Result<Option<Engine>, wire::Error> {
    let unknown = |name| {
        let known = Engine::NAMES.join(", ");
        let message = format!("no persistence engine `{name}`; there is {known}");
        error(ErrorCode::UnknownEngine, message)
    };
    let engine = name.map(|name| Engine::from_name(name).ok_or_else(|| unknown(name)));
    engine.transpose()
}

fn prefix(of: wire::ServiceId, mask: Option<wire::Netmask>) -> Result<u8, wire::Error> {
    let invalid = |message| Err(error(ErrorCode::Invalid, message));
    match (of.is_v6(), mask) {
        (false, None) => Ok(ServiceSpec::FULL_PREFIX),
        (true, None) => Ok(ServiceSpec::FULL_PREFIX_V6),
        (false, Some(wire::Netmask::Mask(mask))) => {
            let bits = u32::from(mask);
            if bits.leading_ones() == bits.count_ones() {
                return Ok(bits.count_ones() as u8);
            }
            invalid(format!(
                "netmask {mask} has holes; only prefixes are possible"
            ))
        }
        (true, Some(wire::Netmask::Prefix(prefix))) => Ok(prefix),
        (false, Some(wire::Netmask::Prefix(prefix))) => invalid(format!(
            "netmask {prefix} of an IPv4 service: write it like 255.255.255.0"
        )),
        (true, Some(wire::Netmask::Mask(mask))) => invalid(format!(
            "netmask {mask} of an IPv6 service: write a prefix length"
        )),
    }
}

fn flags(s: &wire::ServiceSpec, scheduler: Scheduler) -> Result<u8, wire::Error> {
    let one_packet = if s.one_packet {
        ServiceFlags::ONE_PACKET
    } else {
        0
    };
    let names = s.sched_flags.iter().map(String::as_str);
    let own = sched_flags::bits(names, scheduler.name());
    Ok(one_packet | own.map_err(|e| error(ErrorCode::Invalid, e.to_string()))?)
}

/// What is said of policies.
fn policy(s: &wire::ServiceSpec) -> u8 {
    let on_dead = s.on_dead.map_or(0, |o| match o {
        wire::OnDead::Kernel => OnDead::Kernel.bits(),
        wire::OnDead::Reset => OnDead::Reset.bits(),
        wire::OnDead::Reschedule => OnDead::Reschedule.bits(),
    });
    let bit = |set: Option<bool>, bit| if set == Some(true) { bit } else { 0 };
    on_dead | bit(s.reopen, Policy::REOPEN) | bit(s.templates_die, Policy::TEMPLATES_DIE)
}

/// Those that nothing is said of: an edit leaves them as they are.
pub(super) fn unsaid_policies(s: &wire::ServiceSpec) -> u8 {
    [
        (s.on_dead.is_none(), OnDead::MASK),
        (s.reopen.is_none(), Policy::REOPEN),
        (s.templates_die.is_none(), Policy::TEMPLATES_DIE),
    ]
    .into_iter()
    .filter(|(unsaid, _)| *unsaid)
    .fold(0, |bits, (_, bit)| bits | bit)
}

pub(super) fn shown(of: wire::ServiceId, s: &ServiceSpec) -> wire::ServiceSpec {
    let names = sched_flags::names(s.flags, s.scheduler);
    wire::ServiceSpec {
        scheduler: s.scheduler.name().to_owned(),
        persistent: s.persistent,
        netmask: Some(netmask(of, s.prefix)).filter(|m| !m.is_full()),
        engine: s.engine.map(|e| e.name().to_owned()),
        one_packet: s.flags & ServiceFlags::ONE_PACKET != 0,
        sched_flags: names.into_iter().map(str::to_owned).collect(),
        on_dead: Some(match OnDead::of(s.policy) {
            OnDead::Kernel => wire::OnDead::Kernel,
            OnDead::Reset => wire::OnDead::Reset,
            OnDead::Reschedule => wire::OnDead::Reschedule,
        }),
        reopen: Some(s.policy & Policy::REOPEN != 0),
        templates_die: Some(s.policy & Policy::TEMPLATES_DIE != 0),
    }
}

fn netmask(of: wire::ServiceId, prefix: u8) -> wire::Netmask {
    if of.is_v6() {
        return wire::Netmask::Prefix(prefix);
    }
    let host = u32::from(ServiceSpec::FULL_PREFIX.saturating_sub(prefix));
    wire::Netmask::Mask(Ipv4Addr::from(u32::MAX.checked_shl(host).unwrap_or(0)))
}

pub(super) fn dest_spec(s: &wire::DestSpec) -> DestSpec {
    DestSpec {
        method: match s.method {
            wire::Method::Masq => ForwardingMethod::Masq,
            wire::Method::Tunnel => ForwardingMethod::Tunnel,
            wire::Method::Droute => ForwardingMethod::Droute,
        },
        weight: s.weight,
        upper: s.upper_threshold,
        lower: s.lower_threshold,
        tunnel: s.tunnel.map_or(Tunnel::IPIP, tunnel),
    }
}

const fn tunnel(t: wire::Tunnel) -> Tunnel {
    Tunnel {
        kind: match t.kind {
            wire::TunnelKind::Ipip => TunnelKind::Ipip,
            wire::TunnelKind::Gue => TunnelKind::Gue,
            wire::TunnelKind::Gre => TunnelKind::Gre,
        },
        port: t.port,
        checksum: match t.checksum {
            wire::TunnelChecksum::None => TunnelChecksum::None,
            wire::TunnelChecksum::Full => TunnelChecksum::Full,
            wire::TunnelChecksum::Remote => TunnelChecksum::Remote,
        },
    }
}

/// IP in IP is not said.
pub(super) fn dest_shown(s: &DestSpec) -> wire::DestSpec {
    wire::DestSpec {
        method: match s.method {
            ForwardingMethod::Masq => wire::Method::Masq,
            ForwardingMethod::Tunnel => wire::Method::Tunnel,
            ForwardingMethod::Droute => wire::Method::Droute,
        },
        weight: s.weight,
        upper_threshold: s.upper,
        lower_threshold: s.lower,
        tunnel: (s.tunnel != Tunnel::IPIP).then(|| tunnel_shown(s.tunnel)),
    }
}

const fn tunnel_shown(t: Tunnel) -> wire::Tunnel {
    wire::Tunnel {
        kind: match t.kind {
            TunnelKind::Ipip => wire::TunnelKind::Ipip,
            TunnelKind::Gue => wire::TunnelKind::Gue,
            TunnelKind::Gre => wire::TunnelKind::Gre,
        },
        port: t.port,
        checksum: match t.checksum {
            TunnelChecksum::None => wire::TunnelChecksum::None,
            TunnelChecksum::Full => wire::TunnelChecksum::Full,
            TunnelChecksum::Remote => wire::TunnelChecksum::Remote,
        },
    }
}
