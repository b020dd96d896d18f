//! Direct routing: the packet stays as it is, the frame goes to the real server (or to the router before it).

use ipvs_common::{Conn, Hop, Iface};

use super::{age_and_measure, depart, must_leave};
use crate::{
    egress,
    exit::{Exit, Verdict},
    frame::Frame,
    parse::Packet,
    rewrite::l4,
    tables::Tables,
};

#[inline(always)]
pub fn forward<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    p: &Packet<T::A>,
    conn: &Conn<T::A>,
    hop: &Hop,
) -> Result<Verdict, Exit> {
    must_leave(iface, p, hop)?;
    age_and_measure(f, iface, p, conn, hop.mtu)?;
    if !egress::keeps_partial(iface, hop, p.len) {
        l4::complete(f, t, p)?;
    }
    depart(f, t, iface, hop, p.len)
}
