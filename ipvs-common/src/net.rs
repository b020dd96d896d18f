//! Addresses and protocol numbers in the form in which maps hold them: network byte order, alignment 1.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytemuck::{Pod, Zeroable};

/// Ethernet address.
pub type Mac = [u8; 6];

/// IPv4 or IPv6 address, 16 bytes in network order; IPv4 in its mapped form `::ffff:a.b.c.d` (RFC 4291, 2.5.5.2).
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Pod, Zeroable)]
pub struct Addr([u8; 16]);

impl Addr {
    pub const UNSPECIFIED: Self = Self([0; 16]);

    #[must_use]
    #[inline(always)]
    pub const fn v4(a: [u8; 4]) -> Self {
        Self([
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a[0], a[1], a[2], a[3],
        ])
    }

    #[must_use]
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// The last four bytes: the IPv4 address, if this is one.
    #[must_use]
    #[inline(always)]
    pub const fn low4(self) -> [u8; 4] {
        [self.0[12], self.0[13], self.0[14], self.0[15]]
    }

    /// Whether it is an IPv4 address.
    #[must_use]
    pub const fn is_v4(self) -> bool {
        matches!(
            self.0,
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, _, _, _, _]
        )
    }

    #[inline(always)]
    fn halves(self) -> [[u8; 8]; 2] {
        bytemuck::cast(self.0)
    }

    #[inline(always)]
    fn of_halves(halves: [[u8; 8]; 2]) -> Self {
        Self(bytemuck::cast(halves))
    }

    #[must_use]
    #[inline(always)]
    pub const fn v6(a: [u8; 16]) -> Self {
        Self(a)
    }

    #[must_use]
    pub fn ip(self) -> IpAddr {
        Ipv6Addr::from(self.0).to_canonical()
    }
}

impl From<IpAddr> for Addr {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(a) => a.into(),
            IpAddr::V6(a) => Self(a.octets()),
        }
    }
}

impl From<Ipv4Addr> for Addr {
    fn from(a: Ipv4Addr) -> Self {
        Self::v4(a.octets())
    }
}

/// An address in the width that its family's tables have: four bytes, or [`Addr`] for IPv6.
pub trait Address:
    Pod + PartialEq + Eq + PartialOrd + Ord + core::hash::Hash + core::fmt::Debug + Default
{
    /// What makes a connection's entry a multiple of eight bytes.
    type Pad: Pod + PartialEq + Eq + core::fmt::Debug + Default;

    /// As which kind of number its keys are aligned: what crosses functions is moved in these.
    type Word: Pod
        + PartialEq
        + Eq
        + PartialOrd
        + Ord
        + core::hash::Hash
        + core::fmt::Debug
        + Default;

    /// Bits of an address.
    const BITS: u8;

    /// In the form that has room for both families.
    #[must_use]
    fn wide(self) -> Addr;

    /// Back from there; of an address of the other family, whatever is left.
    #[must_use]
    fn narrow(addr: Addr) -> Self;

    /// The network of this prefix length that it is in.
    #[must_use]
    fn network(self, prefix: u8) -> Self;

    /// A number of 32 bits in the place of an address.
    #[must_use]
    fn of_number(number: u32) -> Self;

    /// That number.
    #[must_use]
    fn number(self) -> u32;

    /// What the schedulers hash of it: the exclusive or of its words.
    #[must_use]
    fn fold(self) -> u32;
}

impl Address for [u8; 4] {
    type Pad = [u8; 0];
    type Word = u8;

    const BITS: u8 = 32;

    #[inline(always)]
    fn wide(self) -> Addr {
        Addr::v4(self)
    }
    #[inline(always)]
    fn narrow(addr: Addr) -> Self {
        addr.low4()
    }
    #[inline(always)]
    fn network(self, prefix: u8) -> Self {
        let host = 32 - u32::from(prefix.min(Self::BITS));
        (u32::from_be_bytes(self) & (u64::from(u32::MAX) << host) as u32).to_be_bytes()
    }
    #[inline(always)]
    fn of_number(number: u32) -> Self {
        number.to_be_bytes()
    }
    #[inline(always)]
    fn number(self) -> u32 {
        u32::from_be_bytes(self)
    }
    #[inline(always)]
    fn fold(self) -> u32 {
        u32::from_be_bytes(self)
    }
}

