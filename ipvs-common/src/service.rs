//! Virtual services and real servers as the maps hold them.

use bytemuck::{Pod, Zeroable};

use crate::{conn::Hop, net::Addr};

/// Key of a virtual service: either address, port and protocol, or a firewall mark, whose address is the unspecified one of its
/// family.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Pod, Zeroable)]
pub struct ServiceKey {
    pub addr: Addr,
    /// Network order; 0 takes every port.
    pub port: [u8; 2],
    /// IP protocol number; 0 with a mark.
    pub proto: u8,
    pub pad: u8,
    /// Host order; 0 without.
    pub mark: u32,
}

impl ServiceKey {
    #[must_use]
    #[inline(always)]
    pub const fn v4(proto: u8, addr: [u8; 4], port: [u8; 2]) -> Self {
        Self::at(proto, Addr::v4(addr), port)
    }

    #[must_use]
    #[inline(always)]
    pub const fn at(proto: u8, addr: Addr, port: [u8; 2]) -> Self {
        Self {
            addr,
            port,
            proto,
            pad: 0,
            mark: 0,
        }
    }

    #[must_use]
    #[inline(always)]
    pub const fn fwmark(mark: u32) -> Self {
        Self {
            addr: Addr::v4([0; 4]),
            ..Self::fwmark6(mark)
        }
    }

    /// IPv6 packets with this mark.
    #[must_use]
    #[inline(always)]
    pub const fn fwmark6(mark: u32) -> Self {
        Self {
            addr: Addr::UNSPECIFIED,
            port: [0; 2],
            proto: 0,
            pad: 0,
            mark,
        }
    }
}

/// Bits of [`Service::flags`], with the kernel's numbers (`IP_VS_SVC_F_*`).
pub struct ServiceFlags;

impl ServiceFlags {
    pub const PERSISTENT: u8 = 1;
    /// Every datagram is scheduled by itself; UDP only.
    pub const ONE_PACKET: u8 = 4;
    /// The scheduler's own: `sh-fallback`, `mh-fallback`.
    pub const FALLBACK: u8 = 8;
    /// The scheduler's own: `sh-port`, `mh-port`.
    pub const PORT: u8 = 16;
    /// The scheduler's own; none has a use for it.
    pub const SCHED_3: u8 = 32;
    /// The three of them.
    pub const SCHED: u8 = Self::FALLBACK | Self::PORT | Self::SCHED_3;
}

/// Bits of [`Service::policy`] and [`Dest::policy`]: where a service may do better than ip_vs. None of them: as ip_vs does.
pub struct Policy;

impl Policy {
    /// The real server of an established TCP connection is gone: tell the client with a reset.
    pub const RESET: u8 = 1;
    /// The same: give the connection to another real server on that very packet.
    pub const RESCHEDULE: u8 = 2;
    /// A SYN on a closing connection is scheduled anew at once, persistence or not.
    pub const REOPEN: u8 = 4;
    /// A persistence template ends with its real server, be that deleted or quiesced.
    pub const TEMPLATES_DIE: u8 = 8;
}

/// A virtual service.
///
/// Its real servers are `DEST_LISTS[list_base ..][.. list_len]`, newest first. An edit writes a new list in another place and
/// then replaces this value in one step, so a packet sees either the old list or the new one. The same holds for the hash
/// table of a scheduler that has one, which is `HASH_TABLES[table_base ..][.. table_len]`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct Service {
    /// Index into the scheduler states.
    pub id: u32,
    pub list_base: u32,
    /// At most [`Service::MAX_DESTS`].
    pub list_len: u32,
    /// Persistence timeout in seconds.
    pub persist_timeout: u32,
    /// A [`crate::Scheduler`].
    pub scheduler: u8,
    /// [`ServiceFlags`].
    pub flags: u8,
    /// Client network of the persistence, 1..=32 for IPv4, 1..=128 for IPv6.
    pub persist_prefix: u8,
    /// [`Policy`].
    pub policy: u8,
    /// Host order; 0 without.
    pub mark: u32,
    /// As in the key, network order.
    pub port: [u8; 2],
    pub pad: [u8; 2],
    /// sh, mh: indices of real servers by hash.
    pub table_base: u32,
    pub table_len: u32,
    /// wrr: the largest weight, less the step, plus one.
    pub wrr_max: u32,
    /// wrr: the greatest common divisor of the weights.
    pub wrr_step: u32,
}

