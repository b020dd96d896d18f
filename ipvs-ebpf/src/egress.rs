//! Where a rewritten packet goes: next hops and their cache, and the verdict that sends it.

use ipvs_common::{Address, AttachMode, DestFlags, Egress, Event, Hop, HopKind, Iface, Settings};

use crate::{
    Ip,
    conn::Hit,
    exit::Verdict,
    parse::Packet,
    tables::{FibQuery, Tables},
};

/// Whether a cached answer may still be used: same epoch, and not older than a second.
#[inline(always)]
pub fn fresh<T: Tables>(t: &T, hop: &Hop) -> bool {
    t.settings().is_some_and(|s| fresh_by(t, s, hop))
}

/// The same for who has looked at the settings.
#[inline(always)]
pub fn fresh_by<T: Tables>(t: &T, s: &Settings, hop: &Hop) -> bool {
    hop.kind == HopKind::Send as u8
        && hop.epoch == s.epoch
        && (t.now() as u32).wrapping_sub(hop.learned) <= s.hz
}

#[inline(always)]
fn ask<T: Tables>(t: &mut T, query: &FibQuery<T::A>) -> Hop {
    t.event(Event::FibLookup);
    let mut hop = t.route(query);
    remember(t, &mut hop);
    hop
}

/// When and under which settings it was asked.
#[inline(always)]
fn remember<T: Tables>(t: &T, hop: &mut Hop) {
    // Where the neighbour is unknown, its address is in that place.
    if hop.kind != HopKind::Unresolved as u8 {
        hop.learned = t.now() as u32;
        hop.epoch = t.settings().map_or(0, |s| s.epoch);
    }
}

/// The way to a real server; kept with it. As in ip_vs the client's address does not choose the route.
#[inline(always)]
pub fn to_dest<T: Tables>(t: &mut T, p: &Packet<T::A>, iface: &Iface, id: u32, addr: T::A) -> Hop {
    if let Some(hop) = t.dest_state(id).map(|s| s.hop)
        && fresh(t, &hop)
    {
        return hop;
    }
    let query = FibQuery {
        src: T::A::default(),
        dst: addr,
        tos: p.tos,
        proto: p.key.proto,
        ifindex: iface.ifindex,
        mark: 0,
    };
    let mut hop = ask(t, &query);
    narrow(t, id, &mut hop);
    t.set_dest_hop(id, &hop);
    hop
}

/// The way through a tunnel, which may be one of the other family.
#[inline(always)]
pub fn through<T: Tables>(t: &mut T, p: &Packet<T::A>, iface: &Iface, id: u32) -> Hop {
    let Some(dest) = t.dest(id) else {
        return Hop::default();
    };
    let (across, addr) = (
        dest.flags & DestFlags::OTHER_FAMILY != 0,
        Address::narrow(dest.addr),
    );
    let known = t.dest_state(id).map(|s| s.hop);
    if !across || known.is_some_and(|hop| fresh(t, &hop)) {
        return to_dest(t, p, iface, id, addr);
    }
    t.ask_across(id, p.tos, p.key.proto, iface);
    t.dest_state(id).map_or(Hop::default(), |s| s.hop)
}

/// Asks for the way to a real server of the other family, and keeps it there.
#[inline(always)]
pub fn across<T: Tables>(t: &mut T, id: u32, tos: u8, proto: u8, iface: &Iface) {
    let Some(addr) = t.dest(id).map(|d| d.addr) else {
        return;
    };
    let query = FibQuery {
        src: Default::default(),
        dst: Address::narrow(addr),
        tos,
        proto,
        ifindex: iface.ifindex,
        mark: 0,
    };
    t.event(Event::FibLookup);
    let mut hop = t.route_across(&query);
    remember(t, &mut hop);
    narrow(t, id, &mut hop);
    t.set_dest_hop(id, &hop);
}

/// What a router on the way said it takes; see [`learn`].
#[inline(always)]
fn narrow<T: Tables>(t: &T, id: u32, hop: &mut Hop) {
    let (mtu, until) = t
        .dest_state(id)
        .map_or((0, 0), |s| (s.path_mtu, s.path_until));
    if until > t.now() && (hop.mtu == 0 || mtu < u32::from(hop.mtu)) {
        hop.mtu = mtu as u16;
    }
}

/// Believes that the way to a real server takes no packet longer than `mtu`, for as long as the kernel believes such a thing.
/// Returns the length that it takes. `O`: the family of the tunnel.
#[inline(always)]
pub fn learn<T: Tables, O: Ip>(t: &mut T, id: u32, mtu: u16) -> u16 {
    /// Seconds; the kernel's `net.ipv4.route.mtu_expires`, and the same of IPv6.
    const EXPIRES: u64 = 600;
    let mut hop = t.dest_state(id).map_or(Hop::default(), |s| s.hop);
    let overhead = t.dest(id).map_or(0, |d| d.overhead);
    let mtu = mtu.max(O::least_path(overhead));
    if hop.mtu != 0 && hop.mtu <= mtu {
        return hop.mtu;
    }
    let hz = t.settings().map_or(0, |s| u64::from(s.hz));
    t.set_dest_path(id, mtu, t.now() + EXPIRES * hz);
    t.event(Event::PathMtu);
    hop.mtu = mtu;
    t.set_dest_hop(id, &hop);
    mtu
}

