//! The steps of an ICMP error. What one of them found is left in the place of a connection that is to be.

use ipvs_common::{Conn, DropReason, Iface};

use super::{
    super::{icmp, refusal, refuse, tunneled},
    Step,
};
use crate::{
    Ip,
    exit::{Ending, Exit, Verdict},
    frame::Frame,
    fwd::error as relaying,
    icmp::Error,
    parse::error::{self, Carried, Message, Quoted, Report},
    tables::Tables,
};

/// [`super::super::icmp`].
#[inline(always)]
pub fn icmp_slowly<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Verdict {
    match icmp_steps(f, t, iface) {
        Ok(verdict) => verdict,
        Err(exit) => refuse(t, exit),
    }
}

#[inline(always)]
fn icmp_steps<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Result<Verdict, Exit> {
    if t.step(Step::Know, f, iface, 0).how()? == 0 {
        t.step(Step::Estrange, f, iface, 0).how()?;
    }
    t.step(Step::FindWay, f, iface, 0).how()?;
    t.step(Step::Relay, f, iface, 0).verdict()
}

/// Errors about packets of tunnels, of either family.
#[inline(always)]
pub fn about_tunnel<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Verdict {
    match tunneled_steps(f, t, iface) {
        Ok(verdict) => verdict,
        Err(exit) => refuse(t, exit),
    }
}

#[inline(always)]
fn tunneled_steps<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
) -> Result<Verdict, Exit> {
    let start = t.step(Step::Interpret, f, iface, 0).how()?;
    if start == OTHER_FAMILY {
        return across(f, t, iface);
    }
    t.step(Step::Tell, f, iface, start).verdict()
}

/// In the place of a packet's beginning: it is one of the other family.
const OTHER_FAMILY: u32 = 0;

/// The tunnel of one family had a packet of the other one inside.
#[inline(always)]
fn across<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Result<Verdict, Exit> {
    let mut t = t.across();
    let start = t.step(Step::InterpretAcross, f, iface, 0).how()?;
    t.step(Step::Tell, f, iface, start).verdict()
}

/// 1: it is about a connection, which is left.
#[inline(always)]
pub(super) fn know<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Result<u32, Exit> {
    let report = error::report::<_, T::A>(f, iface)?;
    let known = icmp::known(f, t, &report)?;
    if let Some(hit) = &known {
        t.leave_as_newborn(hit.entry);
    }
    Ok(u32::from(known.is_some()))
}

/// It is about none.
#[inline(always)]
pub(super) fn estrange<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
) -> Result<u32, Exit> {
    let report = error::report::<_, T::A>(f, iface)?;
    Err(icmp::stranger(t, &report))
}

/// The way to the other side of the connection, kept with it.
#[inline(always)]
pub(super) fn find_way<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
) -> Result<u32, Exit> {
    let Message { p, .. } = T::A::message(f, iface)?;
    let mut conn = *t.newborn().ok_or(DropReason::Internal)?;
    relaying::is_left(t, &p, &conn)?;
    conn.hop = relaying::way(t, iface, &p, &conn);
    t.put_newborn(&conn);
    Ok(0)
}

/// Sends the error there.
#[inline(always)]
pub(super) fn relay<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
) -> Result<Verdict, Exit> {
    let report = error::report(f, iface)?;
    let conn = *t.newborn().ok_or(DropReason::Internal)?;
    relaying::forward(f, t, iface, &report, &conn, &conn.hop)
}

/// What a client is to hear of an error about its packet in a tunnel is left; where that packet begins, and how much of it
/// there is.
#[inline(always)]
pub(super) fn interpret<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
) -> Result<u32, Exit> {
    let report = error::report::<_, T::A>(f, iface)?;
    let found = match error::carried(f, &report) {
        Ok(carried) if !carried.is_of::<T::A>() => return Ok(OTHER_FAMILY),
        Ok(carried) => interpreted(f, t, &report, carried),
        Err(exit) => Err(exit),
    };
    found.map_err(|exit| tunneled::instead(t, &report, exit))
}

/// The same, where the tunnel is one of the other family.
#[inline(always)]
pub(super) fn interpret_across<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
) -> Result<u32, Exit> {
    let report = error::report::<_, <T::A as Ip>::Other>(f, iface)?;
    let carried = error::carried(f, &report)?;
    let found = interpreted(f, t, &report, carried);
    found.map_err(|exit| tunneled::instead(&mut t.across(), &report, exit))
}

#[inline(always)]
fn interpreted<F: Frame, T: Tables, O: Ip>(
    f: &mut F,
    t: &mut T,
    report: &Report<O>,
    carried: Carried,
) -> Result<u32, Exit> {
    let inner = error::inside(f, report, carried)?;
    let answer = tunneled::in_clients_terms(f, t, report, &inner)?;
    let Ending::Answer(error, dest) = answer.ending() else {
        return Err(answer);
    };
    t.put_newborn(&refusal(error, dest));
    let left = tunneled::left(&report.p, &inner);
    Ok(inner.l3 as u32 | u32::from(left) << 16)
}

/// Tells the client.
#[inline(always)]
pub(super) fn tell<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    found: u32,
) -> Result<Verdict, Exit> {
    // The mask changes nothing: all that is quoted begins before.
    let (start, left) = ((found & 0x7ff) as usize, (found >> 16) as u16);
    let Conn { mark, dest, .. } = *t.newborn().ok_or(DropReason::Internal)?;
    let Quoted { key, .. } = T::A::quoted(f, start, start + usize::from(left))?;
    let answer = Exit::answer(Error::from_word(mark), dest);
    Ok(tunneled::tell(f, t, iface, start, key, left, answer))
}
