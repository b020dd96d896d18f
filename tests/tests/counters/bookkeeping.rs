//! What ought to be counted, from the rules alone. Which real server the scheduler takes is told from outside.

use std::collections::BTreeMap;

use super::states::State;

const MINUTE: u64 = 60;
const UDP: u64 = 300;
/// Seconds without connections after which a deleted real server is forgotten.
const IDLE: u64 = 120;

/// Service and client.
pub(crate) type Flow = (usize, usize);
/// Service and number.
pub(crate) type Id = (usize, usize);

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Traffic {
    pub(crate) conns: u64,
    pub(crate) in_packets: u64,
    pub(crate) in_bytes: u64,
    pub(crate) out_packets: u64,
    pub(crate) out_bytes: u64,
}

#[derive(Clone, Default, Debug)]
pub(crate) struct Real {
    pub(crate) listed: bool,
    pub(crate) weight: u32,
    pub(crate) upper: u32,
    pub(crate) overloaded: bool,
    pub(crate) traffic: Traffic,
    /// The service that it was deleted from is no more.
    orphan: bool,
    idle: Option<u64>,
}

#[derive(Clone, Debug)]
struct Conn {
    real: Id,
    /// `None`: UDP.
    state: Option<State>,
    ends: u64,
    /// By number.
    template: Option<usize>,
}

impl Conn {
    fn seconds(&self) -> u64 {
        self.state.map_or(UDP, State::seconds)
    }

    fn is_active(&self) -> bool {
        self.state.is_some_and(State::is_active)
    }
}

#[derive(Clone, Debug)]
struct Template {
    flow: Flow,
    real: Id,
    ends: u64,
    timeout: u64,
    /// It no longer answers for its client.
    aside: bool,
}

/// A packet's direction and flags; `None` for UDP.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    pub(crate) flow: Flow,
    pub(crate) flags: Option<u8>,
    pub(crate) len: u64,
}

/// What a packet that opens a connection asks of the scheduler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wish {
    /// None is opened.
    Nothing,
    /// The scheduler's choice, if there is one.
    Any,
    /// The template's.
    This(Id),
}

#[derive(Default)]
pub(crate) struct Books {
    pub(crate) now: u64,
    pub(crate) reals: BTreeMap<Id, Real>,
    /// By service: persistence in seconds.
    pub(crate) persistent: [Option<u64>; 3],
    pub(crate) nodest: bool,
    conns: BTreeMap<Flow, Conn>,
    templates: BTreeMap<usize, Template>,
    made: usize,
}

/// The first service's replies are not seen.
pub(crate) const ONE_WAY: usize = 0;

impl Books {
    /// Active, inactive and persistent.
    pub(crate) fn counts(&self, id: Id) -> (u32, u32, u32) {
        let conns = || self.conns.values().filter(|c| c.real == id);
        let active = conns().filter(|c| c.is_active()).count() as u32;
        let templates = self.templates.values().filter(|t| t.real == id);
        let all = conns().count() as u32;
        (active, all - active, templates.count() as u32)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.conns.is_empty() && self.templates.is_empty()
    }

    /// A client's packet. If it may open a connection, [`Self::open`] is to tell with whom.
    pub(crate) fn request(&mut self, packet: Packet, service_is_there: bool) -> Wish {
        let syn = packet.flags.is_none_or(|f| f & (2 | 4) == 2);
        let opens = if service_is_there && syn {
            Wish::Any
        } else {
            Wish::Nothing
        };
        let Some(conn) = self.living(packet.flow) else {
            return self.wish(packet.flow, opens);
        };
        let (real, child) = (conn.real, conn.template.is_some());
        let closed = conn.state.is_some_and(State::is_closed);
        let has_syn = packet.flags.is_some_and(|f| f & 2 != 0);
        let quiesced = self.nodest && self.reals[&real].weight == 0;
        if has_syn && (quiesced || (closed && !child)) {
            self.end(packet.flow);
            return self.wish(packet.flow, opens);
        }
        if !self.reals[&real].listed {
            // With the knob its connections ended with it.
            assert!(!self.nodest);
            return Wish::Nothing;
        }
        self.count_in(real, packet);
        self.advance(
            packet,
            if packet.flow.0 == ONE_WAY {
                "one-way"
            } else {
                "client"
            },
        );
        Wish::Nothing
    }

    /// A real server's packet; counts if there is a connection for it.
    pub(crate) fn reply(&mut self, packet: Packet, from: Id) {
        if packet.flow.0 == ONE_WAY || self.living(packet.flow).is_none_or(|c| c.real != from) {
            return;
        }
        let real = self.reals.get_mut(&from).unwrap();
        if real.listed {
            real.traffic.out_packets += 1;
            real.traffic.out_bytes += packet.len;
        }
        self.advance(packet, "server");
    }

    pub(crate) fn open(&mut self, packet: Packet, real: Id, wish: Wish) {
        let state = packet.flags.map(|f| {
            let one_way = packet.flow.0 == ONE_WAY;
            State::NONE.after(if one_way { "one-way" } else { "client" }, f)
        });
        let template = self.persistent[packet.flow.0].map(|seconds| match wish {
            Wish::This(_) => self.template_of(packet.flow).unwrap(),
            Wish::Any | Wish::Nothing => self.tie(packet.flow, real, seconds),
        });
        let mut conn = Conn {
            real,
            state,
            ends: 0,
            template,
        };
        conn.ends = self.now + conn.seconds();
        self.conns.insert(packet.flow, conn);
        self.count_in(real, packet);
        let total = self.total(real);
        let of = self.reals.get_mut(&real).unwrap();
        of.traffic.conns += 1;
        if of.upper != 0 && total >= of.upper {
            of.overloaded = true;
        }
    }

