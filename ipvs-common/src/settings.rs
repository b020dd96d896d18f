//! Settings that the daemon may change while packets flow.

use bytemuck::{Pod, Zeroable};

use crate::tcp::State;

/// Bits of [`Settings::flags`].
pub struct SettingsFlags;

impl SettingsFlags {
    /// Some IPv4 service goes by a firewall mark.
    pub const HAS_FWMARK: u32 = 1;
    /// Some IPv4 service has port 0.
    pub const HAS_PORT0: u32 = 2;
    /// Copy DF to the outer header and answer too big packets (`pmtu_disc`).
    pub const PMTU_DISC: u32 = 4;
    /// There are IPv4 services at all.
    pub const HAS_SERVICES: u32 = 8;
    /// Some TCP service over IPv4 has port 21 (FTP): it takes the data connections, too.
    pub const HAS_FTP: u32 = 16;
    /// A connection whose real server was deleted ends (`expire_nodest_conn`).
    pub const EXPIRE_NODEST: u32 = 32;
    /// A template whose real server is quiesced is not used (`expire_quiescent_template`).
    pub const EXPIRE_QUIESCENT: u32 = 64;
    /// Any TCP segment but RST may open a connection (`sloppy_tcp`).
    pub const SLOPPY_TCP: u32 = 128;
    /// The stricter state table is in force (`secure_tcp`).
    pub const SECURE_TCP: u32 = 256;
    /// Without a real server, packets of firewall mark services go on to their own destination (`cache_bypass`).
    pub const CACHE_BYPASS: u32 = 512;
    /// Announced connections may be waiting for their clients.
    pub const HAS_EXPECTED: u32 = 1024;
    /// The same four of IPv6.
    pub const HAS_SERVICES6: u32 = 1 << 11;
    pub const HAS_FWMARK6: u32 = 1 << 12;
    pub const HAS_PORT0_6: u32 = 1 << 13;
    pub const HAS_FTP6: u32 = 1 << 14;
    /// An ICMP error about no connection opens one (`schedule_icmp`).
    pub const SCHEDULE_ICMP: u32 = 1 << 15;
    /// A backup director is told of connections and templates: the daemon wants to know of those that change.
    pub const SYNC_MASTER: u32 = 1 << 16;
    /// Another director tells this one of its connections.
    pub const SYNC_BACKUP: u32 = 1 << 17;
    /// As long as one does, this one balances nothing (`backup_only`).
    pub const BACKUP_ONLY: u32 = 1 << 18;
    /// Masqueraded real servers are told of packets that belong to no connection (`nat_icmp_send`).
    pub const NAT_ICMP_SEND: u32 = 1 << 19;
    /// Match rules may give packets of IPv4, and of IPv6, a firewall mark.
    pub const HAS_MATCHES: u32 = 1 << 20;
    pub const HAS_MATCHES6: u32 = 1 << 21;
    /// Any SCTP packet but an ABORT may open a connection (`sloppy_sctp`).
    pub const SLOPPY_SCTP: u32 = 1 << 22;
}

impl Settings {
    /// The clients' packets are the other director's business.
    #[must_use]
    #[inline(always)]
    pub const fn stands_by(&self) -> bool {
        const BOTH: u32 = SettingsFlags::SYNC_BACKUP | SettingsFlags::BACKUP_ONLY;
        self.flags & BOTH == BOTH
    }
}

/// The one value of the `SETTINGS` map.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct Settings {
    /// Timeout of each [`State`] in ticks.
    pub timeouts: [u32; State::SLOTS],
    /// Ticks in a second: the kernel's `CONFIG_HZ`.
    pub hz: u32,
    /// [`SettingsFlags`].
    pub flags: u32,
    /// A [`crate::Hop`] with another epoch is asked anew.
    pub epoch: u32,
    /// ICMP errors that may be sent in a second, "fragmentation needed" and others apart; 0: no limit, for no destination
    /// either.
    pub icmp_rate: u32,
    /// When a SYN on a known connection is scheduled anew (`conn_reuse_mode`): 0 never, 1 if it is closed, bit 2 also while
    /// it closes and nothing is seen of its real server.
    pub conn_reuse_mode: u32,
    /// One new connection of so many is dropped (`drop_packet` in force); 0: none.
    pub drop_rate: u32,
    /// Age in ticks at which lblcr takes the most loaded real server out of a set that did not change.
    pub lblcr_expiration: u32,
    /// First port that needs no privilege: data connections of FTP go to such (host order).
    pub unprivileged_port: u32,
    /// Number of the match rules in force ([`crate::MatchPlace::set`]); 0: there are none.
    pub match_set: u32,
}

impl Settings {
    /// The kernel's defaults for a clock of `hz` ticks in a second.
    #[must_use]
    pub fn with_hz(hz: u32) -> Self {
        let mut timeouts = [0; State::SLOTS];
        for state in State::ALL {
            timeouts[state as usize] = state.default_timeout() * hz;
        }
        Self {
            timeouts,
            hz,
            flags: SettingsFlags::PMTU_DISC,
            epoch: 1,
            icmp_rate: 1000,
            conn_reuse_mode: 1,
            drop_rate: 0,
            lblcr_expiration: 24 * 3600 * hz,
            unprivileged_port: 1024,
            match_set: 0,
        }
    }
}