/// The way back to a client with the virtual address as source (so that source routing rules apply); kept with the reply
/// entry of the connection.
#[inline(always)]
pub fn to_client<T: Tables>(t: &mut T, p: &Packet<T::A>, iface: &Iface, conn: &Hit<T>) -> Hop {
    let cached = conn.conn.hop;
    if fresh(t, &cached) {
        return cached;
    }
    let query = FibQuery {
        src: conn.conn.to_addr,
        dst: p.key.dst,
        tos: p.tos,
        proto: p.key.proto,
        ifindex: iface.ifindex,
        mark: 0,
    };
    let hop = ask(t, &query);
    t.set_hop(conn.entry, conn.conn.seq, &hop);
    hop
}

/// The way of an ICMP error to whoever sent `p`, mostly from the virtual address to a client.
#[inline(always)]
pub fn to_sender<T: Tables>(t: &mut T, p: &Packet<T::A>, iface: &Iface, from: T::A) -> Hop {
    ask(
        t,
        &FibQuery {
            src: from,
            dst: p.key.src,
            tos: 0,
            proto: T::A::ICMP,
            ifindex: iface.ifindex,
            mark: 0,
        },
    )
}

/// The way of an ICMP error between two addresses; to a real server if `dest` says so. Errors are rare: not kept.
#[inline(always)]
pub fn of_error<T: Tables>(
    t: &mut T,
    p: &Packet<T::A>,
    iface: &Iface,
    (src, dst): (T::A, T::A),
    dest: u32,
) -> Hop {
    let query = FibQuery {
        src,
        dst,
        tos: p.tos,
        proto: p.key.proto,
        ifindex: iface.ifindex,
        mark: 0,
    };
    let mut hop = ask(t, &query);
    narrow(t, dest, &mut hop);
    hop
}

/// The way to a packet's own destination (`cache_bypass`), without regard to its mark.
#[inline(always)]
pub fn onwards<T: Tables>(t: &mut T, p: &Packet<T::A>, iface: &Iface) -> Hop {
    let query = FibQuery {
        src: p.key.src,
        dst: p.key.dst,
        tos: p.tos,
        proto: p.key.proto,
        ifindex: iface.ifindex,
        mark: 0,
    };
    ask(t, &query)
}

/// The same, kept with the connection.
#[inline(always)]
pub fn past_dests<T: Tables>(t: &mut T, p: &Packet<T::A>, iface: &Iface, conn: &Hit<T>) -> Hop {
    let cached = conn.conn.hop;
    if fresh(t, &cached) {
        return cached;
    }
    let hop = onwards(t, p, iface);
    t.set_hop(conn.entry, conn.conn.seq, &hop);
    hop
}

/// Whether the packet's destination is an address of the director, or made one by a routing rule for its mark.
#[inline(always)]
pub fn is_local<T: Tables>(t: &mut T, p: &Packet<T::A>, iface: &Iface) -> bool {
    let query = FibQuery {
        src: p.key.src,
        dst: p.key.dst,
        tos: p.tos,
        proto: p.key.proto,
        ifindex: iface.ifindex,
        mark: iface.mark,
    };
    ask(t, &query).kind == HopKind::Local as u8
}

/// Whether the frame leaves by the interface it came from, and its driver can do that.
#[inline(always)]
const fn sends_back(iface: &Iface, hop: &Hop) -> bool {
    iface.tx != 0 && hop.ifindex == iface.port
}

/// Whether the interface takes the frame from a program attached this way.
#[inline(always)]
#[must_use]
pub const fn takes(iface: &Iface, hop: &Hop) -> bool {
    iface.mode != AttachMode::Native as u8 || hop.xmit != 0 || sends_back(iface, hop)
}

/// An aggregate of segments (GSO, GRO), as only generic mode sees it: longer than the wire allows, yet not too big.
#[inline(always)]
#[must_use]
pub const fn is_aggregate<A: Ip>(iface: &Iface, p: &Packet<A>) -> bool {
    iface.mode == AttachMode::Generic as u8 && p.len as u32 > iface.mtu
}

/// Whether the packet keeps its checksum metadata on the way out: generic mode redirects the skb itself. What the daemon
/// has to send is bytes alone.
#[inline(always)]
#[must_use]
pub const fn keeps_partial(iface: &Iface, hop: &Hop, len: u16) -> bool {
    iface.mode == AttachMode::Generic as u8 && !by_daemon(hop, len)
}

/// Whether the daemon has to send an IP packet of `len` bytes: its neighbour is unknown, or it is too long for the way.
#[inline(always)]
#[must_use]
pub const fn by_daemon(hop: &Hop, len: u16) -> bool {
    hop.kind == HopKind::Unresolved as u8 || (hop.mtu != 0 && len > hop.mtu)
}

/// Sends the frame, whose addresses are set.
#[inline(always)]
pub const fn send(iface: &Iface, hop: &Hop) -> Verdict {
    if sends_back(iface, hop) {
        Verdict::TX
    } else if hop.xmit == Egress::TAGGED as u8 && iface.mode == AttachMode::Native as u8 {
        // In generic mode the VLAN device takes it, and puts its tags on by itself.
        Verdict::tagged(hop.ifindex)
    } else {
        Verdict::redirect(hop.ifindex)
    }
}
