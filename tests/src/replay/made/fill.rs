//! The flows of a group of choices, of which some or none were recorded.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddrV4},
};

use ipvs_common::Proto;

use super::{
    super::listing::Row,
    flow::{self, Flow},
};
use crate::trace::{Choice, Trace, VIRTUAL};

/// Where clients' ports begin or are, if nothing else tells.
const TCP_PORT: u16 = 40_000;
const UDP_PORT: u16 = 1_000;

pub(super) struct Filler<'a> {
    trace: &'a Trace,
    /// Connections that some frame must still open, by client and port.
    spare: Vec<Row>,
    last: Option<Flow>,
    ports: Option<Ports>,
}

/// How clients come by their ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ports {
    Same(u16),
    /// This port and the client's number.
    Numbered(u16),
}

impl<'a> Filler<'a> {
    pub(super) fn new(trace: &'a Trace, mut spare: Vec<Row>) -> Self {
        spare.sort_by_key(|r| (flow::number(*r.client.ip()), r.client));
        Self {
            trace,
            spare,
            last: None,
            ports: None,
        }
    }

    pub(super) const fn spare(&self) -> usize {
        self.spare.len()
    }

    pub(super) fn take(&mut self) -> Vec<Row> {
        std::mem::take(&mut self.spare)
    }

    pub(super) fn complaint(&self) -> String {
        let first = self.spare.first();
        let client = first.map(|r| r.client.to_string()).unwrap_or_default();
        format!(
            "nothing tells what opened {} of the connections, the first from {client}",
            self.spare.len()
        )
    }

    pub(super) fn remember(&mut self, flow: Option<Flow>) {
        self.last = flow.or(self.last);
    }

    /// Takes a connection as opened.
    pub(super) fn opened(&mut self, opened: &Flow) {
        self.spare.retain(|r| flow(r).as_ref() != Some(opened));
    }

    /// The flow of each choice; those of the first ones are known if they were recorded.
    pub(super) fn fill(
        &mut self,
        choices: &[Choice],
        recorded: &[Option<Flow>],
    ) -> Result<Vec<Flow>, String> {
        let labels: Vec<_> = choices.iter().map(label).collect::<Result<_, _>>()?;
        let mut known: BTreeMap<usize, Flow> = BTreeMap::new();
        known.extend(
            recorded
                .iter()
                .enumerate()
                .filter_map(|(n, f)| Some((n, (*f)?))),
        );
        let rest = recorded.len()..choices.len();
        if labels.iter().any(Option::is_some) {
            for n in rest.clone().filter(|n| choices[*n].real.is_some()) {
                known.extend(labels[n].and_then(|l| self.listed(l)).map(|f| (n, f)));
            }
        } else {
            self.number(choices, &mut known, rest.clone());
        }
        self.ports = ports(&labels, &known).or(self.ports);
        for n in rest {
            if !known.contains_key(&n) {
                let flow = self.near(n, labels[n], &known);
                known.insert(n, flow.ok_or("nothing tells what the packets were")?);
            }
            self.opened(&known[&n]);
        }
        self.remember(known.values().next_back().copied());
        Ok(known.into_values().collect())
    }

    /// The next connection of the listings with this address.
    fn listed(&mut self, address: Ipv4Addr) -> Option<Flow> {
        let has = |r: &Row| *r.client.ip() == address || *r.virt.ip() == address;
        let at = self.spare.iter().position(has)?;
        flow(&self.spare.remove(at))
    }

    /// Clients without labels: they go on as they began, or as the listings have them.
    fn number(
        &self,
        choices: &[Choice],
        known: &mut BTreeMap<usize, Flow>,
        rest: std::ops::Range<usize>,
    ) {
        let (start, from) = if let Some((n, flow)) = known.first_key_value() {
            (*flow, *n)
        } else {
            let unanswered = choices.iter().take_while(|c| c.real.is_none()).count();
            let listed = self.spare.first().and_then(flow);
            let next = self.last.and_then(|l| l.moved(1, 0));
            match listed.map(|f| (f, unanswered)).or(next.map(|f| (f, 0))) {
                Some(start) => start,
                None => return,
            }
        };
        let step = known.get(&(from + 1)).map_or((1, 0), |second| {
            let clients = second.number().zip(start.number());
            let ports = i64::from(second.client.port()) - i64::from(start.client.port());
            (
                clients.map_or(1, |(b, a)| i64::from(b) - i64::from(a)),
                ports,
            )
        });
        for n in rest {
            let by = apart(n, from);
            known.extend(start.moved(by * step.0, by * step.1).map(|f| (n, f)));
        }
    }

