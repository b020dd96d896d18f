//! From arguments to what is asked of the daemon: the defaults and the checks between options.

use std::net::SocketAddr;

use super::{
    Usage,
    grammar::{Command, Opt, tunnel_rule},
    parse::{self, Args},
};
use crate::api::wire::{
    self, DestSpec, Method, ServiceId, ServiceSpec, SyncDaemon, SyncRole, Tunnel, TunnelChecksum,
    TunnelKind,
};

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Action {
    Help,
    Version,
    Change(wire::Command),
    SetTimeouts(wire::TimeoutChanges),
    Save {
        numeric: bool,
    },
    /// Commands come from the standard input: as one change, or one by one.
    Restore {
        partial: bool,
    },
    StartDaemon(SyncDaemon),
    StopDaemon(SyncRole),
    ListAll(Format),
    ListOne(ServiceId, Format),
    ListConnections(Format),
    ListTimeouts,
    ListDaemon,
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
        Command::Restore => {
            let partial = args.has(Opt::Partial);
            return Ok(Action::Restore { partial });
        }
        Command::StartDaemon => return Ok(Action::StartDaemon(args.daemon.clone())),
        Command::StopDaemon => return Ok(Action::StopDaemon(args.daemon.role)),
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
            spec: dest_spec(args)?,
        },
        Command::EditServer => wire::Command::EditDest {
            service: service()?,
            dest: server(args)?,
            spec: dest_spec(args)?,
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
    if one_packet && matches!(args.service, Some(ServiceId::Tcp(_) | ServiceId::Sctp(_))) {
        return Err(Usage::mistake(
            "One-Packet Scheduling is only for UDP virtual services",
        ));
    }
    Ok(ServiceSpec {
        persistent: args.persistent,
        netmask: args.netmask,
        engine: args.engine.clone(),
        one_packet,
        sched_flags: args.sched_flags.clone(),
        ..ServiceSpec::new(args.scheduler())
    })
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

fn dest_spec(args: &Args) -> Result<DestSpec, Usage> {
    let v6 = args.server.is_some_and(|(address, _)| address.is_ipv6());
    if args.method != Method::Tunnel {
        if args.service.map(ServiceId::is_v6) != Some(v6) {
            let only = "Different address family is allowed only for tunneling servers";
            return Err(Usage::mistake(only));
        }
        if Opt::TUNNEL.iter().any(|opt| args.has(*opt)) {
            return Err(Usage::mistake(
                "Tunnel options conflict with forward method",
            ));
        }
    }
    Ok(DestSpec {
        method: args.method,
        weight: args.weight,
        upper_threshold: args.upper,
        lower_threshold: args.lower,
        tunnel: tunnel(args)?,
    })
}

/// `None`: IP in IP, or none at all.
fn tunnel(args: &Args) -> Result<Option<Tunnel>, Usage> {
    if args.method != Method::Tunnel {
        return Ok(None);
    }
    let kind = args.tunnel;
    let name = match kind {
        TunnelKind::Ipip => "ipip",
        TunnelKind::Gue => "gue",
        TunnelKind::Gre => "gre",
    };
    let of = format!("'{name}' tunnel type");
    parse::check(&of, |opt| tunnel_rule(kind, opt), &Opt::TUNNEL, args)?;
    let tunnel = Tunnel {
        kind,
        port: args.tunnel_port,
        checksum: if args.has(Opt::TunCsum) {
            TunnelChecksum::Full
        } else if args.has(Opt::TunRemcsum) {
            TunnelChecksum::Remote
        } else {
            TunnelChecksum::None
        },
    };
    Ok(Some(tunnel).filter(|t| t.kind != TunnelKind::Ipip))
}

fn list(args: &Args) -> Result<Action, Usage> {
    let counts = [Opt::Stats, Opt::Rate, Opt::Thresholds];
    let counts = counts.iter().any(|opt| args.has(*opt));
    let numbers = args.has(Opt::Timeout) || args.has(Opt::Daemon);
    let other = args.has(Opt::Connection) || numbers;
    if other && counts || numbers && args.has(Opt::PersistentConn) {
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
    } else if args.has(Opt::Daemon) {
        Action::ListDaemon
    } else if let Some(service) = args.service {
        Action::ListOne(service, format)
    } else {
        Action::ListAll(format)
    })
}
