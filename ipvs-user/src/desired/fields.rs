//! What of a service and of a real server may differ, under the names of the configuration file.

use ipvs_common::{Policy, ServiceFlags};

use crate::{
    model::{DestSpec, Engine, OnDead, ServiceSpec, Tunnel, TunnelChecksum},
    sched_flags,
};

/// One thing that is said of an `S`.
pub(super) struct Field<S> {
    pub(super) name: &'static str,
    /// For a person, and for comparing.
    pub(super) text: fn(&S) -> String,
    /// Puts what the second one says into the first one.
    pub(super) put: fn(&mut S, &S),
}

pub(super) const SERVICE: [Field<ServiceSpec>; 8] = [
    Field {
        name: "scheduler",
        text: scheduler,
        put: put_scheduler,
    },
    Field {
        name: "persistent",
        text: |s| {
            s.persistent
                .map_or_else(|| "false".to_owned(), |seconds| seconds.to_string())
        },
        put: |s, other| s.persistent = other.persistent,
    },
    Field {
        name: "netmask",
        text: |s| format!("/{}", s.prefix),
        put: |s, other| s.prefix = other.prefix,
    },
    Field {
        name: "engine",
        text: |s| s.engine.map_or("none", Engine::name).to_owned(),
        put: |s, other| s.engine = other.engine,
    },
    Field {
        name: "one_packet",
        text: |s| (s.flags & ServiceFlags::ONE_PACKET != 0).to_string(),
        put: |s, other| s.flags = mixed(s.flags, other.flags, ServiceFlags::ONE_PACKET),
    },
    Field {
        name: "on_dead",
        text: |s| OnDead::of(s.policy).name().to_owned(),
        put: |s, other| s.policy = mixed(s.policy, other.policy, OnDead::MASK),
    },
    Field {
        name: "reopen",
        text: |s| (s.policy & Policy::REOPEN != 0).to_string(),
        put: |s, other| s.policy = mixed(s.policy, other.policy, Policy::REOPEN),
    },
    Field {
        name: "templates_die",
        text: |s| (s.policy & Policy::TEMPLATES_DIE != 0).to_string(),
        put: |s, other| s.policy = mixed(s.policy, other.policy, Policy::TEMPLATES_DIE),
    },
];

pub(super) const DEST: [Field<DestSpec>; 5] = [
    Field {
        name: "method",
        text: |s| s.method.name().to_owned(),
        put: |s, other| s.method = other.method,
    },
    Field {
        name: "weight",
        text: |s| s.weight.to_string(),
        put: |s, other| s.weight = other.weight,
    },
    Field {
        name: "upper_threshold",
        text: |s| s.upper.to_string(),
        put: |s, other| s.upper = other.upper,
    },
    Field {
        name: "lower_threshold",
        text: |s| s.lower.to_string(),
        put: |s, other| s.lower = other.lower,
    },
    Field {
        name: "tunnel",
        text: |s| tunnel(s.tunnel),
        put: |s, other| s.tunnel = other.tunnel,
    },
];

/// With its flags, which mean nothing without it.
fn scheduler(s: &ServiceSpec) -> String {
    let flags = sched_flags::names(s.flags, s.scheduler);
    if flags.is_empty() {
        return s.scheduler.name().to_owned();
    }
    format!("{} ({})", s.scheduler.name(), flags.join(", "))
}

/// Its options make sense together.
fn tunnel(t: Tunnel) -> String {
    let (kind, checksum) = (t.kind.name(), t.checksum.name());
    match (t.port, t.checksum) {
        (0, TunnelChecksum::None) => kind.to_owned(),
        (0, _) => format!("{kind}, checksum {checksum}"),
        (port, _) => format!("{kind} port {port}, checksum {checksum}"),
    }
}

const fn put_scheduler(s: &mut ServiceSpec, other: &ServiceSpec) {
    s.scheduler = other.scheduler;
    s.flags = mixed(other.flags, s.flags, ServiceFlags::ONE_PACKET);
}

/// The bits of `mask` from `b`, the others from `a`.
const fn mixed(a: u8, b: u8, mask: u8) -> u8 {
    a & !mask | b & mask
}