    /// The flow of a packet of which only its neighbours in the group tell.
    fn near(
        &self,
        n: usize,
        label: Option<Ipv4Addr>,
        known: &BTreeMap<usize, Flow>,
    ) -> Option<Flow> {
        let nearest = known.iter().min_by_key(|(k, _)| k.abs_diff(n));
        let (flow, by) = match nearest {
            Some((k, flow)) => (*flow, apart(n, *k)),
            None => (self.last.or_else(|| self.service())?, apart(n, 0)),
        };
        let Some(label) = label else {
            return flow.moved(by, 0);
        };
        if is_virtual(label) {
            let moved = flow.moved(by, 0)?;
            let virt = SocketAddrV4::new(label, moved.virt.port());
            return Some(Flow { virt, ..moved });
        }
        let port = match self.ports {
            Some(Ports::Same(port)) => port,
            Some(Ports::Numbered(first)) => numbered(first, label)?,
            None if flow.proto == Proto::Tcp => TCP_PORT,
            None => numbered(UDP_PORT, label)?,
        };
        Some(Flow {
            client: SocketAddrV4::new(label, port),
            ..flow
        })
    }

    /// A flow of the first client to the first service of the configuration.
    pub(super) fn service(&self) -> Option<Flow> {
        let words = |line: &'a String| line.split_whitespace().collect::<Vec<_>>();
        self.trace.config.iter().map(words).find_map(|words| {
            let [_, "-A" | "--add-service", kind, address, ..] = words[..] else {
                return None;
            };
            let (proto, port) = match kind {
                "-t" | "--tcp-service" => (Proto::Tcp, TCP_PORT),
                "-u" | "--udp-service" => (Proto::Udp, UDP_PORT),
                _ => return None,
            };
            Some(Flow {
                proto,
                client: SocketAddrV4::new(flow::client(0)?, port),
                virt: address.parse().ok()?,
            })
        })
    }
}

/// How far the one place is from the other.
fn apart(n: usize, from: usize) -> i64 {
    let number = |n| i64::try_from(n).unwrap_or(i64::MAX);
    number(n) - number(from)
}

/// The flow of a listed connection; `None` for other protocols.
pub(super) fn flow(row: &Row) -> Option<Flow> {
    let proto = match row.proto.as_str() {
        "TCP" => Proto::Tcp,
        "UDP" => Proto::Udp,
        _ => return None,
    };
    Some(Flow {
        proto,
        client: row.client,
        virt: row.virt,
    })
}

fn is_virtual(address: Ipv4Addr) -> bool {
    let net = |a: Ipv4Addr| a.to_bits() >> (32 - VIRTUAL.1);
    net(address) == net(VIRTUAL.0)
}

/// The address that a choice is labelled with; names tell nothing.
fn label(choice: &Choice) -> Result<Option<Ipv4Addr>, String> {
    match choice.label.as_deref().map(str::parse) {
        Some(Ok(IpAddr::V4(address))) => Ok(Some(address)),
        Some(Ok(IpAddr::V6(address))) => Err(format!("packets of {address} cannot be made")),
        Some(Err(_)) | None => Ok(None),
    }
}

fn numbered(first: u16, client: Ipv4Addr) -> Option<u16> {
    let number = flow::number(client)?;
    first.checked_add(number.try_into().ok()?)
}

/// How the clients of these flows came by their ports, if there are enough to tell.
fn ports(labels: &[Option<Ipv4Addr>], known: &BTreeMap<usize, Flow>) -> Option<Ports> {
    let by_client = |n: &usize| labels[*n].is_some_and(|l| !is_virtual(l));
    let flows: Vec<_> = known
        .iter()
        .filter(|(n, _)| by_client(n))
        .map(|k| *k.1)
        .collect();
    let [first, _, ..] = flows[..] else {
        return None;
    };
    let port = first.client.port();
    if flows.iter().all(|f| f.client.port() == port) {
        return Some(Ports::Same(port));
    }
    let base = u16::try_from(u32::from(port).checked_sub(first.number()?)?).ok()?;
    let is_numbered = |f: &Flow| numbered(base, *f.client.ip()) == Some(f.client.port());
    flows
        .iter()
        .all(is_numbered)
        .then_some(Ports::Numbered(base))
}
