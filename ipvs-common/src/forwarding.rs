//! Forwarding methods, with the kernel's numbers (`IP_VS_CONN_F_*`).

/// How a packet gets from the director to a real server.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ForwardingMethod {
    /// Network address translation; replies come back through the director.
    Masq = 0,
    /// IP in IP; the real server answers the client itself.
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
