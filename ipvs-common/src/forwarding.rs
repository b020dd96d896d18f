//! Forwarding methods, with the kernel's numbers (`IP_VS_CONN_F_*`).

/// How a packet gets from the director to a real server.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ForwardingMethod {
    /// Network address translation; replies come back through the director.
    Masq = 0,
    /// Within another packet ([`TunnelKind`]); the real server answers the client itself.
    Tunnel = 2,
    /// Direct routing: only the Ethernet addresses change.
    Droute = 3,
}

impl ForwardingMethod {
    /// In the place of a method, of connections only: to the packet's own destination, for want of a real server
    /// (`cache_bypass`).
    pub const BYPASS: u8 = 4;
    /// In the place of a method, of a packet that no real server is available for: tell its client.
    pub const REFUSE: u8 = 5;

    pub const ALL: [Self; 3] = [Self::Masq, Self::Tunnel, Self::Droute];

    #[must_use]
    #[inline(always)]
    pub const fn from_number(n: u8) -> Option<Self> {
        match n {
            0 => Some(Self::Masq),
            2 => Some(Self::Tunnel),
            3 => Some(Self::Droute),
            _ => None,
        }
    }

    /// The word in the `Forward` column of `ipvsadm -L`.
    #[must_use]
    pub const fn listing_name(self) -> &'static str {
        match self {
            Self::Masq => "Masq",
            Self::Tunnel => "Tunnel",
            Self::Droute => "Route",
        }
    }

    /// The word in configuration files and in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Masq => "masq",
            Self::Tunnel => "tunnel",
            Self::Droute => "droute",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.name() == name)
    }
}

/// How a packet travels to a real server behind a tunnel, with the kernel's numbers (`IP_VS_CONN_F_TUNNEL_TYPE_*`).
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TunnelKind {
    /// IP in IP.
    Ipip = 0,
    /// Generic UDP encapsulation.
    Gue = 1,
    /// Generic routing encapsulation.
    Gre = 2,
}

impl TunnelKind {
    pub const ALL: [Self; 3] = [Self::Ipip, Self::Gue, Self::Gre];

    /// Bytes of its own header, without IP's.
    #[must_use]
    pub const fn header(self, checksum: bool) -> u8 {
        match self {
            Self::Ipip => 0,
            Self::Gue => 12,
            Self::Gre => {
                if checksum {
                    8
                } else {
                    4
                }
            }
        }
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipip => "ipip",
            Self::Gue => "gue",
            Self::Gre => "gre",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.name() == name)
    }

    #[must_use]
    #[inline(always)]
    pub const fn from_number(n: u8) -> Option<Self> {
        match n {
            0 => Some(Self::Ipip),
            1 => Some(Self::Gue),
            2 => Some(Self::Gre),
            _ => None,
        }
    }
}
