//! The tables as the datapath sees them. In the kernel they are BPF maps, on the host trees.
//!
//! An entry that is changed in place is held by a handle (`ConnRef`, `TemplateRef`), because a borrow would keep every other
//! table locked. What several CPUs change at once is changed by an operation that says so: counts by `add`, the status of a
//! connection and the memory of a scheduler by compare and swap.
//!
//! What may be missing is returned by reference: an absent reference is a null pointer, whereas an absent value would be an
//! undefined one (see `exit.rs`).

use ipvs_common::{
    Conn, Dest, DestState, DropReason, Egress, Event, FlowKey, Fragment, FragmentKey, Hop, Iface,
    LblcEntry, LblcKey, ListSlot, MatchKey, MatchNode, MatchSlot, RingSlot, SchedState, Service,
    ServiceKey, Settings, Stats, Status, SyncNote, Template, TemplateKey, VlanKey,
};

use crate::{
    Ip,
    conn::{
        Table, advance, expected, leave, promote,
        tcp_state::Direction,
        template::{self, Joined},
    },
    egress,
    frame::Frame,
    fwd::wrap::{self, Inside},
    icmp,
    matching::{self, Matched},
    pipeline::steps::{self, Step, Went},
    sched::{self, Found, Walk, lblcr},
    service::Marked,
};

/// A count kept with each real server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DestCounter {
    Active,
    Inactive,
    Persistent,
}

/// A question to the routing table. Network byte order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FibQuery<A = [u8; 4]> {
    pub src: A,
    pub dst: A,
    pub tos: u8,
    pub proto: u8,
    /// Interface the packet came in by.
    pub ifindex: u32,
    /// Firewall mark, for routing rules by mark; 0: none.
    pub mark: u32,
}

/// The persistence templates.
pub trait Templates {
    /// The width of the addresses in it: tables are of one family each.
    type A: Ip;
    /// Handle of a template.
    type TemplateRef: Copy;

    fn template(&mut self, key: &TemplateKey<Self::A>) -> Option<Self::TemplateRef>;
    fn load_template(&self, template: Self::TemplateRef) -> Template;
    fn set_template_timer(&mut self, template: Self::TemplateRef, timeout: u64, expires: u64);
    fn set_template_assured(&mut self, template: Self::TemplateRef);
    fn set_template_renamed(&mut self, template: Self::TemplateRef);
    /// Sets children to 1, and takes every other mark off: it begins anew.
    fn restart_template(&mut self, template: Self::TemplateRef);
    fn add_template_children(&mut self, template: Self::TemplateRef, delta: i32);
    /// Gives a template to another real server if it still is `old`'s; tells whether it was.
    fn swap_template_dest(&mut self, template: Self::TemplateRef, old: u32, new: u32) -> bool;
    fn insert_template(&mut self, key: &TemplateKey<Self::A>, template: &Template) -> bool;
    fn remove_template(&mut self, key: &TemplateKey<Self::A>) -> bool;
}

/// The cache of lblcr.
pub trait Sets {
    /// Handle of a set.
    type SetRef: Copy;

    /// The set of an address, of which only hints are kept: two CPUs at once may lose a member.
    fn lblcr(&mut self, key: &LblcKey) -> Option<Self::SetRef>;
    /// A new, empty set. `None`: no room.
    fn open_lblcr(&mut self, key: &LblcKey) -> Option<Self::SetRef>;
    fn lblcr_change(&self, set: Self::SetRef) -> u64;
    fn lblcr_count(&self, set: Self::SetRef) -> u32;
    /// [`crate::exit::NO_DEST`] if there is no such place.
    fn lblcr_member(&self, set: Self::SetRef, place: u32) -> u32;
    fn set_lblcr_use(&mut self, set: Self::SetRef, now: u64);
    fn set_lblcr_change(&mut self, set: Self::SetRef, now: u64);
    fn set_lblcr_count(&mut self, set: Self::SetRef, count: u32);
    fn set_lblcr_member(&mut self, set: Self::SetRef, place: u32, dest: u32);
}

/// The match rules.
pub trait Matches {
    /// The longest prefix that is around this one, or is this one.
    fn match_node(&self, key: &MatchKey) -> Option<&MatchNode>;
    fn match_slot(&self, slot: u32) -> Option<&MatchSlot>;
}

/// The interfaces.
pub trait Links {
    /// What is constant of a VLAN device, by its tags.
    fn vlan(&self, key: &VlanKey) -> Option<&Iface>;
    /// What is known of an interface that frames are sent to.
    fn egress(&self, ifindex: u32) -> Option<&Egress>;
    /// From the next stage on the frame came in by this interface.
    fn set_inbound(&mut self, iface: &Iface);
}

pub trait Tables: Templates + Sets + Matches + Links {
    /// Handle of an entry of the connection or the half-open table, good until the end of the packet.
    type ConnRef: Copy;
    /// Those of the other family.
    type Across<'t>: Tables<A = <Self::A as Ip>::Other>
    where
        Self: 't;

