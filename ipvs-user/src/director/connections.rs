//! The list of connections: the two entries of a masqueraded one made one again, and templates put among them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use ipvs_common::{Addr, ConnFlags, Entry, Flow, ForwardingMethod, State, Template, Tie};

use super::Director;
use crate::{dataplane::TableError, model::DestKey};

/// A connection, or a template.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connection {
    /// IP protocol number; 0 for the template of a firewall mark service.
    pub proto: u8,
    pub client: SocketAddr,
    pub virt: SocketAddr,
    pub real: SocketAddr,
    pub state: &'static str,
    /// Seconds to go, rounded down.
    pub remaining: u64,
    pub template: bool,
    /// Another director told of it.
    pub told: bool,
}

impl Director {
    /// Templates first, then connections, each in the order of their keys. What is past its deadline is gone for packets, so
    /// it is not listed, even if it still stands in the tables.
    pub fn connections(&self) -> Result<Vec<Connection>, TableError> {
        let now = self.dataplane.now()?;
        let hz = u64::from(self.dataplane.hz()).max(1);
        let remaining = |expires: u64| expires.saturating_sub(now) / hz;

        let reals: BTreeMap<u32, DestKey> = self.model.all_dests().map(|d| (d.id, d.key)).collect();
        let mut templates = self.dataplane.templates()?;
        templates.sort_unstable_by_key(|(key, _)| *key);
        let living = templates
            .iter()
            .filter_map(|(key, t)| Some((key, t, template_deadline(t, now, hz)?)));
        let mut list: Vec<_> = living
            .map(|(key, t, expires)| template_line(key, t, reals.get(&t.dest), remaining(expires)))
            .collect();
        let conns = pair(self.dataplane.conns()?);
        let living = conns.iter().filter(|p| p.expires > now);
        list.extend(living.map(|p| p.line(reals.get(&p.dest), remaining(p.expires))));
        Ok(list)
    }
}

/// When a template ends; `None`: it did. One with children lives on from minute to minute, whenever that is written down.
fn template_deadline(template: &Template, now: u64, hz: u64) -> Option<u64> {
    if template.dest == u32::MAX {
        return None;
    }
    let Some(over) = now.checked_sub(template.expires) else {
        return Some(template.expires);
    };
    let minute = 60 * hz;
    (template.children != 0).then(|| now + minute - over % minute)
}

/// A connection seen from the client's side, with the later deadline of its entries.
struct Paired {
    proto: u8,
    client: SocketAddr,
    virt: SocketAddr,
    real: SocketAddr,
    /// Index of its real server.
    dest: u32,
    state: u8,
    expires: u64,
    told: bool,
}

impl Paired {
    fn of_client_entry(key: &Flow, conn: &Entry) -> Self {
        Self {
            proto: key.proto,
            client: socket(key.src, key.sport),
            virt: socket(key.dst, key.dport),
            real: if conn.status.method == ForwardingMethod::BYPASS {
                SocketAddr::new(nobody(key.is_v4()), 0)
            } else {
                socket(conn.to_addr, conn.to_port)
            },
            dest: conn.dest,
            state: conn.status.state,
            expires: conn.expires,
            told: conn.told != 0,
        }
    }

    fn of_reply_entry(key: &Flow, conn: &Entry) -> Self {
        Self {
            proto: key.proto,
            client: socket(key.dst, key.dport),
            virt: socket(conn.to_addr, conn.to_port),
            real: socket(key.src, key.sport),
            dest: conn.dest,
            state: conn.status.state,
            expires: conn.expires,
            told: conn.told != 0,
        }
    }

    fn line(&self, real: Option<&DestKey>, remaining: u64) -> Connection {
        // An entry of IPv4 has no room for a real server of IPv6.
        let wide = real.filter(|r| self.virt.is_ipv4() && !r.addr.is_v4());
        Connection {
            proto: self.proto,
            client: self.client,
            virt: self.virt,
            real: wide.map_or(self.real, |r| {
                SocketAddr::new(r.addr.ip(), self.real.port())
            }),
            state: State::from_number(self.state).map_or("ERR!", State::name),
            remaining,
            template: false,
            told: self.told,
        }
    }
}

/// One of each connection. An entry that is just being moved between the tables may be met twice; the one that stays counts.
fn pair(entries: Vec<(Flow, Entry)>) -> Vec<Paired> {
    let mut by_flow: BTreeMap<(u8, SocketAddr, SocketAddr), (u8, Paired)> = BTreeMap::new();
    for (key, conn) in entries {
        let flags = conn.status.flags;
        let rank = (flags & (ConnFlags::REPLY | ConnFlags::LEAVING)).count_ones() as u8;
        let seen = if flags & ConnFlags::REPLY == 0 {
            Paired::of_client_entry(&key, &conn)
        } else {
            Paired::of_reply_entry(&key, &conn)
        };
        let flow = (seen.proto, seen.client, seen.virt);
        let expires = by_flow
            .get(&flow)
            .map_or(seen.expires, |(_, p)| p.expires.max(seen.expires));
        let best = match by_flow.remove(&flow) {
            Some((other, p)) if other <= rank => (other, p),
            Some(_) | None => (rank, seen),
        };
        by_flow.insert(flow, (best.0, Paired { expires, ..best.1 }));
    }
    by_flow.into_values().map(|(_, p)| p).collect()
}

fn template_line(
    key: &Tie,
    template: &Template,
    real: Option<&DestKey>,
    remaining: u64,
) -> Connection {
    // A template that was set aside no longer answers to its name; ip_vs gives it ports that no packet has.
    const RENAMED: [u8; 2] = u16::MAX.to_be_bytes();
    let renamed = template.renamed != 0;
    Connection {
        proto: key.proto,
        client: socket(key.client, [0; 2]),
        virt: socket(key.vip, if renamed { RENAMED } else { key.vport }),
        real: SocketAddr::new(
            real.map_or_else(|| nobody(key.is_v4()), |d| d.addr.ip()),
            if renamed {
                u16::from_be_bytes(RENAMED)
            } else {
                real.map_or(0, |d| d.port)
            },
        ),
        state: match template.assured {
            0 => "NONE",
            _ => "ASSURED",
        },
        remaining,
        template: true,
        told: template.told != 0,
    }
}

/// What stands in the place of a real server's address.
const fn nobody(is_v4: bool) -> IpAddr {
    if is_v4 {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    } else {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    }
}

fn socket(addr: Addr, port: [u8; 2]) -> SocketAddr {
    SocketAddr::new(addr.ip(), u16::from_be_bytes(port))
}
