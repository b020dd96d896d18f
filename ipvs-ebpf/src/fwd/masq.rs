//! Masquerading, the client's direction: the virtual address becomes the real server's.

use ipvs_common::{Conn, Hop, HopKind, Iface, PassReason};

use super::{age_and_measure, depart, leads_on};
use crate::{
    Ip, egress,
    exit::{Exit, Verdict},
    frame::Frame,
    parse::Packet,
    rewrite::l4::{self, End, Partial, Translation},
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
    let kernel = by_kernel(iface, p, hop);
    let partial = partial_rule(iface, p, hop, kernel.is_some());
    // The kernel takes its own step from the time to live, and measures by itself.
    if kernel.is_none() {
        age_and_measure(f, iface, p, conn, hop.mtu)?;
    }
    T::A::set_dst(f, conn.to_addr)?;
    let to = Translation {
        end: End::Destination,
        addr: conn.to_addr,
        port: conn.to_port,
        partial,
    };
    l4::translate(f, t, p, &to)?;
    match kernel {
        Some(reason) => Err(reason.into()),
        None => depart(f, t, iface, hop, p.len),
    }
}

/// Why the translated packet goes to the kernel's routing instead of leaving from here, if so.
#[inline(always)]
pub(super) fn by_kernel<A: Ip>(iface: &Iface, p: &Packet<A>, hop: &Hop) -> Option<PassReason> {
    if hop.kind == HopKind::Local as u8 {
        Some(PassReason::Localnode)
    } else if iface.held != 0 && leads_on(hop) {
        // The daemon has it and sends it on any interface.
        None
    } else if hop.kind == HopKind::Unresolved as u8 {
        Some(PassReason::Unresolved)
    } else if hop.kind != HopKind::Send as u8
        || egress::is_aggregate(iface, p)
        || !egress::takes(iface, hop)
    {
        Some(PassReason::KernelRoutes)
    } else {
        None
    }
}

#[inline(always)]
pub(super) fn partial_rule<A: Ip>(
    iface: &Iface,
    p: &Packet<A>,
    hop: &Hop,
    to_kernel: bool,
) -> Partial {
    if egress::is_aggregate(iface, p) {
        Partial::KeepAggregate
    } else if to_kernel || egress::keeps_partial(iface, hop, p.len) {
        Partial::Keep
    } else {
        Partial::Complete
    }
}
