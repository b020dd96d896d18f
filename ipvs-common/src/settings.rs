//! Settings that the daemon may change while packets flow.

use bytemuck::{Pod, Zeroable};

use crate::tcp::State;

/// Bits of [`Settings::flags`].
pub struct SettingsFlags;

impl SettingsFlags {
    /// Some service goes by a firewall mark.
    pub const HAS_FWMARK: u32 = 1;
    /// Some service has port 0.
    pub const HAS_PORT0: u32 = 2;
    /// Copy DF to the outer header and answer too big packets (`pmtu_disc`).
    pub const PMTU_DISC: u32 = 4;
    /// There are services at all.
    pub const HAS_SERVICES: u32 = 8;
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
    /// ICMP errors each CPU may send in a second; 0: no limit.
    pub icmp_rate: u32,
}

impl Settings {
    /// The kernel's defaults for a clock of `hz` ticks in a second.
    #[must_use]
    pub fn with_hz(hz: u32) -> Self {
        let mut timeouts = [0; State::SLOTS];
        for (slot, state) in timeouts.iter_mut().zip(State::ALL) {
            *slot = state.default_timeout() * hz;
        }
        Self {
            timeouts,
            hz,
            flags: SettingsFlags::PMTU_DISC,
            epoch: 1,
            icmp_rate: 1000,
        }
    }
}
