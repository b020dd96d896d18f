//! The kernel's answers, by rtnetlink.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use futures_util::TryStreamExt as _;
use ipvs_common::Mac;
use rtnetlink::{
    Error, Handle, RouteMessageBuilder, new_connection,
    packet_route::{
        AddressFamily,
        neighbour::{
            NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags,
            NeighbourMessage, NeighbourState,
        },
        route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
    },
};

use super::{Link, Neighbour, NetError, Network, NextHop, Result};

/// A connection to the kernel's routing tables. Cheap to clone.
#[derive(Clone)]
pub struct Netlink(Handle);

impl Netlink {
    /// Connects; wants a tokio runtime, which carries the connection from then on.
    pub fn connect() -> Result<Self> {
        let (connection, handle, _) = new_connection().map_err(NetError::on("routing netlink"))?;
        tokio::spawn(connection);
        Ok(Self(handle))
    }

    /// Writes an entry of the neighbour table that is to be resolved.
    async fn request(
        &self,
        at: NextHop,
        flags: NeighbourFlags,
        ext: Option<NeighbourExtFlags>,
    ) -> std::result::Result<(), Error> {
        let add = self.0.neighbours().add(at.ifindex, at.addr);
        let mut add = add.replace().state(NeighbourState::None).flags(flags);
        let attributes = &mut add.message_mut().attributes;
        attributes.extend(ext.map(NeighbourAttribute::ExtFlags));
        add.execute().await
    }
}

impl Network for Netlink {
    async fn links(&self) -> Result<Vec<Link>> {
        let links = self.0.link().get().execute();
        let links = links.map_ok(|m| Link::parse(&m)).try_collect().await;
        links.map_err(NetError::on("list of interfaces"))
    }

    async fn next_hop(&self, to: IpAddr) -> Result<Option<NextHop>> {
        let query = match to {
            IpAddr::V4(to) => RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(to, 32)
                .build(),
            IpAddr::V6(to) => RouteMessageBuilder::<Ipv6Addr>::new()
                .destination_prefix(to, 128)
                .build(),
        };
        let mut routes = std::pin::pin!(self.0.route().get(query).execute());
        match routes.try_next().await {
            Ok(route) => Ok(route.and_then(|r| next_hop(&r, to))),
            Err(e)
                if is(
                    &e,
                    &[
                        libc::ENETUNREACH,
                        libc::EHOSTUNREACH,
                        libc::EACCES,
                        libc::EINVAL,
                    ],
                ) =>
            {
                Ok(None)
            }
            Err(e) => Err(NetError::on(format!("route to {to}"))(e)),
        }
    }

    async fn neighbour(&self, at: NextHop) -> Result<Option<Neighbour>> {
        let mut dump = self.0.neighbours().get().execute();
        let failed = |e| NetError::on(format!("neighbour {} on {}", at.addr, at.ifindex))(e);
        let mut found = None;
        // The dump is read to its end: one cut short would leave the rest to the next reader.
        while let Some(message) = dump.try_next().await.map_err(failed)? {
            if place(&message) == Some(at) {
                found = Some(parse(&message));
            }
        }
        Ok(found)
    }

    async fn probe(&self, at: NextHop) -> Result<()> {
        let known = self.neighbour(at).await?.unwrap_or_default();
        if known.fixed {
            return Ok(());
        }
        // What is not said again would be taken back.
        let ext = known.managed.then_some(NeighbourExtFlags::Managed);
        let asked = self.request(at, NeighbourFlags::Use, ext).await;
        asked.map_err(NetError::on(format!("resolution of {}", at.addr)))
    }

    async fn manage(&self, at: NextHop) -> Result<bool> {
        let managed = Some(NeighbourExtFlags::Managed);
        match self.request(at, NeighbourFlags::empty(), managed).await {
            Ok(()) => Ok(true),
            // Linux before 5.16.
            Err(e) if is(&e, &[libc::EINVAL, libc::EOPNOTSUPP]) => Ok(false),
            Err(e) => Err(NetError::on(format!("managed neighbour {}", at.addr))(e)),
        }
    }

    async fn forget(&self, at: NextHop) -> Result<()> {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = at.ifindex;
        let (family, addr) = match at.addr {
            IpAddr::V4(addr) => (AddressFamily::Inet, NeighbourAddress::Inet(addr)),
            IpAddr::V6(addr) => (AddressFamily::Inet6, NeighbourAddress::Inet6(addr)),
        };
        message.header.family = family;
        let addr = NeighbourAttribute::Destination(addr);
        message.attributes.push(addr);
        match self.0.neighbours().del(message).execute().await {
            Err(e) if !is(&e, &[libc::ENOENT, libc::ENODEV]) => {
                Err(NetError::on(format!("removal of neighbour {}", at.addr))(e))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn is(error: &Error, codes: &[i32]) -> bool {
    let Error::NetlinkError(message) = error else {
        return false;
    };
    io::Error::raw_os_error(&message.to_io()).is_some_and(|code| codes.contains(&code))
}

/// Where a route leads; a route to the director itself, or one that refuses, leads nowhere.
fn next_hop(route: &RouteMessage, to: IpAddr) -> Option<NextHop> {
    if route.header.kind != RouteType::Unicast {
        return None;
    }
    let mut hop = NextHop {
        ifindex: 0,
        addr: to,
    };
    for attribute in &route.attributes {
        if let RouteAttribute::Oif(ifindex) = attribute {
            hop.ifindex = *ifindex;
        } else if let RouteAttribute::Gateway(RouteAddress::Inet(gateway)) = attribute {
            hop.addr = (*gateway).into();
        } else if let RouteAttribute::Gateway(RouteAddress::Inet6(gateway)) = attribute {
            hop.addr = (*gateway).into();
        }
    }
    (hop.ifindex != 0).then_some(hop)
}

/// Whose entry of the neighbour table this is, if it is one of IP's.
pub(super) fn place(message: &NeighbourMessage) -> Option<NextHop> {
    let ifindex = message.header.ifindex;
    message.attributes.iter().find_map(|a| {
        let NeighbourAttribute::Destination(addr) = a else {
            return None;
        };
        if let NeighbourAddress::Inet(addr) = addr {
            let addr = (*addr).into();
            return Some(NextHop { ifindex, addr });
        }
        if let NeighbourAddress::Inet6(addr) = addr {
            let addr = (*addr).into();
            return Some(NextHop { ifindex, addr });
        }
        None
    })
}

pub(super) fn parse(message: &NeighbourMessage) -> Neighbour {
    let state = message.header.state;
    let valid = matches!(
        state,
        NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Noarp
            | NeighbourState::Permanent
    );
    let mut neighbour = Neighbour {
        mac: None,
        resolving: matches!(state, NeighbourState::Incomplete | NeighbourState::Probe),
        fixed: matches!(state, NeighbourState::Noarp | NeighbourState::Permanent),
        managed: false,
    };
    for attribute in &message.attributes {
        if let NeighbourAttribute::LinkLayerAddress(mac) = attribute {
            neighbour.mac = Mac::try_from(mac.as_slice()).ok().filter(|_| valid);
        } else if let NeighbourAttribute::ExtFlags(flags) = attribute {
            neighbour.managed = flags.contains(NeighbourExtFlags::Managed);
        }
    }
    neighbour
}
