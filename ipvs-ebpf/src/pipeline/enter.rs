//! Enters the connection that the stage before made of the packet.

use ipvs_common::{DropReason, Iface};

use crate::{
    Ip,
    conn::birth,
    exit::{Exit, Verdict},
    frame::Frame,
    parse,
    tables::Tables,
};

#[inline(always)]
pub fn enter<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Verdict {
    if T::A::LONG {
        return super::steps::enter_slowly(f, t, iface);
    }
    let p = match parse::error::opening(f, t) {
        Ok(p) => p,
        Err(exit) => return super::refuse(t, exit),
    };
    let entered = match t.newborn().copied() {
        Some(conn) => birth::enter(t, &p, conn),
        None => Err(Exit::from(DropReason::Internal)),
    };
    match entered {
        Ok(conn) => {
            t.put_newborn(&conn);
            Verdict::BORN
        }
        Err(exit) => super::refuse(t, exit),
    }
}
