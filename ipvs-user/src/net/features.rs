//! Which interfaces take frames from a native XDP program, from the generic netlink family `netdev` (Linux 6.3 or later).

use std::collections::BTreeMap;

use futures_channel::mpsc::UnboundedReceiver;
use futures_util::StreamExt as _;
use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NetlinkMessage, NlasIterator, ParseableParametrized,
    parse_u32, parse_u64,
};
use netlink_packet_generic::{
    GenlFamily, GenlHeader, GenlMessage,
    ctrl::{
        GenlCtrl,
        nlas::{GenlCtrlAttrs, McastGrpAttrs},
    },
};
use netlink_proto::{
    ConnectionHandle, new_connection,
    sys::{AsyncSocket as _, SocketAddr, protocols::NETLINK_GENERIC},
};

use super::{Link, NetError, Result, generic};

const FAMILY: &str = "netdev";
/// The family's multicast group for devices that come, go and change.
const GROUP: &str = "mgmt";
const VERSION: u8 = 1;
const DEV_GET: u8 = 1;
const ATTR_IFINDEX: u16 = 1;
const ATTR_XDP_FEATURES: u16 = 3;
/// `NETDEV_XDP_ACT_NDO_XMIT`
const NDO_XMIT: u64 = 4;

/// A device; in a request its index alone counts.
#[derive(Clone, Debug, Default)]
struct Device {
    ifindex: u32,
    features: u64,
}

impl GenlFamily for Device {
    fn family_name() -> &'static str {
        FAMILY
    }

    fn command(&self) -> u8 {
        DEV_GET
    }

    fn version(&self) -> u8 {
        VERSION
    }
}

impl Emitable for Device {
    fn buffer_len(&self) -> usize {
        [self.index()].as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        [self.index()].as_slice().emit(buffer);
    }
}

impl Device {
    fn index(&self) -> DefaultNla {
        DefaultNla::new(ATTR_IFINDEX, self.ifindex.to_ne_bytes().to_vec())
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Device {
    fn parse_with_param(
        attributes: &[u8],
        _: GenlHeader,
    ) -> std::result::Result<Self, DecodeError> {
        let mut device = Self::default();
        for attribute in NlasIterator::new(attributes) {
            let attribute = attribute?;
            match attribute.kind() {
                ATTR_IFINDEX => device.ifindex = parse_u32(attribute.value())?,
                ATTR_XDP_FEATURES => device.features = parse_u64(attribute.value())?,
                _ => {}
            }
        }
        Ok(device)
    }
}

type Unasked = UnboundedReceiver<(NetlinkMessage<GenlMessage<Device>>, SocketAddr)>;

/// The family, where the kernel has it.
pub struct Features {
    handle: ConnectionHandle<GenlMessage<Device>>,
    family: u16,
}

/// Word of devices whose abilities changed: a veth takes frames only once somebody readies its far end.
pub struct FeatureChanges(Unasked);

impl Features {
    /// `None` on a kernel without the family.
    pub async fn connect() -> Result<Option<(Self, FeatureChanges)>> {
        let Some(ids) = resolve().await? else {
            return Ok(None);
        };
        let failed = || NetError::on("generic netlink");
        let (mut connection, handle, changes) = new_connection(NETLINK_GENERIC).map_err(failed())?;
        if let Some(group) = ids.group {
            let socket = connection.socket_mut().socket_mut();
            socket.add_membership(group).map_err(failed())?;
        }
        tokio::spawn(connection);
        let features = Self {
            handle,
            family: ids.family,
        };
        Ok(Some((features, FeatureChanges(changes))))
    }

    /// By interface index: whether it takes frames. Interfaces that the kernel says nothing about are left out.
    ///
    /// Each is asked for by itself: the messages of this family's dump do not say that more follow, so the reader would take
    /// the first for the last.
    pub async fn xmit(&self, links: &[Link]) -> Result<BTreeMap<u32, bool>> {
        let mut found = BTreeMap::new();
        for link in links {
            let header = GenlHeader {
                cmd: DEV_GET,
                version: VERSION,
            };
            let device = Device {
                ifindex: link.ifindex,
                features: 0,
            };
            let request = GenlMessage::new(header, device, self.family);
            match generic::ask(&self.handle, request).await {
                Ok(devices) => {
                    found.extend(
                        devices
                            .iter()
                            .map(|d| (d.ifindex, d.features & NDO_XMIT != 0)),
                    );
                }
                Err(e) if e.is(libc::ENODEV) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(found)
    }
}

impl FeatureChanges {
    /// Waits until something about some device changed.
    pub async fn changed(&mut self) {
        if self.0.next().await.is_none() {
            // The connection is gone; changes of links still lead to a new look.
            std::future::pending::<()>().await;
        }
    }
}

struct Ids {
    family: u16,
    group: Option<u32>,
}

/// Numbers of the family and of its group, which each kernel gives out anew.
async fn resolve() -> Result<Option<Ids>> {
    let answers = generic::family(FAMILY).await?;
    Ok(answers.iter().find_map(ids))
}

fn ids(answer: &GenlCtrl) -> Option<Ids> {
    let family = generic::number(answer)?;
    let group = answer.nlas.iter().find_map(|a| {
        if let GenlCtrlAttrs::McastGroups(groups) = a {
            return groups.iter().find_map(|g| group_id(g));
        }
        None
    });
    Some(Ids { family, group })
}

fn group_id(group: &[McastGrpAttrs]) -> Option<u32> {
    let ours = |a: &McastGrpAttrs| matches!(a, McastGrpAttrs::Name(name) if name == GROUP);
    group.iter().any(ours).then_some(())?;
    group.iter().find_map(|a| {
        if let McastGrpAttrs::Id(id) = a {
            return Some(*id);
        }
        None
    })
}
