//! What becomes of a packet.
//!
//! Both types are one register wide and always whole: an enum whose variants carry data leaves the rest of it undefined, and
//! the verifier refuses a program that so much as moves an undefined register.

use core::num::NonZeroU64;

use ipvs_common::{DropReason, PassReason, maps::stage};

use crate::icmp;

/// What a stage decides on a frame: the final word, or that another stage has it.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict(NonZeroU64);

/// [`Verdict`], taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Up to the kernel's stack, as the frame is now.
    Pass,
    Drop,
    /// Out of the interface it came from.
    Tx,
    /// The daemon has it ([`crate::Frame::hand_over`]); here it ends.
    Handed,
    /// A frame that the daemon holds ([`ipvs_common::Iface::held`]) has to wait on.
    Waits,
    /// Out of the interface with this index.
    Redirect(u32),
    /// Out of the VLAN device with this index, which takes no frames from a native program: out of its port, with its tags.
    Tagged(u32),
    /// Not decided yet: the stage with this number ([`ipvs_common::maps::stage`]; that of the frame's family) goes on. No byte
    /// was changed.
    Stage(u32),
}

impl Verdict {
    pub const PASS: Self = Self::code(1);
    pub const DROP: Self = Self::code(2);
    pub const TX: Self = Self::code(3);
    pub const HANDED: Self = Self::code(4);
    pub const WAITS: Self = Self::code(7);
    /// [`crate::pipeline::slow`] goes on.
    pub const SLOW: Self = Self::stage(stage::SLOW);
    /// [`crate::pipeline::open`] goes on.
    pub const OPEN: Self = Self::stage(stage::OPEN);
    /// [`crate::pipeline::enter`] goes on.
    pub const ENTER: Self = Self::stage(stage::ENTER);
    /// [`crate::pipeline::born`] goes on.
    pub const BORN: Self = Self::stage(stage::BORN);
    /// [`crate::pipeline::fragment`] goes on.
    pub const FRAGMENT: Self = Self::stage(stage::FRAGMENT);
    /// [`crate::pipeline::fast`] of IPv6 goes on.
    pub const SIX: Self = Self::stage(stage::SIX);
    /// [`crate::pipeline::untag`] goes on.
    pub const UNTAG: Self = Self::stage(stage::UNTAG);
    /// [`crate::pipeline::fast`] goes on, by the constants of a VLAN device; the second is that of IPv6.
    pub const INNER: Self = Self::stage(stage::INNER);
    /// The same.
    pub const INNER6: Self = Self::stage(stage::INNER6);

    #[inline(always)]
    const fn stage(number: u32) -> Self {
        Self::code(6 | (number as u64) << 32)
    }

    #[inline(always)]
    pub const fn redirect(ifindex: u32) -> Self {
        Self::code(5 | (ifindex as u64) << 32)
    }

    #[inline(always)]
    pub const fn tagged(ifindex: u32) -> Self {
        Self::code(8 | (ifindex as u64) << 32)
    }

    #[inline(always)]
    const fn code(n: u64) -> Self {
        match NonZeroU64::new(n) {
            Some(n) => Self(n),
            None => Self(NonZeroU64::MIN),
        }
    }

    /// As two numbers, and back.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn halves(self) -> (u8, u32) {
        (self.0.get() as u8, (self.0.get() >> 32) as u32)
    }

    #[inline(always)]
    pub(crate) const fn of_halves(what: u8, number: u32) -> Self {
        Self::code(what as u64 | (number as u64) << 32)
    }

    #[must_use]
    #[inline(always)]
    pub const fn action(self) -> Action {
        match self.0.get() as u32 {
            1 => Action::Pass,
            3 => Action::Tx,
            4 => Action::Handed,
            7 => Action::Waits,
            5 => Action::Redirect((self.0.get() >> 32) as u32),
            6 => Action::Stage((self.0.get() >> 32) as u32),
            8 => Action::Tagged((self.0.get() >> 32) as u32),
            _ => Action::Drop,
        }
    }
}

/// A step's way to end the work on a packet early, with its reason.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exit(u64);

/// [`Exit`], taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// With the slot of the reason.
    Pass(u32),
    /// With the slot of the reason.
    Drop(u32),
    /// Another stage goes on.
    Stage(Verdict),
    /// Replace the packet by an error about it, which counts as a reply of the real server with this index
    /// ([`NO_DEST`]: of none).
    Answer(icmp::Error, u32),
}

/// No real server.
pub const NO_DEST: u32 = u32::MAX;

const ANSWER: u64 = 2;
const STAGE: u64 = 3;

impl Exit {
    /// Nothing ends: the other stage goes on.
    pub const SLOW: Self = Self(STAGE | (stage::SLOW as u64) << 32);
    /// The same.
    pub const OPEN: Self = Self(STAGE | (stage::OPEN as u64) << 32);
    /// The same.
    pub const BORN: Self = Self(STAGE | (stage::BORN as u64) << 32);
    /// The same.
    pub const SIX: Self = Self(STAGE | (stage::SIX as u64) << 32);
    /// The same.
    pub const UNTAG: Self = Self(STAGE | (stage::UNTAG as u64) << 32);
    /// The same.
    pub const FRAGMENT: Self = Self(STAGE | (stage::FRAGMENT as u64) << 32);
    /// The same.
    pub const ICMP: Self = Self(STAGE | (stage::ICMP as u64) << 32);
    /// The same.
    pub const ASKED: Self = Self(STAGE | (stage::ASKED as u64) << 32);
    /// The same.
    pub const TUNNELED: Self = Self(STAGE | (stage::TUNNELED as u64) << 32);
    /// The same.
    pub const WRAP: Self = Self(STAGE | (stage::WRAP as u64) << 32);

    #[inline(always)]
    pub const fn answer(error: icmp::Error, dest: u32) -> Self {
        Self(ANSWER | (error.word() as u64) << 8 | (dest as u64) << 32)
    }

    /// As a number, and back.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn word(self) -> u64 {
        self.0
    }

    #[inline(always)]
    pub(crate) const fn from_word(word: u64) -> Self {
        Self(word)
    }

    #[must_use]
    #[inline(always)]
    pub const fn ending(self) -> Ending {
        match self.0 & 0xff {
            0 => Ending::Pass((self.0 >> 32) as u32),
            ANSWER => Ending::Answer(
                icmp::Error::from_word((self.0 >> 8) as u32 & 0xff_ffff),
                (self.0 >> 32) as u32,
            ),
            STAGE => Ending::Stage(Verdict::stage((self.0 >> 32) as u32)),
            _ => Ending::Drop((self.0 >> 32) as u32),
        }
    }
}

impl From<DropReason> for Exit {
    #[inline(always)]
    fn from(r: DropReason) -> Self {
        Self(1 | u64::from(r.slot()) << 32)
    }
}

impl From<PassReason> for Exit {
    #[inline(always)]
    fn from(r: PassReason) -> Self {
        Self(u64::from(r.slot()) << 32)
    }
}