impl Address for Addr {
    type Pad = [u8; 4];
    type Word = u64;

    const BITS: u8 = 128;

    #[inline(always)]
    fn wide(self) -> Addr {
        self
    }
    #[inline(always)]
    fn narrow(addr: Addr) -> Self {
        addr
    }
    #[inline(always)]
    fn network(self, prefix: u8) -> Self {
        let [high, low] = self.halves().map(u64::from_be_bytes);
        // Two shifts, because one by the whole width means none.
        let mask = |bits: u32| !(u64::MAX >> (bits / 2) >> (bits - bits / 2));
        let prefix = u32::from(prefix.min(Self::BITS));
        let (first, rest) = (prefix.min(64), prefix.max(64) - 64);
        Self::of_halves([high & mask(first), low & mask(rest)].map(u64::to_be_bytes))
    }
    #[inline(always)]
    fn of_number(number: u32) -> Self {
        let [a, b, c, d] = number.to_be_bytes();
        Self([a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }
    #[inline(always)]
    fn number(self) -> u32 {
        let [number, ..]: [[u8; 4]; 4] = bytemuck::cast(self.0);
        u32::from_be_bytes(number)
    }
    #[inline(always)]
    fn fold(self) -> u32 {
        let [a, b, c, d]: [[u8; 4]; 4] = bytemuck::cast(self.0);
        u32::from_be_bytes(a)
            ^ u32::from_be_bytes(b)
            ^ u32::from_be_bytes(c)
            ^ u32::from_be_bytes(d)
    }
}

/// Transport protocols that are balanced; the values are IP's protocol numbers.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Proto {
    Tcp = 6,
    Udp = 17,
    Sctp = 132,
}

impl Proto {
    #[must_use]
    #[inline(always)]
    pub const fn from_number(n: u8) -> Option<Self> {
        match n {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            132 => Some(Self::Sctp),
            _ => None,
        }
    }

    /// The same of those that the first stage of the datapath looks after. The others' packets are fewer, and take more work.
    #[must_use]
    #[inline(always)]
    pub const fn of_first_stage(n: u8) -> Option<Self> {
        match n {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }

    /// As `ipvsadm -L` writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v6(text: &str) -> Addr {
        Addr::from(
            text.parse::<IpAddr>()
                .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        )
    }

    #[test]
    fn a_network_keeps_the_first_bits_of_an_address() {
        let of = |prefix| v6("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff").network(prefix);
        assert_eq!(of(0), v6("::"));
        assert_eq!(of(1), v6("::"));
        assert_eq!(of(33), v6("2001:db8:8000::"));
        assert_eq!(of(64), v6("2001:db8:ffff:ffff::"));
        assert_eq!(of(65), v6("2001:db8:ffff:ffff:8000::"));
        assert_eq!(of(128), v6("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"));
        assert_eq!([10, 1, 2, 3].network(15), [10, 0, 0, 0]);
        assert_eq!([10, 1, 2, 3].network(0), [0; 4]);
    }

    #[test]
    fn an_address_folds_to_the_exclusive_or_of_its_words() {
        assert_eq!(
            v6("1:2:3:4:5:6:7:8").fold(),
            0x0001_0002 ^ 0x0003_0004 ^ 0x0005_0006 ^ 0x0007_0008
        );
        assert_eq!([10, 0, 0, 1].fold(), 0x0a00_0001);
    }

    #[test]
    fn a_number_stands_where_an_address_begins() {
        assert_eq!(Addr::of_number(7).number(), 7);
        assert_eq!(Addr::of_number(7), v6("0:7::"));
        assert_eq!(<[u8; 4]>::of_number(7), [0, 0, 0, 7]);
    }
}
