//! Between the wire and the model. The only place that knows both.

mod commands;
mod desired;
mod knobs;
mod matches;
mod spec;
mod sync;

use std::{net::SocketAddr, num::NonZeroU32};

use ipvs_common::{Proto, ServiceKey, Stats};

use super::wire::{self, ErrorCode};
use crate::{
    dataplane::TableError,
    director::{
        Connection, DestView, Director, DirectorError, ExpectError, Expectation, Rates, ServiceView,
    },
    model::{Command, DestKey, ModelError},
    reconcile::ReconcileError,
};
pub(super) use commands::{command, shown_command};
pub(super) use desired::{
    change, config, interface_rows, moved, restart_rows, shown_config, shown_service,
    together_error,
};
pub(super) use knobs::{
    shown_timeouts, sysctl, sysctl_error, sysctl_value, timeout_changes, timeouts, timeouts_error,
};
pub(super) use matches::shown_rules;
pub(super) use sync::{sync_config, sync_daemon, sync_error, sync_role};

pub(super) fn error(code: ErrorCode, message: impl Into<String>) -> wire::Error {
    wire::Error {
        code,
        message: message.into(),
        command: None,
    }
}

pub(super) fn service_key(id: wire::ServiceId) -> Result<ServiceKey, wire::Error> {
    let of = |proto: u8, a: SocketAddr| {
        plain(a)?;
        Ok(ServiceKey {
            addr: a.ip().into(),
            port: a.port().to_be_bytes(),
            proto,
            ..ServiceKey::default()
        })
    };
    match id {
        wire::ServiceId::Tcp(a) => of(Proto::Tcp as u8, a),
        wire::ServiceId::Udp(a) => of(Proto::Udp as u8, a),
        wire::ServiceId::Sctp(a) => of(Proto::Sctp as u8, a),
        wire::ServiceId::Fwmark(mark) => Ok(ServiceKey::fwmark(mark.get())),
        wire::ServiceId::Fwmark6(mark) => Ok(ServiceKey::fwmark6(mark.get())),
    }
}

/// Refuses IPv6 addresses that say more than an address, or that are an IPv4 address in disguise.
fn plain(a: SocketAddr) -> Result<(), wire::Error> {
    let SocketAddr::V6(v6) = a else {
        return Ok(());
    };
    let wrong = if v6.scope_id() != 0 {
        "an address with a zone"
    } else if v6.ip().to_ipv4_mapped().is_some() {
        "an IPv4 address: write it as one"
    } else {
        return Ok(());
    };
    Err(error(ErrorCode::Invalid, format!("{a} is {wrong}")))
}

fn dest_key(a: SocketAddr) -> Result<DestKey, wire::Error> {
    plain(a)?;
    Ok(a.into())
}

pub(super) fn service_id(key: &ServiceKey) -> wire::ServiceId {
    if let Some(mark) = NonZeroU32::new(key.mark) {
        return if key.addr.is_v4() {
            wire::ServiceId::Fwmark(mark)
        } else {
            wire::ServiceId::Fwmark6(mark)
        };
    }
    let address = SocketAddr::new(key.addr.ip(), u16::from_be_bytes(key.port));
    match Proto::from_number(key.proto) {
        Some(Proto::Udp) => wire::ServiceId::Udp(address),
        Some(Proto::Sctp) => wire::ServiceId::Sctp(address),
        // The model takes keys from `service_key` and the configuration only: there is no fourth protocol.
        Some(Proto::Tcp) | None => wire::ServiceId::Tcp(address),
    }
}

/// The service of a query; `None` if it asks for all.
pub(super) fn queried(q: &wire::ServiceQuery) -> Result<Option<ServiceKey>, wire::Error> {
    let ids = [
        q.tcp.map(wire::ServiceId::Tcp),
        q.udp.map(wire::ServiceId::Udp),
        q.sctp.map(wire::ServiceId::Sctp),
        q.fwmark.map(wire::ServiceId::Fwmark),
        q.fwmark6.map(wire::ServiceId::Fwmark6),
    ];
    let mut ids = ids.into_iter().flatten();
    match (ids.next(), ids.next()) {
        (_, Some(_)) => Err(error(
            ErrorCode::BadRequest,
            "only one of tcp, udp, sctp, fwmark and fwmark6 can be asked for",
        )),
        (id, None) => id.map(service_key).transpose(),
    }
}

pub(super) fn service(v: &ServiceView) -> wire::Service {
    let id = service_id(&v.key);
    wire::Service {
        service: id,
        spec: spec::shown(id, &v.spec),
        stats: stats(&v.stats),
        rates: rates(&v.rates),
        dests: v.dests.iter().map(dest).collect(),
    }
}