impl Service {
    /// Real servers of one service.
    pub const MAX_DESTS: u32 = 1024;
}

/// Bits of [`Dest::flags`].
pub struct DestFlags;

impl DestFlags {
    /// In a service's list. Without it the real server was deleted and only old connections refer to it.
    pub const AVAILABLE: u8 = 1;
    /// Its tunnel takes more than the other header of its service's own family.
    pub const WRAPPED: u8 = 2;
    /// Of the other address family than its service.
    pub const OTHER_FAMILY: u8 = 4;
    /// The tunnel's own header has a checksum.
    pub const CHECKSUM: u8 = 8;
}

/// A real server of one service, as configured. The daemon alone writes it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct Dest {
    pub addr: Addr,
    /// Source address of the outer header (tunnel).
    pub tunnel_src: Addr,
    /// 0 quiesces.
    pub weight: u32,
    /// Upper threshold of connections; 0: none.
    pub upper: u32,
    /// Lower threshold.
    pub lower: u32,
    pub service: u32,
    /// Index in the service's list.
    pub position: u32,
    /// Network order; 0 keeps the packet's port.
    pub port: [u8; 2],
    /// A [`crate::ForwardingMethod`].
    pub method: u8,
    /// [`DestFlags`].
    pub flags: u8,
    /// [`Policy`] of its service.
    pub policy: u8,
    /// A [`crate::TunnelKind`].
    pub tunnel: u8,
    /// Bytes that its tunnel puts before a packet.
    pub overhead: u8,
    /// Of gue, network order.
    pub tunnel_port: [u8; 2],
    pub pad: [u8; 3],
}

/// A place in a service's list.
///
/// The weight stands here, too, so that a scheduler that looks at every real server reads one table in a row.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct ListSlot {
    pub dest: u32,
    pub weight: u32,
}

/// What the datapath keeps of a real server. The daemon clears it when an index is given to another real server, and
/// otherwise only reads.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct DestState {
    /// Connections in an active state.
    pub active: u32,
    /// The other connections.
    pub inactive: u32,
    /// Templates.
    pub persistent: u32,
    /// 1: the upper threshold was reached; no new connections.
    pub overloaded: u32,
    /// Way to the real server.
    pub hop: Hop,
    /// Longest packet that a router on a tunnel's way said it takes.
    pub path_mtu: u32,
    /// Until when that is believed, in ticks.
    pub path_until: u64,
    pub pad: [u8; 8],
}

/// What a scheduler remembers of a service.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct SchedState {
    /// rr, wrr: 0 for the head of the list, else 1 + index of the real server chosen last.
    pub last: u32,
    /// wrr: weight that a real server must have to be chosen now.
    pub weight: u32,
}

/// Key of the caches of lblc and lblcr.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Pod, Zeroable)]
pub struct LblcKey {
    /// Destination address of the packet.
    pub addr: Addr,
    /// Index of the service.
    pub service: u32,
}

/// lblc: the real server that serves an address.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct LblcEntry {
    /// Time of the last use, in ticks.
    pub last_use: u64,
    pub dest: u32,
    pub pad: u32,
}

/// lblcr: the real servers that serve an address, the newest last.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct LblcrEntry {
    /// Time of the last use, in ticks.
    pub last_use: u64,
    /// Time when the set last changed, in ticks.
    pub last_change: u64,
    pub count: u32,
    pub pad: u32,
    pub members: [u32; LblcrEntry::MAX_MEMBERS],
}

impl LblcrEntry {
    /// Members of a set; a further one takes the place of the oldest. (ip_vs has no bound.)
    pub const MAX_MEMBERS: usize = 64;

    /// The oldest first.
    #[must_use]
    pub fn members(&self) -> &[u32] {
        let count = (self.count as usize).min(Self::MAX_MEMBERS);
        &self.members[..count]
    }
}
