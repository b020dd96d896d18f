//! From arguments to what is asked of the daemon: the defaults and the checks between options.

use std::net::SocketAddr;

use super::{
    Usage,
    grammar::{Command, Opt},
    parse::Args,
};
use crate::{
    api::wire::{self, DestSpec, Method, ServiceId, ServiceSpec},
    sched_flags::{self, SchedFlagError},
};

/// What `-A` and `-E` use without `-s`.
const DEFAULT_SCHEDULER: &str = "wlc";

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Action {
    Help,
    Version,
    Change(wire::Command),
    SetTimeouts(wire::TimeoutChanges),
    Save { numeric: bool },
    ListAll(Format),
    ListOne(ServiceId, Format),
    ListConnections(Format),
    ListTimeouts,
}

/// What a listing shows of each line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Columns {
    Plain,
    Stats,
    Rates,
    Thresholds,
    PersistentConn,
    TunInfo,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Format {
    pub(super) columns: Columns,
    pub(super) numeric: bool,
    pub(super) exact: bool,
    pub(super) sorted: bool,
}

pub(super) fn lower(args: &Args) -> Result<Action, Usage> {
    let service = || {
        let missing = || Usage::mistake("You need to supply the 'service-address' option");
        args.service.ok_or_else(missing)
    };
    let change = match args.command {
        Command::Help => return Ok(Action::Help),
        Command::Version => return Ok(Action::Version),
        Command::List => return list(args),
        Command::Save => {
            let numeric = args.has(Opt::Numeric);
            return Ok(Action::Save { numeric });
        }
        Command::Set => return Ok(Action::SetTimeouts(timeout_changes(args.timeouts))),
        Command::Add => wire::Command::AddService {
            service: service()?,
            spec: service_spec(args)?,
        },
        Command::Edit => wire::Command::EditService {
            service: service()?,
            spec: service_spec(args)?,
        },
        Command::Delete => wire::Command::DeleteService {
            service: service()?,
        },
        Command::Flush => wire::Command::Flush,
        Command::Zero => wire::Command::Zero {
            service: args.service,
        },
        Command::AddServer => wire::Command::AddDest {
            service: service()?,
            dest: server(args)?,
            spec: dest_spec(args),
        },
        Command::EditServer => wire::Command::EditDest {
            service: service()?,
            dest: server(args)?,
            spec: dest_spec(args),
        },
        Command::DeleteServer => wire::Command::DeleteDest {
            service: service()?,
            dest: server(args)?,
        },
    };
    Ok(Action::Change(change))
}

fn service_spec(args: &Args) -> Result<ServiceSpec, Usage> {
    if port_of(args) == Some(0) && args.persistent.is_none() {
        return Err(Usage::mistake(
            "Zero port specified for non-persistent service",
        ));
    }
    let one_packet = args.has(Opt::OnePacket);
    if one_packet && matches!(args.service, Some(ServiceId::Tcp(_))) {
        return Err(Usage::mistake(
            "One-Packet Scheduling is only for UDP virtual services",
        ));
    }
    let scheduler = args.scheduler.as_deref().filter(|s| !s.is_empty());
    let scheduler = scheduler.unwrap_or(DEFAULT_SCHEDULER);
    Ok(ServiceSpec {
        persistent: args.persistent,
        netmask: args.netmask,
        one_packet,
        sched_flags: sched_flags(&args.sched_flags, scheduler)?,
        ..ServiceSpec::new(scheduler)
    })
}

fn sched_flags(list: &str, scheduler: &str) -> Result<Vec<String>, Usage> {
    let flags = list.split(',').filter(|flag| !flag.is_empty());
    let checked = flags.map(|flag| match sched_flags::bit(flag, scheduler) {
        Ok(_) => Ok(flag.to_owned()),
        Err(SchedFlagError::Unknown { .. }) => Err(format!("invalid scheduler flag `{flag}'")),
        Err(SchedFlagError::Incompatible { .. }) => {
            Err(format!("incompatible scheduler flag `{flag}'"))
        }
    });
    checked.collect::<Result<_, _>>().map_err(Usage::mistake)
}

fn timeout_changes(seconds: [u32; 3]) -> wire::TimeoutChanges {
    let [tcp, tcp_fin, udp] = seconds.map(|s| (s != 0).then_some(s));
    wire::TimeoutChanges { tcp, tcp_fin, udp }
}

/// Port of the service; a firewall mark has none.
fn port_of(args: &Args) -> Option<u16> {
    match args.service? {
        ServiceId::Tcp(a) | ServiceId::Udp(a) | ServiceId::Sctp(a) => Some(a.port()),
        ServiceId::Fwmark(_) | ServiceId::Fwmark6(_) => None,
    }
}

/// The real server's port is the service's unless one is given; when it is not translated, it is the service's anyway.
fn server(args: &Args) -> Result<SocketAddr, Usage> {
    let missing = || Usage::mistake("You need to supply the 'real-server' option");
    let (address, given) = args.server.ok_or_else(missing)?;
    let of_service = port_of(args);
    let changes = matches!(args.command, Command::AddServer | Command::EditServer);
    let port = match (of_service, given) {
        (Some(port), _) if changes && args.method != Method::Masq => port,
        (_, Some(port)) => port,
        (of_service, None) => of_service.unwrap_or(0),
    };
    Ok(SocketAddr::new(address, port))
}

const fn dest_spec(args: &Args) -> DestSpec {
    DestSpec {
        method: args.method,
        weight: args.weight,
        upper_threshold: args.upper,
        lower_threshold: args.lower,
        tunnel: None,
    }
}

fn list(args: &Args) -> Result<Action, Usage> {
    let counts = [Opt::Stats, Opt::Rate, Opt::Thresholds];
    let counts = counts.iter().any(|opt| args.has(*opt));
    let other = args.has(Opt::Connection) || args.has(Opt::Timeout);
    if other && counts || args.has(Opt::Timeout) && args.has(Opt::PersistentConn) {
        return Err(Usage::mistake("options conflicts in the list command"));
    }
    let columns = if args.has(Opt::Stats) {
        Columns::Stats
    } else if args.has(Opt::Rate) {
        Columns::Rates
    } else if args.has(Opt::Thresholds) {
        Columns::Thresholds
    } else if args.has(Opt::PersistentConn) {
        Columns::PersistentConn
    } else if args.has(Opt::TunInfo) {
        Columns::TunInfo
    } else {
        Columns::Plain
    };
    let format = Format {
        columns,
        numeric: args.has(Opt::Numeric),
        exact: args.has(Opt::Exact),
        sorted: !args.has(Opt::NoSort),
    };
    Ok(if args.has(Opt::Connection) {
        Action::ListConnections(format)
    } else if args.has(Opt::Timeout) {
        Action::ListTimeouts
    } else if let Some(service) = args.service {
        Action::ListOne(service, format)
    } else {
        Action::ListAll(format)
    })
}
