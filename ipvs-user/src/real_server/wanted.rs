//! What a real server is to be: its virtual addresses, and how packets come to it. Pure; also what the state file keeps.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use clap::ValueEnum;
use ipvs_common::unpack::Kind;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Direct routing: packets come as the client sent them (ipvsadm -g)
    Dr,
    /// Packets come inside others (ipvsadm -i)
    Tunnel,
    /// Packets come to this machine's own address (ipvsadm -m)
    Masq,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TunnelType {
    /// IP in IP, either version in either
    #[default]
    Ipip,
    /// Generic UDP encapsulation
    Gue,
    Gre,
}

impl TunnelType {
    pub(super) const fn kind(self) -> Kind {
        match self {
            Self::Ipip => Kind::Ipip,
            Self::Gue => Kind::Gue,
            Self::Gre => Kind::Gre,
        }
    }
}

impl fmt::Display for TunnelType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipip => "IP in IP",
            Self::Gue => "GUE",
            Self::Gre => "GRE",
        })
    }
}

/// Who takes packets out of their tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unpacker {
    /// The kernel's devices, or an XDP program where it has none
    #[default]
    Auto,
    /// The kernel's tunnel devices
    Kernel,
    /// An XDP program on the interfaces that packets come in by
    Xdp,
}

/// A tunnel, as far as its packets' headers go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tunnel {
    pub kind: TunnelType,
    /// Of GUE; else 0.
    pub port: u16,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Wanted {
    pub vips: BTreeSet<IpAddr>,
    pub method: Method,
    /// With the method of that name.
    pub tunnel: Option<Tunnel>,
    /// Where the addresses go.
    pub device: String,
    pub director: Option<IpAddr>,
    pub unpacker: Unpacker,
    /// Where an XDP program goes; none: where the machine has addresses.
    pub interfaces: Vec<String>,
}

impl Wanted {
    /// With the virtual addresses that were wanted before. Anything else must be as it was.
    pub fn beside(mut self, before: &Self) -> Result<Self, &'static str> {
        if self.method != before.method {
            return Err("--method");
        }
        if self.tunnel != before.tunnel {
            return Err("--tunnel-type or --port");
        }
        if self.device != before.device {
            return Err("--device");
        }
        if self.unpacker != before.unpacker {
            return Err("--unpack");
        }
        if self.interfaces != before.interfaces {
            return Err("--interface");
        }
        self.vips.extend(&before.vips);
        self.director = self.director.or(before.director);
        Ok(self)
    }

    pub(super) fn has(&self, family: Family) -> bool {
        self.vips.iter().any(|vip| Family::of(*vip) == family)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The prefix of a single address.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// A kind of tunnel device that the kernel may have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    Ipip,
    Ip6tnl,
    Sit,
    Gre,
    Ip6gre,
}

impl Device {
    pub const ALL: [Self; 5] = [Self::Ipip, Self::Ip6tnl, Self::Sit, Self::Gre, Self::Ip6gre];

    /// What netlink calls it.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Ipip => "ipip",
            Self::Ip6tnl => "ip6tnl",
            Self::Sit => "sit",
            Self::Gre => "gre",
            Self::Ip6gre => "ip6gre",
        }
    }

    /// The kernel's module that brings it.
    #[must_use]
    pub const fn module(self) -> &'static str {
        match self {
            Self::Ipip => "ipip",
            Self::Ip6tnl => "ip6_tunnel",
            Self::Sit => "sit",
            Self::Gre => "ip_gre",
            Self::Ip6gre => "ip6_gre",
        }
    }

    /// The device that is made, if none will do that is there. There is only one `sit` without a far end, and it is the
    /// kernel's.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipip => "ipvs-ipip",
            Self::Ip6tnl => "ipvs-ip6tnl",
            Self::Sit => "sit0",
            Self::Gre => "ipvs-gre",
            Self::Ip6gre => "ipvs-ip6gre",
        }
    }

    /// Whether such a device can be told to take packets of every sender besides the kernel's own one that does.
    #[must_use]
    pub const fn is_external(self) -> bool {
        !matches!(self, Self::Sit)
    }

    /// What takes packets of `inner` out of those of `outer`.
    pub(super) const fn of(kind: TunnelType, outer: Family, inner: Family) -> Self {
        match (kind, outer, inner) {
            (TunnelType::Gre, Family::V4, _) => Self::Gre,
            (TunnelType::Gre, Family::V6, _) => Self::Ip6gre,
            (_, Family::V6, _) => Self::Ip6tnl,
            (_, Family::V4, Family::V4) => Self::Ipip,
            (_, Family::V4, Family::V6) => Self::Sit,
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}
