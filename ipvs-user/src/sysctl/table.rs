//! Every knob of ip_vs, one entry each.

use super::{Knob, Range};

/// One knob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sysctl {
    pub name: &'static str,
    pub default: &'static str,
    pub range: Range,
    /// What it does.
    pub doc: &'static str,
    pub applies: Applies,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applies {
    Here(Knob),
    /// Not here, and why: the default can be set, and nothing else.
    DefaultOnly(&'static str),
}

const fn knob(
    name: &'static str,
    default: &'static str,
    range: Range,
    knob: Knob,
    doc: &'static str,
) -> Sysctl {
    Sysctl {
        name,
        default,
        range,
        doc,
        applies: Applies::Here(knob),
    }
}

const fn fixed(
    name: &'static str,
    default: &'static str,
    range: Range,
    why: &'static str,
    doc: &'static str,
) -> Sysctl {
    Sysctl {
        name,
        default,
        range,
        doc,
        applies: Applies::DefaultOnly(why),
    }
}

const ANY: Range = Range::Number {
    min: 0,
    max: i32::MAX as u32,
};
/// 24 days, so that the ticks fit whatever their rate is.
const SECONDS: Range = Range::Number {
    min: 0,
    max: i32::MAX as u32 / 1000,
};
/// 0 off, 1 automatic, 2 automatic and in force, 3 always.
const MODE: Range = Range::Number { min: 0, max: 3 };
const BITS: Range = Range::Number { min: 0, max: 3 };

const NO_ESTIMATOR: &str = "no kernel thread counts: the datapath keeps the counters itself";

/// All of them, by name.
pub const TABLE: &[Sysctl] = &[
    knob(
        "am_droprate",
        "10",
        ANY,
        Knob::AmDroprate,
        "Under drop_packet = 3, one new connection of so many is dropped; 0 drops none.",
    ),
    knob(
        "amemthresh",
        "1024",
        ANY,
        Knob::Amemthresh,
        "Pages of free memory below which the automatic defences are in force.",
    ),
    knob(
        "backup_only",
        "0",
        Range::SWITCH,
        Knob::BackupOnly,
        "1: as long as a backup daemon runs, this director balances nothing.",
    ),
    knob(
        "cache_bypass",
        "0",
        Range::SWITCH,
        Knob::CacheBypass,
        "1: packets of a firewall mark service without a real server go on to their own destination.",
    ),
    knob(
        "conn_reuse_mode",
        "1",
        BITS,
        Knob::ConnReuseMode,
        "When a SYN on a known connection is scheduled anew: 0 never, 1 if it is closed, 2 and 3 also while it closes and \
         its real server's packets are not seen.",
    ),
    fixed(
        "conntrack",
        "0",
        Range::SWITCH,
        "packets that are forwarded here do not pass netfilter, so it has no entries of theirs to keep",
        "1: netfilter keeps track of balanced connections.",
    ),
    knob(
        "drop_entry",
        "0",
        MODE,
        Knob::DropEntry,
        "Ends half-open and idle connections each second: 0 never, 1 while memory is low (then it reads 2), 3 always.",
    ),
    knob(
        "drop_packet",
        "0",
        MODE,
        Knob::DropPacket,
        "Drops a share of the new connections: 0 never, 1 while memory is low (then it reads 2), 3 always.",
    ),
    fixed(
        "est_cpulist",
        "all",
        Range::Words("a list of CPUs"),
        NO_ESTIMATOR,
        "CPUs on which rates are estimated.",
    ),
    fixed(
        "est_nice",
        "0",
        Range::Number { min: 0, max: 19 },
        NO_ESTIMATOR,
        "Niceness of those who estimate rates.",
    ),
    knob(
        "expire_nodest_conn",
        "0",
        Range::SWITCH,
        Knob::ExpireNodestConn,
        "1: connections end with their real server; 0: their packets are dropped until they time out.",
    ),
    knob(
        "expire_quiescent_template",
        "0",
        Range::SWITCH,
        Knob::ExpireQuiescentTemplate,
        "1: a persistent client does not come back to a real server of weight 0.",
    ),
    fixed(
        "ignore_tunneled",
        "0",
        Range::SWITCH,
        "what the stack takes out of a tunnel comes in by the tunnel's own interface, and is balanced there if that one is \
         named, and else not",
        "1: packets out of tunnels are not balanced.",
    ),
    knob(
        "lblc_expiration",
        "86400",
        SECONDS,
        Knob::LblcExpiration,
        "Seconds without use after which lblc forgets where an address belongs.",
    ),
    knob(
        "lblcr_expiration",
        "86400",
        SECONDS,
        Knob::LblcrExpiration,
        "The same for lblcr; and after so long without a change its set loses the most loaded real server.",
    ),
    knob(
        "nat_icmp_send",
        "0",
        Range::SWITCH,
        Knob::NatIcmpSend,
        "1: packets of masqueraded real servers that belong to no connection are answered with \"port unreachable\".",
    ),
    knob(
        "pmtu_disc",
        "1",
        Range::SWITCH,
        Knob::PmtuDisc,
        "1: clients are told of packets too big for a tunnel; 0: the outer packets are fragmented.",
    ),
    fixed(
        "run_estimation",
        "1",
        Range::SWITCH,
        "the datapath counts as it forwards, and there is nothing to switch off",
        "0: statistics stand still.",
    ),
    knob(
        "schedule_icmp",
        "0",
        Range::SWITCH,
        Knob::ScheduleIcmp,
        "1: ICMP errors may open a connection.",
    ),
    knob(
        "secure_tcp",
        "0",
        MODE,
        Knob::SecureTcp,
        "A connection counts as established only by a packet of its real server: 0 never, 1 while memory is low (then it \
         reads 2), 3 always.",
    ),
    knob(
        "sloppy_sctp",
        "0",
        Range::SWITCH,
        Knob::SloppySctp,
        "1: any SCTP packet but an ABORT may open a connection, not only an INIT.",
    ),
    knob(
        "sloppy_tcp",
        "0",
        Range::SWITCH,
        Knob::SloppyTcp,
        "1: any TCP segment but a reset may open a connection, not only a SYN.",
    ),
    fixed(
        "snat_reroute",
        "1",
        Range::SWITCH,
        "translated replies are always routed with the virtual address as their source",
        "1: translated replies are routed by their new source.",
    ),
    knob(
        "sync_persist_mode",
        "0",
        Range::SWITCH,
        Knob::SyncPersistMode,
        "1: the backup is told of persistence only, and not of the connections under it.",
    ),
    knob(
        "sync_ports",
        "1",
        Range::PowerOfTwo { max: 64 },
        Knob::SyncPorts,
        "Ports on which the backup is told, counted from the first; taken up when a daemon starts.",
    ),
    fixed(
        "sync_qlen_max",
        "auto",
        Range::Words("a number of messages, or auto"),
        "no messages wait: what a socket does not take, the backup hears of at its next turn",
        "Messages to the backup that may wait.",
    ),
    knob(
        "sync_refresh_period",
        "0",
        SECONDS,
        Knob::SyncRefreshPeriod,
        "Seconds after which the backup is told again of a connection; 0: 60. Twice within the connection's timeout at least.",
    ),
    knob(
        "sync_retries",
        "0",
        Range::Number { min: 0, max: 3 },
        Knob::SyncRetries,
        "How often that is repeated, each time after an eighth of the period.",
    ),
    knob(
        "sync_sock_size",
        "0",
        ANY,
        Knob::SyncSockSize,
        "Bytes of the sockets' buffers; 0: as the system has it. Taken up when a daemon starts.",
    ),
    fixed(
        "sync_threshold",
        "3 50",
        Range::Pair,
        "the backup is told when a connection is established or changes, and then by time (sync_refresh_period), not by the number \
         of its packets",
        "The backup is told at the packet of the first number, and after that in every run of the second.",
    ),
    knob(
        "sync_version",
        "1",
        Range::SWITCH,
        Knob::SyncVersion,
        "Version of the messages to the backup.",
    ),
];
