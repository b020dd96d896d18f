//! What becomes of established TCP connections whose real server is gone, by name.

use ipvs_common::Policy;

/// One of the services' policies: see [`Policy`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnDead {
    /// As ip_vs does.
    Kernel,
    /// Tell the client with a reset.
    Reset,
    /// Give the connection to another real server.
    Reschedule,
}

impl OnDead {
    pub const ALL: [Self; 3] = [Self::Kernel, Self::Reset, Self::Reschedule];
    /// The bits that it takes of a policy.
    pub const MASK: u8 = Policy::RESET | Policy::RESCHEDULE;

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Reset => "reset",
            Self::Reschedule => "reschedule",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|o| o.name() == name)
    }

    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::Kernel => 0,
            Self::Reset => Policy::RESET,
            Self::Reschedule => Policy::RESCHEDULE,
        }
    }

    /// What a policy says of it.
    #[must_use]
    pub const fn of(policy: u8) -> Self {
        match policy & Self::MASK {
            0 => Self::Kernel,
            Policy::RESET => Self::Reset,
            _ => Self::Reschedule,
        }
    }
}
