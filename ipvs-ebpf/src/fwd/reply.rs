//! Masquerading, the real server's direction: its address becomes the virtual one.

use ipvs_common::{Conn, Hop, HopKind, Iface, PassReason};

use super::{
    depart,
    masq::{by_kernel, partial_rule},
    too_long,
};
use crate::{
    Ip,
    exit::{Exit, Verdict},
    frame::Frame,
    parse::Packet,
    rewrite::l4::{self, End, Translation},
    tables::Tables,
};

/// Whether a reply may go on at all. If not, the kernel's own forwarding tells the real server, which wants the packet
/// untranslated; like ip_vs, which does not get to see it then, leave the connection and the counters alone.
#[inline(always)]
pub fn admit<A: Ip>(iface: &Iface, p: &Packet<A>, hop: &Hop) -> Result<(), Exit> {
    if p.ttl <= 1 || (p.df && too_long(iface, p, hop.mtu) && hop.kind == HopKind::Send as u8) {
        return Err(PassReason::ReplyForKernel.into());
    }
    Ok(())
}

/// Translates a reply that was admitted. It is sent even when the real server was deleted or quiesced meanwhile.
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
    if kernel.is_none() {
        T::A::age(f)?;
    }
    T::A::set_src(f, conn.to_addr)?;
    let partial = partial_rule(iface, p, hop, kernel.is_some());
    l4::translate(
        f,
        t,
        p,
        &Translation {
            end: End::Source,
            addr: conn.to_addr,
            port: conn.to_port,
            partial,
        },
    )?;
    match kernel {
        Some(reason) => Err(reason.into()),
        None => depart(f, t, iface, hop, p.len),
    }
}
