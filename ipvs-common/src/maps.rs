//! Names and capacities of the maps, once. The kernel program declares its maps under these names; user space opens
//! them by these names.

use crate::matches::MAX_MATCHES;

pub const SERVICES: &str = "SERVICES";
pub const DEST_LISTS: &str = "DEST_LISTS";
pub const HASH_TABLES: &str = "HASH_TABLES";
pub const DESTS: &str = "DESTS";
pub const DEST_STATES: &str = "DEST_STATES";
pub const DEST_STATS: &str = "DEST_STATS";
/// Masqueraded real servers by address and port (`nat_icmp_send`), with the index of one of them.
pub const MASQ_REALS: &str = "MASQ_REALS";
/// Match rules: prefixes, and the port ranges behind them ([`crate::matches`]).
pub const MATCHES: &str = "MATCHES";
pub const MATCH_SLOTS: &str = "MATCH_SLOTS";
pub const SCHED_STATES: &str = "SCHED_STATES";
pub const LBLC: &str = "LBLC";
pub const LBLCR: &str = "LBLCR";
/// One entry of lblcr's cache, to copy new ones from.
pub const LBLCR_BLANK: &str = "LBLCR_BLANK";
pub const TEMPLATES: &str = "TEMPLATES";
pub const TEMPLATES6: &str = "TEMPLATES6";
pub const CONNS: &str = "CONNS";
pub const CONNS6: &str = "CONNS6";
pub const HALF_OPEN: &str = "HALF_OPEN";
pub const HALF_OPEN6: &str = "HALF_OPEN6";
pub const HALF_OPEN_RING: &str = "HALF_OPEN_RING";
pub const HALF_OPEN_RING6: &str = "HALF_OPEN_RING6";
pub const HEADS: &str = "HEADS";
pub const SETTINGS: &str = "SETTINGS";
pub const EGRESS: &str = "EGRESS";
pub const REASONS: &str = "REASONS";
pub const SCRATCH: &str = "SCRATCH";
pub const PUNT: &str = "PUNT";
/// The connection that a packet just opened, on its way from one stage to the next.
pub const NEWBORN: &str = "NEWBORN";
pub const NEWBORN6: &str = "NEWBORN6";
/// The flow that an ICMP error asks for (`schedule_icmp`), on its way from one stage to the next.
pub const ASKED: &str = "ASKED";
pub const ASKED6: &str = "ASKED6";
pub const CLOCK: &str = "CLOCK";
pub const ICMP_BUDGET: &str = "ICMP_BUDGET";
/// What is left of it for each destination.
pub const ICMP_PEERS: &str = "ICMP_PEERS";
/// Connections and templates that changed, for the backup director.
pub const SYNC_NOTES: &str = "SYNC_NOTES";
/// Ports of packets that come in fragments, by what their first one told ([`crate::Fragment`]).
pub const FRAGMENTS: &str = "FRAGMENTS";
pub const FRAGMENTS6: &str = "FRAGMENTS6";
/// The interface that a packet came in by, on its way from the first stage to the later ones.
pub const INBOUND: &str = "INBOUND";
/// VLAN devices by the tags that their frames come with ([`crate::VlanKey`]): what is constant of each.
pub const VLANS: &str = "VLANS";
/// The way on which a frame leaves with tags, on its way to the stage that puts them on.
pub const TAGGED_WAY: &str = "TAGGED_WAY";
/// Programs of the later stages; the maps of one interface's programs are shared but for this one.
pub const STAGES: &str = "STAGES";

/// What the daemon notes beside the tables; no program reads it.
pub const LEDGER: &str = "LEDGER";

/// The kernel's `BPF_F_NO_PREALLOC`: a hash map takes memory for the entries that it has.
pub const ON_DEMAND: u32 = 1;

/// Places in [`HEADS`].
pub mod head {
    /// The next number of the half-open ring.
    pub const RING: u32 = 0;
    /// New connections until the defence `drop_packet` drops one.
    pub const UNTIL_DROP: u32 = 1;
    /// The next number of the connections that another director told of.
    pub const SYNCED: u32 = 2;
    /// The first and the last of them once more, for IPv6.
    pub const RING6: u32 = 3;
    pub const SYNCED6: u32 = 4;
    pub const COUNT: u32 = 5;
}

