//! The schedulers: numbers for the maps, names for people. Adding one starts here.

/// How a service chooses the real server of a new connection.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scheduler {
    /// Round robin, blind to weights other than 0.
    Rr = 0,
    /// Weighted least connection.
    Wlc = 1,
    /// Locality-based least connection.
    Lblc = 2,
}

impl Scheduler {
    pub const ALL: [Self; 3] = [Self::Rr, Self::Wlc, Self::Lblc];

    /// What `ipvsadm -A` uses without `-s`.
    pub const DEFAULT: Self = Self::Wlc;

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rr => "rr",
            Self::Wlc => "wlc",
            Self::Lblc => "lblc",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    #[must_use]
    #[inline(always)]
    pub const fn from_number(n: u8) -> Option<Self> {
        match n {
            0 => Some(Self::Rr),
            1 => Some(Self::Wlc),
            2 => Some(Self::Lblc),
            _ => None,
        }
    }
}
