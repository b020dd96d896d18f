//! Word of changes in links, addresses, routes, rules and neighbours. Chatter that changes no way is left out.

use std::{collections::HashMap, time::Duration};

use futures_channel::mpsc::UnboundedReceiver;
use futures_util::StreamExt as _;
use rtnetlink::{
    MulticastGroup, new_multicast_connection,
    packet_core::{NetlinkMessage, NetlinkPayload},
    packet_route::RouteNetlinkMessage,
    sys::SocketAddr,
};

use super::{
    Link, Neighbour, NetError, NextHop, Result,
    netlink::{parse, place},
};

const GROUPS: [MulticastGroup; 8] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv6Rule,
];

/// Changes come in flocks: an interface that goes down takes its routes and neighbours along.
const SETTLE: Duration = Duration::from_millis(20);

/// What changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    pub links: bool,
    /// Anything that a way may depend on, links included.
    pub ways: bool,
}

pub struct Watch {
    messages: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
    seen: Seen,
}

impl Watch {
    /// Listens from now on; wants a tokio runtime.
    pub fn start() -> Result<Self> {
        let (connection, _, messages) = new_multicast_connection(&GROUPS)
            .map_err(NetError::on("watch of the routing tables"))?;
        tokio::spawn(connection);
        Ok(Self {
            messages,
            seen: Seen::default(),
        })
    }

    /// Waits for the next changes, and a moment longer for those that follow from them.
    pub async fn changed(&mut self) -> Changes {
        let mut changes = Changes::default();
        while !changes.ways {
            match self.messages.next().await {
                Some((message, _)) => self.seen.note(&message.payload, &mut changes),
                // The connection is gone: ways still age by themselves.
                None => std::future::pending().await,
            }
        }
        let settled = tokio::time::sleep(SETTLE);
        tokio::pin!(settled);
        loop {
            tokio::select! {
                () = &mut settled => return changes,
                Some((message, _)) = self.messages.next() => {
                    self.seen.note(&message.payload, &mut changes);
                }
            }
        }
    }
}

/// What was last said of links and neighbours, which the kernel mentions again and again.
#[derive(Default)]
struct Seen {
    links: HashMap<u32, Link>,
    neighbours: HashMap<NextHop, Neighbour>,
}

impl Seen {
    fn note(&mut self, payload: &NetlinkPayload<RouteNetlinkMessage>, changes: &mut Changes) {
        let NetlinkPayload::InnerMessage(message) = payload else {
            // Messages were lost, or an error: look at everything.
            changes.links = true;
            changes.ways = true;
            return;
        };
        if self.is_news(message) {
            changes.ways = true;
            changes.links |= matches!(
                message,
                RouteNetlinkMessage::NewLink(_) | RouteNetlinkMessage::DelLink(_)
            );
        }
    }

    fn is_news(&mut self, message: &RouteNetlinkMessage) -> bool {
        if let RouteNetlinkMessage::NewLink(m) = message {
            let link = Link::parse(m);
            return self.links.insert(link.ifindex, link.clone()) != Some(link);
        }
        if let RouteNetlinkMessage::DelLink(m) = message {
            self.links.remove(&m.header.index);
            return true;
        }
        if let RouteNetlinkMessage::NewNeighbour(m) = message {
            let Some(at) = place(m) else { return false };
            let now = parse(m);
            let before = self.neighbours.insert(at, now);
            return before.unwrap_or_default().mac != now.mac;
        }
        if let RouteNetlinkMessage::DelNeighbour(m) = message {
            let Some(at) = place(m) else { return false };
            // One that was there before the watch began may have been in use.
            return self.neighbours.remove(&at).is_none_or(|n| n.mac.is_some());
        }
        true
    }
}
