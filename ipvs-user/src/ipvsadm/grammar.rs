//! Commands, options, and which go together. Tables only.

mod spellings;

pub(super) use spellings::{SPELLINGS, Spelling, Value, Word};

use crate::api::wire::TunnelKind;

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Command {
    Add,
    Edit,
    Delete,
    Flush,
    AddServer,
    EditServer,
    DeleteServer,
    List,
    Save,
    Restore,
    Zero,
    /// Set timeouts.
    Set,
    StartDaemon,
    StopDaemon,
    Help,
    Version,
}

/// What qualifies a command. `-t`, `-u`, `--sctp-service` and `-f` are one option, as are `-g`, `-i` and `-m`: each may be
/// given once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Opt {
    Numeric,
    Connection,
    Service,
    Scheduler,
    Persistent,
    Netmask,
    Server,
    Forward,
    Weight,
    UThreshold,
    LThreshold,
    McastInterface,
    Timeout,
    Daemon,
    Stats,
    Rate,
    Thresholds,
    PersistentConn,
    NoSort,
    SyncId,
    Exact,
    OnePacket,
    Engine,
    SchedFlags,
    McastGroup,
    McastPort,
    McastTtl,
    SyncMaxlen,
    TunInfo,
    TunType,
    TunPort,
    TunNocsum,
    TunCsum,
    TunRemcsum,
    /// Beyond the original.
    Partial,
}

impl Opt {
    pub(super) const ALL: [Self; 35] = [
        Self::Numeric,
        Self::Connection,
        Self::Service,
        Self::Scheduler,
        Self::Persistent,
        Self::Netmask,
        Self::Server,
        Self::Forward,
        Self::Weight,
        Self::UThreshold,
        Self::LThreshold,
        Self::McastInterface,
        Self::Timeout,
        Self::Daemon,
        Self::Stats,
        Self::Rate,
        Self::Thresholds,
        Self::PersistentConn,
        Self::NoSort,
        Self::SyncId,
        Self::Exact,
        Self::OnePacket,
        Self::Engine,
        Self::SchedFlags,
        Self::McastGroup,
        Self::McastPort,
        Self::McastTtl,
        Self::SyncMaxlen,
        Self::TunInfo,
        Self::TunType,
        Self::TunPort,
        Self::TunNocsum,
        Self::TunCsum,
        Self::TunRemcsum,
        Self::Partial,
    ];

    /// Those of tunnels.
    pub(super) const TUNNEL: [Self; 5] = [
        Self::TunType,
        Self::TunPort,
        Self::TunNocsum,
        Self::TunCsum,
        Self::TunRemcsum,
    ];

    /// Name in messages.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Numeric => "numeric",
            Self::Connection => "connection",
            Self::Service => "service-address",
            Self::Scheduler => "scheduler",
            Self::Persistent => "persistent",
            Self::Netmask => "netmask",
            Self::Server => "real-server",
            Self::Forward => "forwarding-method",
            Self::Weight => "weight",
            Self::UThreshold => "u-threshold",
            Self::LThreshold => "l-threshold",
            Self::McastInterface => "mcast-interface",
            Self::Timeout => "timeout",
            Self::Daemon => "daemon",
            Self::Stats => "stats",
            Self::Rate => "rate",
            Self::Thresholds => "thresholds",
            Self::PersistentConn => "persistent-conn",
            Self::NoSort => "nosort",
            Self::SyncId => "syncid",
            Self::Exact => "exact",
            Self::OnePacket => "ops",
            Self::Engine => "pe",
            Self::SchedFlags => "sched-flags",
            Self::McastGroup => "mcast-group",
            Self::McastPort => "mcast-port",
            Self::McastTtl => "mcast-ttl",
            Self::SyncMaxlen => "sync-maxlen",
            Self::TunInfo => "tun-info",
            Self::TunType => "tun-type",
            Self::TunPort => "tun-port",
            Self::TunNocsum => "tun-nocsum",
            Self::TunCsum => "tun-csum",
            Self::TunRemcsum => "tun-remcsum",
            Self::Partial => "partial",
        }
    }
}

