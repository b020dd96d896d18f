//! The switches of a `[[service]]`: one-packet scheduling, the scheduler's flags, and where it may do better than ip_vs.

use ipvs_common::{Policy, Proto, Scheduler, ServiceFlags, ServiceKey};

use super::super::{
    problems::Problems,
    section::{Section, suggestion},
};
use crate::{
    model::{Engine, OnDead, protocol_name},
    sched_flags::{self, SchedFlagError},
};

pub(super) fn flags(
    section: &Section<'_>,
    service: Option<ServiceKey>,
    scheduler: Option<Scheduler>,
    problems: &mut Problems<'_>,
) -> u8 {
    one_packet(section, service, problems) | of_scheduler(section, scheduler, problems)
}

fn one_packet(
    section: &Section<'_>,
    service: Option<ServiceKey>,
    problems: &mut Problems<'_>,
) -> u8 {
    let Some(found) = section.boolean("one_packet", problems).filter(|f| f.value) else {
        return 0;
    };
    if let Some(service) = service.filter(|s| s.mark == 0 && s.proto != Proto::Udp as u8) {
        let protocol = protocol_name(service.proto);
        problems.report(
            found.span,
            format!("one_packet is for udp and fwmark services, not for {protocol}"),
            "leave it out: the segments of a connection have to stay together",
        );
    }
    ServiceFlags::ONE_PACKET
}

/// Of a scheduler that was not understood, nobody knows the flags.
fn of_scheduler(
    section: &Section<'_>,
    scheduler: Option<Scheduler>,
    problems: &mut Problems<'_>,
) -> u8 {
    let given = section.strings("sched_flags", problems);
    let Some(scheduler) = scheduler else {
        return 0;
    };
    let mut bits = 0;
    for found in given {
        match sched_flags::bit(found.value, scheduler.name()) {
            Ok(bit) => bits |= bit,
            Err(e) => {
                let hint = match &e {
                    SchedFlagError::Unknown { flag } => {
                        suggestion(flag, &sched_flags::known(scheduler.name()))
                    }
                    SchedFlagError::Incompatible { of, .. } => {
                        let known = sched_flags::known(scheduler.name()).join(", ");
                        format!("write scheduler = \"{}\", or one of {known}", of.name())
                    }
                };
                problems.report(found.span, e.to_string(), hint);
            }
        }
    }
    bits
}

pub(super) fn policy(section: &Section<'_>, problems: &mut Problems<'_>) -> u8 {
    let mut switch = |key, bit| match section.boolean(key, problems) {
        Some(found) if found.value => bit,
        Some(_) | None => 0,
    };
    let switches =
        switch("reopen", Policy::REOPEN) | switch("templates_die", Policy::TEMPLATES_DIE);
    switches | on_dead(section, problems).map_or(0, OnDead::bits)
}

fn on_dead(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<OnDead> {
    let found = section.string("on_dead", problems)?;
    let on_dead = OnDead::from_name(found.value);
    if on_dead.is_none() {
        let message = format!("no way on_dead = `{}`", found.value);
        let names = OnDead::ALL.map(OnDead::name);
        problems.report(found.span, message, suggestion(found.value, &names));
    }
    on_dead
}

pub(super) fn engine(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<Engine> {
    let found = section.string("persistence_engine", problems)?;
    let engine = Engine::from_name(found.value);
    if engine.is_none() {
        let message = format!("no persistence engine `{}`", found.value);
        problems.report(found.span, message, suggestion(found.value, &Engine::NAMES));
    }
    engine
}
