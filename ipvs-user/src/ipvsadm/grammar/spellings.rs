//! The words of the command line: what each is called, and whether a value belongs to it.

use super::{Command, Opt};

/// Whether a word of the command line brings a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Value {
    No,
    Needed,
    /// Taken if the next word does not look like an option.
    Possible,
}

/// What a word of the command line stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Word {
    Command(Command),
    Tcp,
    Udp,
    Sctp,
    Fwmark,
    /// The firewall mark is one of IPv6.
    Ipv6,
    Gatewaying,
    Ipip,
    Masquerading,
    /// Any other option.
    Plain(Opt),
    /// Does nothing, for old scripts.
    Sort,
}

pub(in super::super) struct Spelling {
    pub(in super::super) short: Option<char>,
    pub(in super::super) long: &'static str,
    pub(in super::super) value: Value,
    pub(in super::super) word: Word,
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

pub(in super::super) const SPELLINGS: &[Spelling] = &[
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
    spelling('R', "restore", Value::No, Word::Command(Command::Restore)),
    long_only("partial", Value::No, Word::Plain(Opt::Partial)),
    long_only(
        "start-daemon",
        Value::Needed,
        Word::Command(Command::StartDaemon),
    ),
    long_only(
        "stop-daemon",
        Value::Needed,
        Word::Command(Command::StopDaemon),
    ),
    long_only("set", Value::No, Word::Command(Command::Set)),
    spelling('h', "help", Value::No, Word::Command(Command::Help)),
    spelling('v', "version", Value::No, Word::Command(Command::Version)),
    spelling('t', "tcp-service", Value::Needed, Word::Tcp),
    spelling('u', "udp-service", Value::Needed, Word::Udp),
    long_only("sctp-service", Value::Needed, Word::Sctp),
    spelling('f', "fwmark-service", Value::Needed, Word::Fwmark),
    spelling('6', "ipv6", Value::No, Word::Ipv6),
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
    long_only("pe", Value::Needed, Word::Plain(Opt::Engine)),
    long_only("tun-type", Value::Needed, Word::Plain(Opt::TunType)),
    long_only("tun-port", Value::Needed, Word::Plain(Opt::TunPort)),
    long_only("tun-nocsum", Value::No, Word::Plain(Opt::TunNocsum)),
    long_only("tun-csum", Value::No, Word::Plain(Opt::TunCsum)),
    long_only("tun-remcsum", Value::No, Word::Plain(Opt::TunRemcsum)),
    long_only(
        "mcast-interface",
        Value::Needed,
        Word::Plain(Opt::McastInterface),
    ),
    long_only("syncid", Value::Needed, Word::Plain(Opt::SyncId)),
    long_only("sync-maxlen", Value::Needed, Word::Plain(Opt::SyncMaxlen)),
    long_only("mcast-group", Value::Needed, Word::Plain(Opt::McastGroup)),
    long_only("mcast-port", Value::Needed, Word::Plain(Opt::McastPort)),
    long_only("mcast-ttl", Value::Needed, Word::Plain(Opt::McastTtl)),
    long_only("daemon", Value::No, Word::Plain(Opt::Daemon)),
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
