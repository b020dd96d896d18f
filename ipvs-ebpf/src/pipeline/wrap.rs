//! Puts a packet into a tunnel that takes more than another header of the same IP. Whose it is, the stage before left behind.

use ipvs_common::{Conn, DropReason, Iface};

use super::{answer_later, fragment};
use crate::{
    Ip,
    exit::{Exit, Verdict},
    frame::Frame,
    fwd::wrapped,
    tables::Tables,
};

#[inline(always)]
pub fn wrap<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Verdict {
    match forward(f, t, iface) {
        Ok(verdict) => verdict,
        Err(exit) => answer_later(t, exit),
    }
}

#[inline(always)]
fn forward<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Result<Verdict, Exit> {
    let Conn { dest, .. } = *t.newborn().ok_or(DropReason::Internal)?;
    let (p, is_error) = match fragment::or_later(f, t) {
        Ok(p) => (p, false),
        Err(exit) if exit == Exit::ICMP => (T::A::message(f, iface)?.p, true),
        Err(exit) => return Err(exit),
    };
    wrapped::forward(f, t, iface, &p, dest, is_error)
}
