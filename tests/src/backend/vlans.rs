//! Links that stand for VLAN devices on others, and frames with tags.

use ipvs_common::{Egress, Iface, Tags, VlanKey};

use super::Setup;

/// Bytes before the tags.
const ADDRESSES: usize = 12;

/// A link that is a VLAN device on another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TestVlan {
    pub link: usize,
    pub port: usize,
    pub tags: Tags,
    pub tags_len: u32,
    /// What leaves by the link gets these tags. (Frames may come in with several.)
    pub out: bool,
}

impl TestVlan {
    /// With one tag of a customer.
    #[must_use]
    pub const fn one(link: usize, port: usize, id: u16, out: bool) -> Self {
        let ([a, b], [c, d]) = (VlanKey::CUSTOMER, id.to_be_bytes());
        Self {
            link,
            port,
            tags: [a, b, c, d, 0, 0, 0, 0],
            tags_len: 4,
            out,
        }
    }

    /// With that in one of a provider.
    #[must_use]
    pub const fn two(link: usize, port: usize, outer: u16, id: u16, out: bool) -> Self {
        let inner = Self::one(link, port, id, out);
        let mut tags = Self::one(link, port, outer, out).tags;
        [tags[0], tags[1]] = VlanKey::SERVICE;
        let mut at = 0;
        while at < 4 {
            tags[4 + at] = inner.tags[at];
            at += 1;
        }
        Self {
            tags,
            tags_len: 8,
            ..inner
        }
    }

    /// A frame in it, with this priority.
    #[must_use]
    pub fn frame(&self, frame: &[u8], priority: u8) -> Vec<u8> {
        let mut tags = self.tags[..self.tags_len as usize].to_vec();
        for tag in tags.chunks_mut(4) {
            tag[2] |= priority << 5;
        }
        with_tags(frame, &tags)
    }
}

/// A frame with these bytes behind its addresses; one that is too short for that stays as it is.
#[must_use]
pub fn with_tags(frame: &[u8], tags: &[u8]) -> Vec<u8> {
    match frame.split_at_checked(ADDRESSES) {
        Some((addresses, rest)) => [addresses, tags, rest].concat(),
        None => frame.to_vec(),
    }
}

/// A frame less its tags, and those.
#[must_use]
pub fn untagged(frame: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut frame, mut tags) = (frame.to_vec(), Vec::new());
    while let Some(tag) = frame.get(ADDRESSES..ADDRESSES + 4)
        && VlanKey::is_tag([tag[0], tag[1]])
    {
        tags.extend(frame.drain(ADDRESSES..ADDRESSES + 4));
    }
    (frame, tags)
}

impl Setup {
    /// What the datapath is to know of frames that come in with tags.
    #[must_use]
    pub fn vlan_entries(&self) -> Vec<(VlanKey, Iface)> {
        let entry = |vlan: &TestVlan| {
            let port = self.network.links[vlan.port].ifindex;
            let iface = Iface {
                port,
                ..self.iface(vlan.link)
            };
            (VlanKey::new(port, vlan.tags), iface)
        };
        self.vlans.iter().map(entry).collect()
    }

    /// The same of those that leave with some.
    #[must_use]
    pub fn tagged_egress(&self) -> Vec<(u32, Egress)> {
        let out = self.vlans.iter().filter(|vlan| vlan.out);
        let entry = |vlan: &TestVlan| {
            let port = &self.network.links[vlan.port];
            let egress = Egress {
                xmit: Egress::TAGGED,
                port: port.ifindex,
                tags: vlan.tags,
                tags_len: vlan.tags_len,
                mtu: u32::from(port.mtu) + 4 - vlan.tags_len,
            };
            (self.network.links[vlan.link].ifindex, egress)
        };
        out.map(entry).collect()
    }

    /// Where a frame with tags leaves whose source is this link's address.
    pub(super) fn port_of(&self, link: usize, frame: &[u8]) -> usize {
        let is_tagged = !untagged(frame).1.is_empty();
        let vlan = self.vlans.iter().find(|v| v.out && v.link == link);
        vlan.filter(|_| is_tagged).map_or(link, |v| v.port)
    }
}
