//! What else a service or a real server may be told: a persistence engine, and the kind of a tunnel. Names and values.

/// Finds persistent clients by what is in their packets, not by their address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Engine {
    /// By the call's identity.
    Sip = 1,
}

impl Engine {
    pub const NAMES: [&str; 1] = [Self::Sip.name()];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sip => "sip",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        (name == Self::Sip.name()).then_some(Self::Sip)
    }

    /// What stands for it in a record that outlives the daemon.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    #[must_use]
    pub fn from_number(n: u8) -> Option<Self> {
        (n == Self::Sip.number()).then_some(Self::Sip)
    }
}

pub use ipvs_common::TunnelKind;

/// How packets are packed for a real server behind a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tunnel {
    pub kind: TunnelKind,
    /// UDP port of gue, where it must not be 0.
    pub port: u16,
    pub checksum: TunnelChecksum,
}

impl Tunnel {
    pub const IPIP: Self = Self {
        kind: TunnelKind::Ipip,
        port: 0,
        checksum: TunnelChecksum::None,
    };
}

/// Checksum of the outer header of gue and gre.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TunnelChecksum {
    None = 0,
    Full = 1,
    /// The inner one is left to the far end (gue).
    Remote = 2,
}

impl TunnelChecksum {
    pub const ALL: [Self; 3] = [Self::None, Self::Full, Self::Remote];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Full => "full",
            Self::Remote => "remote",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.name() == name)
    }

    #[must_use]
    pub fn from_number(n: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|k| *k as u8 == n)
    }
}
