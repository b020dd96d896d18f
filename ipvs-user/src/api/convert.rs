//! Between the wire and the model. The only place that knows both.

mod commands;
mod desired;
mod knobs;
mod spec;

use std::{net::SocketAddrV4, num::NonZeroU32};

use ipvs_common::{ForwardingMethod, Proto, ServiceKey, Stats};

use super::wire::{self, ErrorCode};
use crate::{
    dataplane::TableError,
    director::{
        Connection, DestView, Director, DirectorError, ExpectError, Expectation, Rates, ServiceView,
    },
    model::{DestSpec, ModelError},
    reconcile::ReconcileError,
};
pub(super) use commands::{command, shown_command};
pub(super) use desired::{
    change, config, interface_rows, moved, restart_rows, shown_config, together_error,
};
pub(super) use knobs::{
    shown_timeouts, sysctl, sysctl_error, sysctl_value, timeout_changes, timeouts, timeouts_error,
};

pub(super) fn error(code: ErrorCode, message: impl Into<String>) -> wire::Error {
    wire::Error {
        code,
        message: message.into(),
    }
}

pub(super) fn service_key(id: wire::ServiceId) -> ServiceKey {
    let v4 = |proto: Proto, a: SocketAddrV4| {
        ServiceKey::v4(proto as u8, a.ip().octets(), a.port().to_be_bytes())
    };
    match id {
        wire::ServiceId::Tcp(a) => v4(Proto::Tcp, a),
        wire::ServiceId::Udp(a) => v4(Proto::Udp, a),
        wire::ServiceId::Fwmark(mark) => ServiceKey::fwmark(mark.get()),
    }
}

pub(super) fn service_id(key: &ServiceKey) -> wire::ServiceId {
    if let Some(mark) = NonZeroU32::new(key.mark) {
        return wire::ServiceId::Fwmark(mark);
    }
    let address = SocketAddrV4::new(key.addr.low4().into(), u16::from_be_bytes(key.port));
    match Proto::from_number(key.proto) {
        Some(Proto::Udp) => wire::ServiceId::Udp(address),
        // The model takes keys from `service_key` and the configuration only: there is no third protocol.
        Some(Proto::Tcp) | None => wire::ServiceId::Tcp(address),
    }
}

/// The service of a query; `None` if it asks for all.
pub(super) fn queried(q: &wire::ServiceQuery) -> Result<Option<ServiceKey>, wire::Error> {
    let ids = [
        q.tcp.map(wire::ServiceId::Tcp),
        q.udp.map(wire::ServiceId::Udp),
        q.fwmark.map(wire::ServiceId::Fwmark),
    ];
    let mut ids = ids.into_iter().flatten();
    match (ids.next(), ids.next()) {
        (_, Some(_)) => Err(error(
            ErrorCode::BadRequest,
            "only one of tcp, udp and fwmark can be asked for",
        )),
        (id, None) => Ok(id.map(service_key)),
    }
}

const fn dest_spec(s: &wire::DestSpec) -> DestSpec {
    DestSpec {
        method: match s.method {
            wire::Method::Masq => ForwardingMethod::Masq,
            wire::Method::Tunnel => ForwardingMethod::Tunnel,
            wire::Method::Droute => ForwardingMethod::Droute,
        },
        weight: s.weight,
        upper: s.upper_threshold,
        lower: s.lower_threshold,
    }
}

const fn shown_dest_spec(s: &DestSpec) -> wire::DestSpec {
    wire::DestSpec {
        method: match s.method {
            ForwardingMethod::Masq => wire::Method::Masq,
            ForwardingMethod::Tunnel => wire::Method::Tunnel,
            ForwardingMethod::Droute => wire::Method::Droute,
        },
        weight: s.weight,
        upper_threshold: s.upper,
        lower_threshold: s.lower,
    }
}

pub(super) fn service(v: &ServiceView) -> wire::Service {
    wire::Service {
        service: service_id(&v.key),
        spec: spec::shown(&v.spec),
        stats: stats(&v.stats),
        rates: rates(&v.rates),
        dests: v.dests.iter().map(dest).collect(),
    }
}

fn dest(v: &DestView) -> wire::Dest {
    wire::Dest {
        address: v.key.v4(),
        spec: shown_dest_spec(&v.spec),
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
    }
}

pub(super) fn expectation(e: &wire::Expectation) -> Expectation {
    Expectation {
        protocol: match e.protocol {
            wire::Protocol::Tcp => Proto::Tcp,
            wire::Protocol::Udp => Proto::Udp,
        },
        client: e.client,
        virt: e.r#virtual,
        service: service_key(e.service),
        real: e.real.into(),
        timeout: e.timeout,
    }
}

pub(super) fn expect_error(e: &ExpectError) -> wire::Error {
    let code = match e {
        ExpectError::Refused(e) => model_code(e),
        ExpectError::Tables(_) => ErrorCode::Tables,
    };
    error(code, e.to_string())
}

/// `count` is how many commands there were: the number of the refused one is told if it is not the only one.
pub(super) fn director_error(e: &DirectorError, count: usize) -> wire::Error {
    match e {
        DirectorError::Refused { index, error: e } => refused(*index, e, count),
        DirectorError::Tables(
            e @ (ReconcileError::ListSpace { .. } | ReconcileError::TableSpace { .. }),
        ) => error(ErrorCode::Full, e.to_string()),
        DirectorError::Tables(e) => error(ErrorCode::Tables, e.to_string()),
    }
}

pub(super) fn refused(index: usize, e: &ModelError, count: usize) -> wire::Error {
    let message = match count {
        1 => e.to_string(),
        _ => format!(
            "command {} of {count}: {e}; none was carried out",
            index + 1
        ),
    };
    error(model_code(e), message)
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
