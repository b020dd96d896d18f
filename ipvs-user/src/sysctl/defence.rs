//! Defence against floods: which of `drop_entry`, `drop_packet` and `secure_tcp` are in force.
//!
//! Each has a mode: 0 never, 3 always; 1 automatic, which becomes 2 when memory gets low, and 1 again when it no longer is.

use super::{Knob, Knobs};

const OFF: u32 = 0;
/// Automatic, and at rest.
const WAITING: u32 = 1;
/// Automatic, and in force.
const ROUSED: u32 = 2;
const ALWAYS: u32 = 3;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Defence {
    drop_entry: bool,
    /// One new connection of so many is dropped; 0: none.
    drop_rate: u32,
    secure_tcp: bool,
}

impl Defence {
    #[must_use]
    pub const fn drop_entry(&self) -> bool {
        self.drop_entry
    }

    #[must_use]
    pub const fn drop_rate(&self) -> u32 {
        self.drop_rate
    }

    #[must_use]
    pub const fn secure_tcp(&self) -> bool {
        self.secure_tcp
    }

    /// Follows knobs that were just turned, as far as it takes no look at the memory: the automatic modes wait for
    /// [`Self::tick`].
    pub const fn settle(&mut self, knobs: &Knobs) {
        if let Some(on) = decided(knobs.get(Knob::DropEntry)) {
            self.drop_entry = on;
        }
        if let Some(on) = decided(knobs.get(Knob::DropPacket)) {
            self.drop_rate = if on { knobs.get(Knob::AmDroprate) } else { 0 };
        }
        if let Some(on) = decided(knobs.get(Knob::SecureTcp)) {
            self.secure_tcp = on;
        }
    }

    /// Once a second: compares the available memory, in pages, with what there should be. The automatic modes move.
    pub fn tick(&mut self, knobs: &mut Knobs, available: u64) {
        let wanted = u64::from(knobs.get(Knob::Amemthresh));
        let missing = wanted.saturating_sub(available);
        let mut in_force = |knob| {
            let (mode, on) = next(knobs.get(knob), missing != 0);
            knobs.put(knob, mode);
            on
        };
        self.drop_entry = in_force(Knob::DropEntry);
        self.secure_tcp = in_force(Knob::SecureTcp);
        let drops = in_force(Knob::DropPacket);
        self.drop_rate = match knobs.get(Knob::DropPacket) {
            ALWAYS => knobs.get(Knob::AmDroprate),
            // The less is left, the more is dropped.
            _ if drops => (wanted / missing.max(1)) as u32,
            _ => 0,
        };
    }
}

/// Whether a mode puts a defence in force, if that does not hang on the memory.
const fn decided(mode: u32) -> Option<bool> {
    match mode {
        OFF => Some(false),
        ALWAYS => Some(true),
        _ => None,
    }
}

/// The mode after a look at the memory, and whether the defence is in force.
const fn next(mode: u32, low: bool) -> (u32, bool) {
    match mode {
        WAITING | ROUSED => (if low { ROUSED } else { WAITING }, low),
        mode => (mode, mode == ALWAYS),
    }
}
