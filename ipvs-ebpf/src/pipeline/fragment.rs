//! A fragment. The first one of a packet has its ports: they are kept, and it goes the way of any packet. Those behind it are
//! forwarded as the first one was: by the same connection, which neither its state machine nor its timer hear of.
//!
//! What comes before the first one the daemon holds for a moment, and gives it back ([`Iface::held`]).

use ipvs_common::{
    Address, Conn, DestFlags, DropReason, Event, FlowKey, ForwardingMethod, Fragment, Iface,
    PassReason, Proto, PuntHeader, hdr::Ports, punt::PUNT_AGAIN,
};

use super::{icmp::living, refuse, steps};
use crate::{
    Ip,
    conn::Hit,
    egress,
    exit::{Exit, NO_DEST, Verdict},
    frame::Frame,
    fwd,
    icmp::{Limit, Limited, Peer, budget},
    parse::{self, Fragmented, Packet, error},
    service,
    tables::Tables,
};

#[inline(always)]
pub fn fragment<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Verdict {
    if T::A::LONG {
        return steps::fragment_slowly(f, t, iface);
    }
    match look(f, t, iface) {
        Ok(verdict) => verdict,
        Err(exit) => refuse(t, exit),
    }
}

#[inline(always)]
fn look<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Result<Verdict, Exit> {
    let dest = recall(f, t, iface)?;
    if dest != UNKNOWN {
        if follow(f, t, iface, dest)? != UNKNOWN {
            return Ok(Verdict::BORN);
        }
        if dest == SETTLED {
            return Err(PassReason::Fragment.into());
        }
        let p = error::asked(t)?;
        own(t, iface, &p)?;
    }
    early(f, t, iface)
}

/// No real server has this index.
pub(super) const UNKNOWN: u32 = NO_DEST - 1;

/// Nor this: the first fragment came so long ago that what was to become of it has.
pub(super) const SETTLED: u32 = NO_DEST - 2;
/// That is one part in so many of a second.
const UNSETTLED: u32 = 16;

/// Recalls the ports of a fragment, and leaves its flow to whoever goes on; the real server of a datagram that was scheduled by itself,
/// [`SETTLED`] if there is none, or [`UNKNOWN`]. Of a first one the ports are kept, and it goes where it goes.
#[inline(always)]
pub(super) fn recall<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
) -> Result<u32, Exit> {
    let Fragmented { mut p, key } = T::A::fragmented(f)?;
    if !p.is_later() {
        let ports = *f.at::<Ports>(p.l4).map_err(|_| PassReason::Malformed)?;
        (p.key.sport, p.key.dport) = (ports.src, ports.dst);
        if is_short(&p) {
            return Err(short(t, iface, &p));
        }
        let told = told(t, &p);
        t.put_fragment(&key, &told);
        return Err(Exit::SLOW);
    }
    let Some(known) = t.fragment(&key).copied() else {
        return Ok(UNKNOWN);
    };
    if known.expires <= t.now() {
        return Ok(UNKNOWN);
    }
    (p.key.sport, p.key.dport, p.key.proto) = (known.sport, known.dport, known.proto);
    t.ask(&p.key);
    let unsettled = lifetime(t) - u64::from(hz(t) / UNSETTLED);
    if known.dest == NO_DEST && known.expires < t.now() + unsettled {
        return Ok(SETTLED);
    }
    Ok(known.dest)
}

/// Leaves what forwards the fragment; or [`UNKNOWN`]: the first one may be on its way to a connection on another CPU, or may have come
/// to nothing.
#[inline(always)]
pub(super) fn follow<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    dest: u32,
) -> Result<u32, Exit> {
    let p = or_later(f, t)?;
    if let Some(hit) = living(t, &p.key) {
        let conn = by_connection(t, iface, &p, &hit)?;
        t.put_newborn(&conn);
        return Ok(0);
    }
    service::at_work(t)?;
    if let Some(conn) = by_itself(t, dest) {
        t.put_newborn(&conn);
        return Ok(0);
    }
    Ok(UNKNOWN)
}

/// That a service would take the packet.
#[inline(always)]
pub(super) fn own<T: Tables>(t: &T, iface: &Iface, p: &Packet<T::A>) -> Result<u32, Exit> {
    let marked = service::mark(t, &p.key, iface);
    let service = service::lookup(t, p, marked.mark);
    service.map(|_| 0).ok_or(PassReason::Fragment.into())
}

/// What is kept of a first fragment.
#[inline(always)]
fn told<T: Tables>(t: &T, p: &Packet<T::A>) -> Fragment {
    Fragment {
        expires: t.now() + lifetime(t),
        dest: NO_DEST,
        sport: p.key.sport,
        dport: p.key.dport,
        proto: p.key.proto,
        pad: [0; 7],
    }
}