    /// Clock in ticks.
    fn now(&self) -> u64;
    /// `None` only if the map is missing.
    fn settings(&self) -> Option<&Settings>;

    fn conn(&mut self, key: &FlowKey<Self::A>) -> Option<Self::ConnRef>;
    fn half_open(&mut self, key: &FlowKey<Self::A>) -> Option<Self::ConnRef>;
    fn load(&self, conn: Self::ConnRef) -> Conn<Self::A>;
    /// Sets the deadline, if the entry still is the connection with this [`Conn::seq`].
    fn set_expires(&mut self, conn: Self::ConnRef, seq: u32, expires: u64);
    /// The same for the count of packets.
    fn set_packets(&mut self, conn: Self::ConnRef, seq: u32, packets: u8);
    /// The same for the hop.
    fn set_hop(&mut self, conn: Self::ConnRef, seq: u32, hop: &Hop);
    /// Replaces the status if it is still `old` and of the connection with this [`Conn::seq`]; tells whether it was. An entry
    /// that ended may be given to another connection while a packet still holds it; the number tells them apart.
    fn swap_status(&mut self, conn: Self::ConnRef, seq: u32, old: Status, new: Status) -> bool;
    /// Enters a copy of a half-open entry in the table of the established, over an older one if need be. False: full.
    fn copy_to_conns(&mut self, key: &FlowKey<Self::A>, entry: Self::ConnRef) -> bool;
    /// Enters a connection among the established. False if the table is full or (with `only_new`) the key is there.
    fn insert_conn(&mut self, key: &FlowKey<Self::A>, conn: &Conn<Self::A>, only_new: bool)
    -> bool;
    /// False if the table is full or (with `only_new`) the key is there.
    fn insert_half_open(
        &mut self,
        key: &FlowKey<Self::A>,
        conn: &Conn<Self::A>,
        only_new: bool,
    ) -> bool;
    /// Tells whether the key was there; of two CPUs only one is told so.
    fn remove_conn(&mut self, key: &FlowKey<Self::A>) -> bool;
    fn remove_half_open(&mut self, key: &FlowKey<Self::A>) -> bool;
    /// The next number of the half-open ring.
    fn ring_ticket(&mut self) -> u32;
    /// The next number of the connections that another director told of.
    fn synced_ticket(&mut self) -> u32;
    /// Puts `slot` in the place of its number and returns what was there.
    fn ring_replace(&mut self, slot: &RingSlot<Self::A>) -> RingSlot<Self::A>;

    /// What the first fragment of a packet told.
    fn fragment(&self, key: &FragmentKey<Self::A>) -> Option<&Fragment>;
    /// Keeps that; the one longest unused makes room.
    fn put_fragment(&mut self, key: &FragmentKey<Self::A>, fragment: &Fragment);
    /// Sets the real server of its datagram.
    fn set_fragment_dest(&mut self, key: &FragmentKey<Self::A>, dest: u32);

    /// Looks the half-open connection up that the next new one pushes out, only so that its memory is on its way to the CPU.
    #[inline(always)]
    fn look_ahead(&mut self) {}

    /// Hands the connection that this packet opened to the next stage.
    fn put_newborn(&mut self, conn: &Conn<Self::A>);
    fn newborn(&self) -> Option<&Conn<Self::A>>;
    /// Hands its real server alone to the next stage.
    fn leave_dest(&mut self, dest: u32);
    /// Leaves the mark of the packet to the next steps, in the place of the connection that it may open.
    fn leave_mark(&mut self, marked: Marked);
    /// Hands the flow that an ICMP error asks for to the next stages.
    fn ask(&mut self, key: &FlowKey<Self::A>);
    fn asked(&self) -> Option<&FlowKey<Self::A>>;

    fn service(&self, key: &ServiceKey) -> Option<&Service>;
    /// Index of a masqueraded real server with this address and port.
    fn masqueraded(&self, key: &ServiceKey) -> Option<&u32>;
    /// An entry of the dest lists.
    fn listed(&self, slot: u32) -> Option<&ListSlot>;
    /// An entry of the hash tables: index of a real server.
    fn hashed(&self, slot: u32) -> Option<&u32>;
    fn dest(&self, id: u32) -> Option<&Dest>;
    fn dest_state(&self, id: u32) -> Option<&DestState>;
    fn set_dest_hop(&mut self, id: u32, hop: &Hop);
    fn add(&mut self, id: u32, counter: DestCounter, delta: i32);
    fn set_overloaded(&mut self, id: u32, overloaded: bool);
    fn count(&mut self, id: u32, stats: &Stats);

    /// The scheduler's memory of a service.
    fn sched(&self, service: u32) -> Option<&SchedState>;
    fn swap_sched(&mut self, service: u32, old: SchedState, new: SchedState) -> bool;

    fn lblc(&self, key: &LblcKey) -> Option<&LblcEntry>;
    fn put_lblc(&mut self, key: &LblcKey, entry: &LblcEntry);

