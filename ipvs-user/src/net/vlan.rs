//! VLAN devices: on which interface the frames of one come and go, and with which tags.

use ipvs_common::{Tags, VlanKey};
use rtnetlink::packet_route::link::{InfoData, InfoVlan, VlanProtocol};

use super::Link;

/// What a VLAN device adds to the interface below it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vlan {
    /// That interface.
    pub on: u32,
    /// As it stands in a frame.
    pub tag: [u8; 4],
}

impl Vlan {
    pub(super) fn parse(on: u32, data: &InfoData) -> Option<Self> {
        let InfoData::Vlan(facts) = data else {
            return None;
        };
        let (mut id, mut kind) = (None, VlanKey::CUSTOMER);
        for fact in facts {
            if let InfoVlan::Id(number) = fact {
                id = Some(number.to_be_bytes());
            } else if let InfoVlan::Protocol(VlanProtocol::Ieee8021Ad) = fact {
                kind = VlanKey::SERVICE;
            }
        }
        let tag = [kind, id?].as_flattened().try_into().ok()?;
        Some(Self { on, tag })
    }
}

/// An interface and the tags that a VLAN device's frames have there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tagged<'l> {
    pub port: &'l Link,
    pub tags: Tags,
    pub tags_len: u32,
}

impl Tagged<'_> {
    /// Bytes that one tag has.
    const ONE: u32 = 4;

    /// Longest IP packet that goes through the port. A frame may be one tag longer than others there.
    #[must_use]
    pub const fn mtu(&self) -> u32 {
        (self.port.mtu + Self::ONE).saturating_sub(self.tags_len)
    }
}

/// The first of the interfaces below a VLAN device that `is_port`. `None`: there is none, or more than two tags lie between.
#[must_use]
pub fn tagged<'l>(
    links: &'l [Link],
    device: &Link,
    is_port: impl Fn(&Link) -> bool,
) -> Option<Tagged<'l>> {
    let Vlan { on, tag } = device.vlan?;
    let below = |on| links.iter().find(|l| l.ifindex == on);
    let (mut port, mut tags, mut tags_len) = (below(on)?, Tags::default(), Tagged::ONE);
    tags[..4].copy_from_slice(&tag);
    if !is_port(port) {
        let Vlan { on, tag } = port.vlan?;
        tags.copy_within(..4, 4);
        tags[..4].copy_from_slice(&tag);
        (port, tags_len) = (below(on)?, 2 * Tagged::ONE);
    }
    is_port(port).then_some(Tagged {
        port,
        tags,
        tags_len,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETH0: u32 = 2;

    fn link(ifindex: u32, vlan: Option<(u32, [u8; 2], u16)>) -> Link {
        Link {
            ifindex,
            mtu: 1500,
            vlan: vlan.map(|(on, [a, b], id)| {
                let [c, d] = id.to_be_bytes();
                let tag = [a, b, c, d];
                Vlan { on, tag }
            }),
            ..Link::default()
        }
    }

    fn links() -> [Link; 4] {
        [
            link(ETH0, None),
            link(3, Some((ETH0, VlanKey::SERVICE, 100))),
            link(4, Some((3, VlanKey::CUSTOMER, 7))),
            link(5, Some((4, VlanKey::CUSTOMER, 8))),
        ]
    }

    #[test]
    fn the_outer_tag_comes_first() {
        let links = links();
        let found = tagged(&links, &links[2], |l| l.vlan.is_none()).unwrap();
        assert_eq!((found.port.ifindex, found.tags_len), (ETH0, 8));
        assert_eq!(found.tags, [0x88, 0xa8, 0, 100, 0x81, 0, 0, 7]);
        assert_eq!(found.mtu(), 1496);
        let one = tagged(&links, &links[1], |l| l.vlan.is_none()).unwrap();
        assert_eq!((one.tags_len, one.mtu()), (4, 1500));
        assert_eq!(one.tags, [0x88, 0xa8, 0, 100, 0, 0, 0, 0]);
    }

    #[test]
    fn a_vlan_device_may_be_the_port_of_another_one() {
        let links = links();
        let found = tagged(&links, &links[2], |l| l.ifindex == 3).unwrap();
        assert_eq!(found.port.ifindex, 3);
        assert_eq!(found.tags, [0x81, 0, 0, 7, 0, 0, 0, 0]);
    }

    #[test]
    fn three_tags_are_too_many() {
        let links = links();
        assert_eq!(tagged(&links, &links[3], |l| l.vlan.is_none()), None);
        assert_eq!(tagged(&links, &links[0], |l| l.vlan.is_none()), None);
    }
}