/// Places in [`STAGES`], and the programs that belong there.
pub mod stage {
    pub const SLOW: u32 = 0;
    pub const OPEN: u32 = 1;
    pub const ENTER: u32 = 2;
    pub const BORN: u32 = 3;
    /// The first stage of IPv6; those behind it follow, in the same order.
    pub const SIX: u32 = 4;
    /// From a stage to the same one of IPv6.
    pub const TO_SIX: u32 = SIX + 1;
    /// ICMP errors about connections, and about packets of tunnels.
    pub const ICMP: u32 = 2 * TO_SIX - 1;
    pub const TUNNELED: u32 = ICMP + 1;
    /// From one of these to the same one of IPv6.
    pub const ERROR_TO_SIX: u32 = 2;
    /// ICMP errors that open connections. Over IPv6 [`OPEN`] does that, too.
    pub const ASKED: u32 = ICMP + 2 * ERROR_TO_SIX;
    /// Packets for tunnels that take more than another header of the same IP; then those of IPv6.
    pub const WRAP: u32 = ASKED + 1;
    pub const WRAP_TO_SIX: u32 = 1;
    /// Fragments; that of IPv6 follows.
    pub const FRAGMENT: u32 = WRAP + WRAP_TO_SIX + 1;
    pub const FRAGMENT6: u32 = FRAGMENT + 1;
    /// Those of either family that the daemon held ([`crate::PuntReason::Early`]) and gives back. No stage calls it.
    pub const HELD: u32 = FRAGMENT6 + 1;
    /// Frames with tags of VLANs: takes them off.
    pub const UNTAG: u32 = HELD + 1;
    /// The first stage once more, for what was in them, by the constants of the VLAN device; and that of IPv6.
    pub const INNER: u32 = UNTAG + 1;
    pub const INNER6: u32 = INNER + 1;
    /// Frames of either family that are to have tags: those that they came with, or those of the device they leave by.
    pub const TAG: u32 = INNER6 + 1;
    pub const COUNT: u32 = TAG + 1;
    /// Program names by place.
    pub const PROGRAMS: [&str; COUNT as usize] = [
        "ipvs_slow",
        "ipvs_open",
        "ipvs_enter",
        "ipvs_born",
        "ipvs6",
        "ipvs6_slow",
        "ipvs6_open",
        "ipvs6_enter",
        "ipvs6_born",
        "ipvs_icmp",
        "ipvs_tunneled",
        "ipvs6_icmp",
        "ipvs6_tunneled",
        "ipvs_asked",
        "ipvs_wrap",
        "ipvs6_wrap",
        "ipvs_fragment",
        "ipvs6_fragment",
        "ipvs_held",
        "ipvs_untag",
        "ipvs_inner",
        "ipvs6_inner",
        "ipvs_tag",
    ];

    /// Whether a stage has the constants of one interface, as the first one has; all interfaces share the others.
    #[must_use]
    pub const fn is_of_interface(place: u32) -> bool {
        matches!(place, SIX | HELD)
    }
}

/// Read-only global of the program of one interface ([`crate::Iface`]).
pub const IFACE: &str = "IFACE";

/// Prefixes of match rules, those of two sets that wait to be removed included. Memory is taken for those that there are.
pub const MATCH_PREFIXES: u32 = 6 * MAX_MATCHES as u32;

/// Interfaces of the machine, and of those the VLAN devices, that are known at a time.
pub const LINKS: u32 = 1 << 14;

/// How many entries each map takes. A loader sizes the maps by these before it creates them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capacities {
    pub services: u32,
    pub dests: u32,
    /// Slots of the lists; a changed service briefly needs two lists.
    pub list_slots: u32,
    /// Slots of the hash tables of sh (256 a service) and mh (4,093 by default); a changed service briefly needs two.
    pub table_slots: u32,
    /// Established connections. A masqueraded one takes two entries of the map.
    pub conns: u32,
    /// Half-open connections, a power of two.
    pub half_open: u32,
    pub templates: u32,
    /// The same three of IPv6.
    pub conns6: u32,
    pub half_open6: u32,
    pub templates6: u32,
    /// Addresses in the cache of lblc.
    pub lblc: u32,
    /// Addresses in the cache of lblcr.
    pub lblcr: u32,
    /// Slots of the hash table of each service under mh, a prime.
    pub maglev: u32,
    /// Port ranges of match rules; changed rules briefly need room for both.
    pub match_slots: u32,
}

impl Capacities {
    pub const DEFAULT: Self = Self {
        services: 16_384,
        dests: 131_072,
        list_slots: 524_288,
        table_slots: 1 << 22,
        conns: 1 << 20,
        half_open: 1 << 20,
        templates: 1 << 18,
        conns6: 1 << 17,
        half_open6: 1 << 17,
        templates6: 1 << 16,
        lblc: 1 << 16,
        lblcr: 1 << 14,
        maglev: 4093,
        match_slots: 1 << 17,
    };

    /// Small ones, for tests.
    pub const SMALL: Self = Self {
        services: 256,
        dests: 4_096,
        list_slots: 16_384,
        table_slots: 1 << 16,
        conns: 1 << 16,
        half_open: 1 << 12,
        templates: 1 << 12,
        conns6: 1 << 14,
        half_open6: 1 << 12,
        templates6: 1 << 12,
        lblc: 1 << 12,
        lblcr: 1 << 10,
        maglev: 4093,
        match_slots: 1 << 16,
    };

    /// Entries of a map by its name; `None` for maps of a fixed size.
    #[must_use]
    pub fn entries(&self, map: &str) -> Option<u32> {
        Some(match map {
            SERVICES | SCHED_STATES => self.services,
            DEST_LISTS => self.list_slots,
            // Two slots in an entry, as entries of an array take eight bytes at least.
            HASH_TABLES => self.table_slots.div_ceil(2),
            DESTS | DEST_STATES | DEST_STATS => self.dests,
            // Those of a firewall mark are there for each protocol.
            MASQ_REALS => self.dests * 2,
            CONNS => self.conns * 2,
            HALF_OPEN => self.half_open * 2 + self.half_open / 8,
            HALF_OPEN_RING => self.half_open,
            TEMPLATES => self.templates,
            CONNS6 => self.conns6 * 2,
            HALF_OPEN6 => self.half_open6 * 2 + self.half_open6 / 8,
            HALF_OPEN_RING6 => self.half_open6,
            TEMPLATES6 => self.templates6,
            LBLC => self.lblc,
            LBLCR => self.lblcr,
            MATCH_SLOTS => self.match_slots,
            // Once as it stands, and once as it is to be after the batch that is under way.
            LEDGER => 2 * (self.services + self.dests + MAX_MATCHES as u32) + 64,
            _ => return None,
        })
    }
}
