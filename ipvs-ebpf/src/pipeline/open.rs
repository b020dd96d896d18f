//! A packet that no connection matches: whose service is it, who serves it, enter it.

use ipvs_common::Iface;

use super::leave_by;
use crate::{
    conn::{birth, template},
    exit::{Exit, NO_DEST, Verdict},
    frame::Frame,
    icmp,
    parse::{self, Packet},
    service,
    tables::Tables,
};

/// `None`: the connection is entered, and its packet is [`super::slow`]'s.
#[inline(always)]
pub fn open<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Option<Verdict> {
    let p = match parse::packet(f, iface) {
        Ok(p) => p,
        Err(exit) => return Some(super::refuse(t, exit)),
    };
    match enter(t, iface, &p) {
        Ok(()) => None,
        Err(exit) => Some(leave_by(f, t, iface, &p, exit)),
    }
}

#[inline(always)]
fn enter<T: Tables>(t: &mut T, iface: &Iface, p: &Packet) -> Result<(), Exit> {
    let service = service::find(t, p, iface)?;
    let choice = template::choose(t, &service, p);
    if choice.dest == NO_DEST {
        return Err(Exit::answer(icmp::Error::PORT_UNREACHABLE, NO_DEST));
    }
    birth::create(t, p, &service, choice)
}