fn dest(v: &DestView) -> wire::Dest {
    wire::Dest {
        address: v.key.socket(),
        spec: spec::dest_shown(&v.spec),
        active: v.active,
        inactive: v.inactive,
        persistent: v.persistent,
        overloaded: v.overloaded,
        stats: stats(&v.stats),
        rates: rates(&v.rates),
    }
}

pub(super) fn totals(d: &Director) -> Result<wire::Totals, TableError> {
    Ok(wire::Totals {
        stats: stats(&d.totals()?),
        rates: rates(&d.total_rates()),
    })
}

const fn rates(r: &Rates) -> wire::Rates {
    wire::Rates {
        conns: r.conns,
        in_packets: r.in_packets,
        out_packets: r.out_packets,
        in_bytes: r.in_bytes,
        out_bytes: r.out_bytes,
    }
}

const fn stats(s: &Stats) -> wire::Stats {
    wire::Stats {
        conns: s.conns,
        in_packets: s.in_packets,
        out_packets: s.out_packets,
        in_bytes: s.in_bytes,
        out_bytes: s.out_bytes,
    }
}

pub(super) fn conn(c: &Connection) -> wire::Conn {
    wire::Conn {
        protocol: Proto::from_number(c.proto)
            .map_or("IP", Proto::name)
            .to_owned(),
        client: c.client,
        r#virtual: c.virt,
        real: c.real,
        state: c.state.to_owned(),
        expires: c.remaining,
        template: c.template,
        told: c.told,
        engine: None,
    }
}

pub(super) fn expectation(e: &wire::Expectation) -> Result<Expectation, wire::Error> {
    Ok(Expectation {
        protocol: match e.protocol {
            wire::Protocol::Tcp => Proto::Tcp,
            wire::Protocol::Udp => Proto::Udp,
            wire::Protocol::Sctp => Proto::Sctp,
        },
        client: e.client,
        virt: e.r#virtual,
        service: service_key(e.service)?,
        real: e.real.into(),
        timeout: e.timeout,
    })
}

pub(super) fn expect_error(e: &ExpectError) -> wire::Error {
    let code = match e {
        ExpectError::Refused(e) => model_code(e),
        ExpectError::Tables(_) => ErrorCode::Tables,
    };
    error(code, e.to_string())
}

/// All of a list.
pub(super) fn commands(list: &[wire::Command]) -> Result<Vec<Command>, wire::Error> {
    let numbered = list.iter().enumerate();
    let commands = numbered.map(|(i, c)| command(c).map_err(|e| of_list(e, i, list.len())));
    commands.collect()
}

/// Of how many commands it is about which, counted from 0: that is told if it is not the only one.
fn of_list(e: wire::Error, index: usize, count: usize) -> wire::Error {
    let number = index + 1;
    let message = match count {
        1 => e.message,
        _ => format!(
            "command {number} of {count}: {}; none was carried out",
            e.message
        ),
    };
    wire::Error {
        message,
        command: Some(number),
        ..e
    }
}

/// `count` is how many commands there were.
pub(super) fn director_error(e: &DirectorError, count: usize) -> wire::Error {
    match e {
        DirectorError::Refused { index, error: e } => {
            of_list(error(model_code(e), e.to_string()), *index, count)
        }
        DirectorError::NotCarried { index, error: e } => {
            of_list(error(ErrorCode::NotCarried, e.to_string()), *index, count)
        }
        DirectorError::Tables(
            e @ (ReconcileError::ListSpace { .. } | ReconcileError::TableSpace { .. }),
        ) => error(ErrorCode::Full, e.to_string()),
        DirectorError::Tables(e) => error(ErrorCode::Tables, e.to_string()),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the form that `map_err` takes"
)]
pub(super) fn table_error(e: TableError) -> wire::Error {
    error(ErrorCode::Tables, e.to_string())
}

const fn model_code(e: &ModelError) -> ErrorCode {
    match e {
        ModelError::ServiceExists(_) => ErrorCode::ServiceExists,
        ModelError::NoService(_) => ErrorCode::NoService,
        ModelError::ServiceUndefined(_) => ErrorCode::ServiceUndefined,
        ModelError::DestExists { .. } => ErrorCode::DestExists,
        ModelError::NoDest { .. } => ErrorCode::NoDest,
        ModelError::Range(_) => ErrorCode::Range,
        ModelError::Invalid(_) => ErrorCode::Invalid,
        ModelError::Full { .. } => ErrorCode::Full,
    }
}
