//! Knobs and timeouts, on the wire and in the director.

use ipvs_common::{Settings, State};

use super::{
    error,
    wire::{self, ErrorCode},
};
use crate::{
    director::SetTimeoutsError,
    sysctl::{SysctlError, SysctlView},
    timeouts::Timeouts,
};

/// Timeouts in seconds from those of the settings in ticks.
pub(in crate::api) fn timeouts(s: &Settings) -> wire::Timeouts {
    let seconds = |state: State| s.timeouts[state as usize] / s.hz.max(1);
    wire::Timeouts {
        tcp: seconds(State::Established),
        tcp_fin: seconds(State::FinWait),
        udp: seconds(State::Udp),
    }
}

pub(in crate::api) const fn timeout_changes(c: wire::TimeoutChanges) -> Timeouts {
    Timeouts {
        tcp: c.tcp,
        tcp_fin: c.tcp_fin,
        udp: c.udp,
    }
}

pub(in crate::api) const fn shown_timeouts(t: Timeouts) -> wire::TimeoutChanges {
    wire::TimeoutChanges {
        tcp: t.tcp,
        tcp_fin: t.tcp_fin,
        udp: t.udp,
    }
}

pub(in crate::api) fn timeouts_error(e: &SetTimeoutsError) -> wire::Error {
    let code = match e {
        SetTimeoutsError::Range(_) => ErrorCode::Range,
        SetTimeoutsError::Tables(_) => ErrorCode::Tables,
    };
    error(code, e.to_string())
}

pub(in crate::api) fn sysctl(v: &SysctlView) -> wire::Sysctl {
    wire::Sysctl {
        name: v.name.to_owned(),
        value: v.value.clone(),
        default: v.default.to_owned(),
        range: v.range.to_string(),
        doc: v.doc.to_owned(),
        why_not: v.why_not.map(str::to_owned),
    }
}

pub(in crate::api) fn sysctl_value(v: &wire::SysctlValue) -> String {
    match v {
        wire::SysctlValue::Number(n) => n.to_string(),
        wire::SysctlValue::Text(text) => text.clone(),
    }
}

/// `count` is how many knobs were to be set.
pub(in crate::api) fn sysctl_error(e: &SysctlError, count: usize) -> wire::Error {
    let code = match e {
        SysctlError::Unknown { .. } => ErrorCode::UnknownSysctl,
        SysctlError::Range { .. } => ErrorCode::Range,
        SysctlError::DoesNotApply { .. } => ErrorCode::DoesNotApply,
        SysctlError::Tables(_) => ErrorCode::Tables,
    };
    let message = match count {
        1 => e.to_string(),
        _ => format!("{e}; none of the {count} was set"),
    };
    error(code, message)
}