    fn tie(&mut self, flow: Flow, real: Id, seconds: u64) -> usize {
        self.made += 1;
        let template = Template {
            flow,
            real,
            ends: self.now + seconds,
            timeout: seconds,
            aside: false,
        };
        self.templates.insert(self.made, template);
        self.made
    }

    /// Number of the client's template.
    fn template_of(&self, flow: Flow) -> Option<usize> {
        let mut of_client = self
            .templates
            .iter()
            .filter(|(_, t)| t.flow == flow && !t.aside);
        of_client.next().map(|(n, _)| *n)
    }

    fn children(&self, template: usize) -> usize {
        let children = self.conns.values().filter(|c| c.template == Some(template));
        children.count()
    }

    fn wish(&mut self, flow: Flow, opens: Wish) -> Wish {
        if opens == Wish::Nothing || self.persistent[flow.0].is_none() {
            return opens;
        }
        let Some(number) = self.template_of(flow) else {
            return Wish::Any;
        };
        let children = self.children(number);
        let template = self.templates.get_mut(&number).unwrap();
        let real = template.real;
        if !self.reals[&real].listed {
            template.aside = true;
            return Wish::Any;
        }
        if template.ends <= self.now {
            if children == 0 {
                self.templates.remove(&number);
                return Wish::Any;
            }
            template.timeout = MINUTE;
        }
        template.ends = self.now + template.timeout;
        Wish::This(real)
    }

    /// The connection of a flow, unless its time is over.
    fn living(&mut self, flow: Flow) -> Option<&Conn> {
        if self.conns.get(&flow)?.ends <= self.now {
            self.end(flow);
        }
        self.conns.get(&flow)
    }

    fn advance(&mut self, packet: Packet, sender: &str) {
        let now = self.now;
        let conn = self.conns.get_mut(&packet.flow).unwrap();
        if let (Some(state), Some(flags)) = (&mut conn.state, packet.flags) {
            *state = state.after(sender, flags);
        }
        conn.ends = now + conn.seconds();
    }

    fn count_in(&mut self, real: Id, packet: Packet) {
        let traffic = &mut self.reals.get_mut(&real).unwrap().traffic;
        traffic.in_packets += 1;
        traffic.in_bytes += packet.len;
    }

    fn total(&self, real: Id) -> u32 {
        let (active, inactive, _) = self.counts(real);
        active + inactive
    }

    fn end(&mut self, flow: Flow) {
        let real = self.conns.remove(&flow).unwrap().real;
        let total = self.total(real);
        let of = self.reals.get_mut(&real).unwrap();
        if of.upper == 0 || total * 4 < of.upper * 3 {
            of.overloaded = false;
        }
    }

    pub(crate) fn add(&mut self, id: Id, weight: u32, upper: u32) {
        let real = self.reals.entry(id).or_default();
        real.listed = true;
        real.idle = None;
        // To another service it comes as a new one, as far as its traffic goes.
        if std::mem::take(&mut real.orphan) {
            real.traffic = Traffic::default();
        }
        self.edit(id, weight, upper);
    }

    pub(crate) fn edit(&mut self, id: Id, weight: u32, upper: u32) {
        let real = self.reals.get_mut(&id).unwrap();
        if upper == 0 || upper > real.upper {
            real.overloaded = false;
        }
        (real.weight, real.upper) = (weight, upper);
    }

    pub(crate) fn delete(&mut self, id: Id) {
        self.reals.get_mut(&id).unwrap().listed = false;
        self.end_of_gone();
    }

    pub(crate) fn delete_service(&mut self, service: usize) {
        let of_it = self.reals.iter_mut().filter(|(id, _)| id.0 == service);
        for (_, real) in of_it {
            real.listed = false;
            real.orphan = true;
        }
        self.end_of_gone();
    }

    /// `expire_nodest_conn`: connections end with their real server, and with them the templates they held.
    pub(crate) fn end_of_gone(&mut self) {
        if !self.nodest {
            return;
        }
        let gone: Vec<_> = self.reals.iter().filter(|(_, r)| !r.listed).collect();
        let gone: Vec<_> = gone.into_iter().map(|(id, _)| *id).collect();
        let conns = self.conns.iter().filter(|(_, c)| gone.contains(&c.real));
        let conns: Vec<_> = conns.map(|(flow, _)| *flow).collect();
        for flow in conns {
            self.end(flow);
        }
        self.templates.retain(|_, t| !gone.contains(&t.real));
    }

    /// Somebody looks at the clock.
    pub(crate) fn tick(&mut self) {
        let now = self.now;
        let over = self.conns.iter().filter(|(_, c)| c.ends <= now);
        let over: Vec<_> = over.map(|(flow, _)| *flow).collect();
        for flow in over {
            self.end(flow);
        }
        let due = self.templates.iter().filter(|(_, t)| t.ends <= now);
        let due: Vec<_> = due.map(|(n, _)| *n).collect();
        for number in due {
            if self.children(number) == 0 {
                self.templates.remove(&number);
            } else if let Some(template) = self.templates.get_mut(&number) {
                template.timeout = MINUTE;
                template.ends = now + MINUTE;
            }
        }
        let ids: Vec<_> = self.reals.keys().copied().collect();
        for id in ids {
            let held = self.counts(id) != (0, 0, 0);
            let real = self.reals.get_mut(&id).unwrap();
            if real.listed || held {
                real.idle = None;
            } else if now - *real.idle.get_or_insert(now) >= IDLE {
                *real = Real::default();
            }
        }
    }
}