/// Whether a command takes an option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rule {
    /// It may be there.
    May,
    Must,
    MustNot,
    /// One of these at most.
    OneOf,
}

impl Command {
    /// Name in messages.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Add => "add-service",
            Self::Edit => "edit-service",
            Self::Delete => "delete-service",
            Self::Flush => "flush",
            Self::AddServer => "add-server",
            Self::EditServer => "edit-server",
            Self::DeleteServer => "delete-server",
            Self::List => "list",
            Self::Save => "save",
            Self::Restore => "restore",
            Self::Zero => "zero",
            Self::Set => "set",
            Self::StartDaemon => "start-daemon",
            Self::StopDaemon => "stop-daemon",
            Self::Help => "help",
            Self::Version => "version",
        }
    }

    pub(super) fn rule(self, opt: Opt) -> Rule {
        let (must, one_of, may): (&[Opt], &[Opt], &[Opt]) = match self {
            Self::Add | Self::Edit => (
                &[Opt::Service],
                &[],
                &[
                    Opt::Scheduler,
                    Opt::Persistent,
                    Opt::Netmask,
                    Opt::OnePacket,
                    Opt::Engine,
                    Opt::SchedFlags,
                ],
            ),
            Self::Delete => (&[Opt::Service], &[], &[]),
            Self::AddServer | Self::EditServer => (
                &[Opt::Service, Opt::Server],
                &[],
                &[
                    Opt::Forward,
                    Opt::Weight,
                    Opt::UThreshold,
                    Opt::LThreshold,
                    Opt::TunType,
                    Opt::TunPort,
                    Opt::TunNocsum,
                    Opt::TunCsum,
                    Opt::TunRemcsum,
                ],
            ),
            Self::DeleteServer => (&[Opt::Service, Opt::Server], &[], &[]),
            Self::List => (
                &[],
                &[Opt::Connection, Opt::Service, Opt::Timeout, Opt::Daemon],
                &[
                    Opt::Numeric,
                    Opt::Stats,
                    Opt::Rate,
                    Opt::Thresholds,
                    Opt::PersistentConn,
                    Opt::NoSort,
                    Opt::SyncId,
                    Opt::Exact,
                    Opt::TunInfo,
                ],
            ),
            Self::Save => (&[], &[], &[Opt::Numeric]),
            Self::Restore => (&[], &[], &[Opt::Partial]),
            Self::Zero => (&[], &[], &[Opt::Service]),
            Self::StartDaemon => (
                &[],
                &[],
                &[
                    Opt::McastInterface,
                    Opt::SyncId,
                    Opt::McastGroup,
                    Opt::McastPort,
                    Opt::McastTtl,
                    Opt::SyncMaxlen,
                ],
            ),
            Self::StopDaemon => (&[], &[], &[Opt::SyncId]),
            Self::Flush | Self::Set | Self::Help | Self::Version => (&[], &[], &[]),
        };
        rule(must, one_of, may, opt)
    }
}

/// Whether a kind of tunnel takes an option.
pub(super) fn tunnel_rule(kind: TunnelKind, opt: Opt) -> Rule {
    let (must, one_of): (&[Opt], &[Opt]) = match kind {
        TunnelKind::Ipip => (&[], &[]),
        TunnelKind::Gue => (
            &[Opt::TunPort],
            &[Opt::TunNocsum, Opt::TunCsum, Opt::TunRemcsum],
        ),
        TunnelKind::Gre => (&[], &[Opt::TunNocsum, Opt::TunCsum]),
    };
    rule(must, one_of, &[Opt::TunType], opt)
}

fn rule(must: &[Opt], one_of: &[Opt], may: &[Opt], opt: Opt) -> Rule {
    if must.contains(&opt) {
        Rule::Must
    } else if one_of.contains(&opt) {
        Rule::OneOf
    } else if may.contains(&opt) {
        Rule::May
    } else {
        Rule::MustNot
    }
}
