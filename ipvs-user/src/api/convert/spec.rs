//! How a service works, on the wire and in the model.

use std::net::Ipv4Addr;

use ipvs_common::{Policy, Scheduler, ServiceFlags};

use super::{
    error,
    wire::{self, ErrorCode},
};
use crate::{
    model::{OnDead, ServiceSpec},
    sched_flags,
};

pub(super) fn service_spec(s: &wire::ServiceSpec) -> Result<ServiceSpec, wire::Error> {
    let scheduler = Scheduler::from_name(&s.scheduler).ok_or_else(|| {
        let known = Scheduler::NAMES.join(", ");
        error(
            ErrorCode::UnknownScheduler,
            format!("no scheduler `{}`; there are {known}", s.scheduler),
        )
    })?;
    let bits = u32::from(s.netmask);
    if bits.leading_ones() != bits.count_ones() {
        return Err(error(
            ErrorCode::Invalid,
            format!(
                "netmask {} has holes; only prefixes are possible",
                s.netmask
            ),
        ));
    }
    Ok(ServiceSpec {
        scheduler,
        persistent: s.persistent,
        prefix: bits.count_ones() as u8,
        flags: flags(s, scheduler)?,
        policy: policy(s),
    })
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

pub(super) fn shown(s: &ServiceSpec) -> wire::ServiceSpec {
    let all = u32::MAX.checked_shl(32 - u32::from(s.prefix)).unwrap_or(0);
    let names = sched_flags::names(s.flags, s.scheduler);
    wire::ServiceSpec {
        scheduler: s.scheduler.name().to_owned(),
        persistent: s.persistent,
        netmask: Ipv4Addr::from(all),
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
