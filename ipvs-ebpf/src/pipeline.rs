//! The way of a packet, in stages that run as programs of their own in the kernel, because each has 512 bytes of stack and
//! because what most packets need should be small.
//!
//! `fast`: an established connection, nothing unusual. `slow`: any known connection, with whatever its packet brings about.
//! `open`: a new connection; `enter` puts it into the tables, `born` forwards its packet. `icmp`: errors about
//! connections, `asked`: those that open one, `tunneled`: about what went through a tunnel. `wrap`:
//! into a tunnel that takes more than another header of the same IP. `fragment`: fragments, of which the first one then goes the way of a
//! packet, and the others that of the first. `untag`: frames of a VLAN, which then go the way of any frame that comes in by
//! its device; `tag`: those that are to have tags when they leave. A stage that is not the right one says so before it has changed a byte.

mod asked;
mod born;
mod enter;
mod fast;
mod fragment;
mod icmp;
mod nobodys;
mod open;
mod slow;
pub mod steps;
mod tagged;
mod tunneled;
mod wrap;

use ipvs_common::{Conn, DropReason, ForwardingMethod, Iface, Status, VlanKey, hdr::Eth};

pub use self::{
    asked::asked,
    born::born,
    enter::enter,
    fast::fast,
    fragment::fragment,
    icmp::icmp,
    open::open,
    slow::slow,
    steps::about_tunnel as tunneled,
    tagged::{UP, tag, untag},
    wrap::wrap,
};
use crate::{
    Ip,
    exit::{Ending, Exit, NO_DEST, Verdict},
    frame::Frame,
    icmp::{self as errors, Error},
    parse::{self, Packet},
    stats,
    tables::Tables,
};

/// The stages did not come to an end: each found that the other is right.
#[inline(always)]
pub fn astray<T: Tables>(t: &mut T) -> Verdict {
    t.note(DropReason::Internal.slot());
    Verdict::DROP
}

/// Whether a frame is one of IPv6.
#[inline(always)]
pub fn is_six<F: Frame>(f: &mut F) -> bool {
    f.at::<Eth>(0)
        .is_ok_and(|eth| { eth.0.ether_type } == parse::ETHERTYPE_IPV6)
}

/// Whether a frame has tags of VLANs.
#[inline(always)]
pub fn is_tagged<F: Frame>(f: &mut F) -> bool {
    f.at::<Eth>(0)
        .is_ok_and(|eth| VlanKey::is_tag({ eth.0.ether_type }.to_ne_bytes()))
}

/// What stands in the place of a connection to have its packet answered: with an error, which counts as a reply of a real
/// server ([`Exit::answer`]).
fn refusal<A: Ip>(error: Error, dest: u32) -> Conn<A> {
    Conn {
        dest,
        mark: error.word(),
        status: Status {
            method: ForwardingMethod::REFUSE,
            ..Status::default()
        },
        ..Conn::default()
    }
}

/// Carries an exit out, but leaves an answer to the stage that has the stack for it.
#[inline(always)]
fn answer_later<T: Tables>(t: &mut T, exit: Exit) -> Verdict {
    let Ending::Answer(error, dest) = exit.ending() else {
        return refuse(t, exit);
    };
    t.put_newborn(&refusal(error, dest));
    Verdict::BORN
}

/// Carries an exit out.
#[inline(always)]
fn leave_by<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    p: &Packet<T::A>,
    exit: Exit,
) -> Verdict {
    let Ending::Answer(error, dest) = exit.ending() else {
        return refuse(t, exit);
    };
    if p.is_later() {
        // Of errors about a packet the first fragment is the one to tell (RFC 1122, 3.2.2).
        return refuse(t, error.drop_reason().into());
    }
    match errors::reply(f, t, p, iface, error, dest) {
        Ok(verdict) => {
            if dest != NO_DEST && error != Error::NO_CONNECTION {
                stats::outbound(t, dest, crate::icmp::length(p));
            }
            verdict
        }
        Err(reason) => refuse(t, reason.into()),
    }
}

/// Carries an exit out that asks for no answer.
#[inline(always)]
fn refuse<T: Tables>(t: &mut T, exit: Exit) -> Verdict {
    match exit.ending() {
        Ending::Pass(slot) => {
            t.note(slot);
            Verdict::PASS
        }
        Ending::Drop(slot) => {
            t.note(slot);
            Verdict::DROP
        }
        Ending::Stage(verdict) => verdict,
        Ending::Answer(..) => Verdict::DROP,
    }
}