#[inline(always)]
fn hz<T: Tables>(t: &T) -> u32 {
    t.settings().map_or(0, |s| s.hz)
}

/// How long it is kept, in ticks.
#[inline(always)]
fn lifetime<T: Tables>(t: &T) -> u64 {
    u64::from(Fragment::SECONDS) * u64::from(hz(t))
}

/// Whether a first fragment ends within its transport header.
#[inline(always)]
fn is_short<A: Ip>(p: &Packet<A>) -> bool {
    usize::from(p.l4_len) < Proto::from_number(p.key.proto).map_or(0, parse::least)
}

/// What becomes of such a one: it tells of no connection for sure, and nobody sends it but to get past filters (RFC 1858); those of others
/// are not our business.
#[inline(always)]
fn short<T: Tables>(t: &T, iface: &Iface, p: &Packet<T::A>) -> Exit {
    if service::lookup(t, p, service::mark(t, &p.key, iface).mark).is_some() {
        DropReason::FragmentShort.into()
    } else {
        PassReason::Fragment.into()
    }
}

/// The connection as it forwards: with the way back in it, where that is wanted.
#[inline(always)]
fn by_connection<T: Tables>(
    t: &mut T,
    iface: &Iface,
    p: &Packet<T::A>,
    hit: &Hit<T>,
) -> Result<Conn<T::A>, Exit> {
    let mut conn = hit.conn;
    if hit.is_reply() {
        conn.hop = egress::to_client(t, p, iface, hit);
        fwd::reply::admit(iface, p, &conn.hop)?;
        return Ok(conn);
    }
    service::at_work(t)?;
    if conn.status.method == ForwardingMethod::BYPASS {
        conn.hop = egress::past_dests(t, p, iface, hit);
        return Ok(conn);
    }
    let dest = t.dest(conn.dest).ok_or(DropReason::Internal)?;
    if dest.flags & DestFlags::AVAILABLE == 0 {
        return Err(service::dest_gone(t));
    }
    Ok(conn)
}

/// What stands for the connection of a datagram that was scheduled by itself.
#[inline(always)]
fn by_itself<T: Tables>(t: &T, id: u32) -> Option<Conn<T::A>> {
    let dest = t.dest(id)?;
    if dest.flags & DestFlags::AVAILABLE == 0 {
        return None;
    }
    let mut conn = Conn {
        dest: id,
        to_addr: T::A::narrow(dest.addr),
        ..Conn::default()
    };
    conn.status.method = dest.method;
    Some(conn)
}

/// The packet of a frame, or of a fragment that this stage left to another one.
#[inline(always)]
pub(super) fn or_later<F: Frame, T: Tables>(f: &mut F, t: &T) -> Result<Packet<T::A>, Exit> {
    let exit = match T::A::any_packet(f) {
        Ok(p) => return Ok(p),
        Err(exit) => exit,
    };
    if exit != Exit::FRAGMENT {
        return Err(exit);
    }
    let Fragmented { p, .. } = T::A::fragmented(f)?;
    let key: FlowKey<T::A> = *t.asked().ok_or(DropReason::Internal)?;
    Ok(Packet { key, ..p })
}

/// Has the fragments of a datagram that is scheduled by itself follow its first one.
#[inline(always)]
pub(super) fn of_one_packet<F: Frame, T: Tables>(f: &mut F, t: &mut T, dest: u32) {
    if let Ok(Fragmented { key, .. }) = T::A::fragmented(f) {
        t.set_fragment_dest(&key, dest);
    }
}

/// As many are held in a second: others that the daemon gets shall not wait behind somebody's stray fragments.
const EARLY_PER_SECOND: u32 = 2000;

/// A fragment that nothing is known of yet. Without services it is nobody's.
#[inline(always)]
pub(super) fn early<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
) -> Result<Verdict, Exit> {
    if t.settings().map_or(0, |s| s.flags) & T::A::HAS_SERVICES == 0 {
        return Err(PassReason::Fragment.into());
    }
    if iface.held != 0 {
        return Ok(Verdict::WAITS);
    }
    let limit = Limit {
        budget: budget::EARLY,
        peer: Peer::NOBODY,
        per_second: EARLY_PER_SECOND,
        hz: hz(t),
    };
    if f.len() > PUNT_AGAIN || t.icmp_limit(&limit) != Limited::NOT {
        return Err(PassReason::FragmentEarly.into());
    }
    let header = PuntHeader::early(iface.port, f.len() as u32, iface.tags, iface.tags_len);
    if !f.hand_over(&header) {
        return Err(PassReason::FragmentEarly.into());
    }
    t.event(Event::HandedEarly);
    Ok(Verdict::HANDED)
}
