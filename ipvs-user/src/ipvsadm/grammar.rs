//! Commands, options, and which go together. Tables only.

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
    Zero,
    /// Set timeouts.
    Set,
    Help,
    Version,
}

/// What qualifies a command. `-t`, `-u` and `-f` are one option, as are `-g`, `-i` and `-m`: each may be given once.
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
    Timeout,
    Stats,
    Rate,
    Thresholds,
    PersistentConn,
    TunInfo,
    NoSort,
    Exact,
    TunType,
    OnePacket,
    SchedFlags,
}

impl Opt {
    pub(super) const ALL: [Self; 22] = [
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
        Self::Timeout,
        Self::Stats,
        Self::Rate,
        Self::Thresholds,
        Self::PersistentConn,
        Self::TunInfo,
        Self::NoSort,
        Self::Exact,
        Self::TunType,
        Self::OnePacket,
        Self::SchedFlags,
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
            Self::Timeout => "timeout",
            Self::Stats => "stats",
            Self::Rate => "rate",
            Self::Thresholds => "thresholds",
            Self::PersistentConn => "persistent-conn",
            Self::TunInfo => "tun-info",
            Self::NoSort => "nosort",
            Self::Exact => "exact",
            Self::TunType => "tun-type",
            Self::OnePacket => "ops",
            Self::SchedFlags => "sched-flags",
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
            Self::Zero => "zero",
            Self::Set => "set",
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
                ],
            ),
            Self::DeleteServer => (&[Opt::Service, Opt::Server], &[], &[]),
            Self::List => (
                &[],
                &[Opt::Connection, Opt::Service, Opt::Timeout],
                &[
                    Opt::Numeric,
                    Opt::Stats,
                    Opt::Rate,
                    Opt::Thresholds,
                    Opt::PersistentConn,
                    Opt::TunInfo,
                    Opt::NoSort,
                    Opt::Exact,
                ],
            ),
            Self::Save => (&[], &[], &[Opt::Numeric]),
            Self::Zero => (&[], &[], &[Opt::Service]),
            Self::Flush | Self::Set | Self::Help | Self::Version => (&[], &[], &[]),
        };
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
}

/// Whether a word of the command line brings a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Value {
    No,
    Needed,
    /// Taken if the next word does not look like an option.
    Possible,
}

/// What a word of the command line stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Word {
    Command(Command),
    Tcp,
    Udp,
    Fwmark,
    Gatewaying,
    Ipip,
    Masquerading,
    /// Any other option.
    Plain(Opt),
    /// Does nothing, for old scripts.
    Sort,
}

pub(super) struct Spelling {
    pub(super) short: Option<char>,
    pub(super) long: &'static str,
    pub(super) value: Value,
    pub(super) word: Word,
}

const fn spelling(short: char, long: &'static str, value: Value, word: Word) -> Spelling {
    Spelling {
        short: Some(short),
        long,
        value,
        word,
    }
}

const fn long_only(long: &'static str, value: Value, word: Word) -> Spelling {
    Spelling {
        short: None,
        long,
        value,
        word,
    }
}

pub(super) const SPELLINGS: &[Spelling] = &[
    spelling('A', "add-service", Value::No, Word::Command(Command::Add)),
    spelling('E', "edit-service", Value::No, Word::Command(Command::Edit)),
    spelling(
        'D',
        "delete-service",
        Value::No,
        Word::Command(Command::Delete),
    ),
    spelling('C', "clear", Value::No, Word::Command(Command::Flush)),
    spelling(
        'a',
        "add-server",
        Value::No,
        Word::Command(Command::AddServer),
    ),
    spelling(
        'e',
        "edit-server",
        Value::No,
        Word::Command(Command::EditServer),
    ),
    spelling(
        'd',
        "delete-server",
        Value::No,
        Word::Command(Command::DeleteServer),
    ),
    spelling('L', "list", Value::No, Word::Command(Command::List)),
    spelling('l', "list", Value::No, Word::Command(Command::List)),
    spelling('S', "save", Value::No, Word::Command(Command::Save)),
    spelling('Z', "zero", Value::No, Word::Command(Command::Zero)),
    long_only("set", Value::No, Word::Command(Command::Set)),
    spelling('h', "help", Value::No, Word::Command(Command::Help)),
    spelling('v', "version", Value::No, Word::Command(Command::Version)),
    spelling('t', "tcp-service", Value::Needed, Word::Tcp),
    spelling('u', "udp-service", Value::Needed, Word::Udp),
    spelling('f', "fwmark-service", Value::Needed, Word::Fwmark),
    spelling('s', "scheduler", Value::Needed, Word::Plain(Opt::Scheduler)),
    spelling(
        'p',
        "persistent",
        Value::Possible,
        Word::Plain(Opt::Persistent),
    ),
    spelling('M', "netmask", Value::Needed, Word::Plain(Opt::Netmask)),
    spelling('o', "ops", Value::No, Word::Plain(Opt::OnePacket)),
    spelling(
        'b',
        "sched-flags",
        Value::Needed,
        Word::Plain(Opt::SchedFlags),
    ),
    spelling('r', "real-server", Value::Needed, Word::Plain(Opt::Server)),
    spelling('g', "gatewaying", Value::No, Word::Gatewaying),
    spelling('i', "ipip", Value::No, Word::Ipip),
    spelling('m', "masquerading", Value::No, Word::Masquerading),
    spelling('w', "weight", Value::Needed, Word::Plain(Opt::Weight)),
    spelling(
        'x',
        "u-threshold",
        Value::Needed,
        Word::Plain(Opt::UThreshold),
    ),
    spelling(
        'y',
        "l-threshold",
        Value::Needed,
        Word::Plain(Opt::LThreshold),
    ),
    spelling('n', "numeric", Value::No, Word::Plain(Opt::Numeric)),
    spelling('c', "connection", Value::No, Word::Plain(Opt::Connection)),
    long_only("tun-type", Value::Needed, Word::Plain(Opt::TunType)),
    long_only("timeout", Value::No, Word::Plain(Opt::Timeout)),
    long_only("stats", Value::No, Word::Plain(Opt::Stats)),
    long_only("rate", Value::No, Word::Plain(Opt::Rate)),
    long_only("thresholds", Value::No, Word::Plain(Opt::Thresholds)),
    long_only(
        "persistent-conn",
        Value::No,
        Word::Plain(Opt::PersistentConn),
    ),
    long_only("tun-info", Value::No, Word::Plain(Opt::TunInfo)),
    long_only("nosort", Value::No, Word::Plain(Opt::NoSort)),
    long_only("sort", Value::No, Word::Sort),
    long_only("exact", Value::No, Word::Plain(Opt::Exact)),
];