    /// Asks the routing table; fills all of a hop but `learned` and `epoch`.
    fn route(&mut self, query: &FibQuery<Self::A>) -> Hop;
    /// Asks that of the other family.
    fn route_across(&mut self, query: &FibQuery<<Self::A as Ip>::Other>) -> Hop;
    /// The tables as a packet of the other family sees them.
    fn across(&mut self) -> Self::Across<'_>;
    /// The longest packet that the way to a real server takes, and until when that is believed.
    fn set_dest_path(&mut self, id: u32, mtu: u16, until: u64);
    /// Whether one more ICMP error may be sent. May run out of line.
    fn icmp_limit(&mut self, limit: &icmp::Limit) -> icmp::Limited;
    /// Has the daemon look at what changed.
    fn tell(&mut self, note: &SyncNote<Self::A>);
    /// Adds one to a slot of the counter map.
    fn note(&mut self, slot: u32);

    /// Any number, each as likely as the others.
    fn random(&mut self) -> u32;
    /// Whether a new connection falls to the defence that drops one of `rate`.
    fn drops(&mut self, rate: u32) -> bool;

    /// Walks over the real servers of a service; see [`sched::Walk`]. A kernel implementation runs it out of line.
    #[inline(always)]
    fn walk(&mut self, walk: &Walk) -> Found
    where
        Self: Sized,
    {
        sched::make(self, walk)
    }

    /// What the match rules say of a packet; see [`matching::find`]. A kernel implementation runs it out of line.
    #[inline(always)]
    fn matched(&self, iface: &Iface, key: &FlowKey<Self::A>) -> Matched
    where
        Self: Sized,
    {
        matching::find(self, iface.ifindex, key)
    }

    /// Looks for a client's template; see [`template::join`]. May run out of line.
    #[inline(always)]
    fn join(&mut self, service: &Service, key: &FlowKey<Self::A>) -> Joined
    where
        Self: Sized,
    {
        template::join(self, service, key)
    }

    /// What lblcr knows of an address; see [`lblcr::known`]. May run out of line.
    #[inline(always)]
    fn lblcr_known(&mut self, service: u32, dst: Self::A) -> u64
    where
        Self: Sized,
    {
        lblcr::known(self, service, dst)
    }

    /// See [`lblcr::join`]. May run out of line.
    #[inline(always)]
    fn lblcr_join(&mut self, service: u32, dst: Self::A, dest: u32)
    where
        Self: Sized,
    {
        lblcr::join(self, service, dst, dest);
    }

    /// Ends the connection whose client entry is `key`; see [`leave::end`]. May run out of line.
    #[inline(always)]
    fn end(&mut self, table: Table, key: &FlowKey<Self::A>) -> bool
    where
        Self: Sized,
    {
        leave::end(self, table, key)
    }

    /// Ends the half-open connection `key` if it is the one with this [`Conn::seq`]; see [`leave::evict`]. May run out of
    /// line.
    #[inline(always)]
    fn evict(&mut self, key: &FlowKey<Self::A>, seq: u32) -> bool
    where
        Self: Sized,
    {
        leave::evict(self, key, seq)
    }

    /// Ends what waits for a client without knowing its port; see [`expected::meet`]. May run out of line.
    #[inline(always)]
    fn meet(&mut self, key: &FlowKey<Self::A>) -> u64
    where
        Self: Sized,
    {
        expected::meet(self, key)
    }

    /// Leaves an entry to the next stage, as it stands now.
    #[inline(always)]
    fn leave_as_newborn(&mut self, entry: Self::ConnRef) {
        let conn = self.load(entry);
        self.put_newborn(&conn);
    }

    /// A step of the slow stages; see [`steps::take`]. May run out of line.
    #[inline(always)]
    fn step<F: Frame>(&mut self, step: Step, f: &mut F, iface: &Iface, found: u32) -> Went
    where
        Self: Sized,
    {
        steps::take(step, f, self, iface, found)
    }

    /// Asks for the way to a real server of the other family; see [`egress::across`]. May run out of line.
    #[inline(always)]
    fn ask_across(&mut self, id: u32, tos: u8, proto: u8, iface: &Iface)
    where
        Self: Sized,
    {
        egress::across(self, id, tos, proto, iface);
    }

    /// Puts the packet into a tunnel's; see [`wrap::wrap`]. May run out of line.
    #[inline(always)]
    fn wrap<F: Frame>(&mut self, f: &mut F, dest: u32, inside: Inside) -> Result<(), DropReason>
    where
        Self: Sized,
    {
        wrap::wrap(f, self, dest, inside)
    }

    /// The state that a packet leads to; see [`advance::any_state_after`]. May run out of line.
    #[inline(always)]
    fn next_state(&self, proto: u8, flags: u8, direction: Direction, state: u8) -> u8
    where
        Self: Sized,
    {
        advance::any_state_after(self, proto, flags, direction, state)
    }

    /// Moves a half-open connection to the established table; see [`promote::promote`]. May run out of line.
    #[inline(always)]
    fn promote(&mut self, key: &FlowKey<Self::A>) -> bool
    where
        Self: Sized,
    {
        promote::promote(self, key)
    }

    #[inline(always)]
    fn event(&mut self, event: Event) {
        self.note(event.slot());
    }
}
