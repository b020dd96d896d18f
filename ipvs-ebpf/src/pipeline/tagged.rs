//! Frames of VLANs. The tags come off before anything else is looked at, and whatever the director does not forward gets them back
//! as they were; what leaves by a VLAN device gets those of that device.

use ipvs_common::{DropReason, Egress, Iface, PassReason, VlanKey};

use super::refuse;
use crate::{
    Ip,
    exit::{Exit, Verdict},
    frame::Frame,
    tables::Tables,
    tags,
};

/// In the place of an interface: the stack has the frame, with the tags that it came with.
pub const UP: u32 = 0;

/// Takes the tags off. From then on the frame came in by the VLAN device; `iface` is where it really did.
#[inline(always)]
pub fn untag<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Verdict {
    match within(f, t, iface) {
        Ok(verdict) => verdict,
        Err(exit) => refuse(t, exit),
    }
}

#[inline(always)]
fn within<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Result<Verdict, Exit> {
    let short = |_| PassReason::NotIp;
    let (tags, len) = tags::read(f).map_err(short)?;
    let tags = tags.to_ne_bytes();
    let carried = tags::carried(f, len).map_err(short)?;
    let key = VlanKey::new(iface.port, tags);
    let Some(vlan) = t.vlan(&key).copied() else {
        return Err(PassReason::VlanUnknown.into());
    };
    let next = if carried == <[u8; 4] as Ip>::ETHERTYPE {
        Verdict::INNER
    } else if carried == <ipvs_common::Addr as Ip>::ETHERTYPE {
        Verdict::INNER6
    } else if VlanKey::is_tag(carried) {
        return Err(PassReason::VlanUnknown.into());
    } else {
        return Err(PassReason::NotIp.into());
    };
    tags::take_off(f, len)?;
    t.set_inbound(&Iface {
        tags,
        tags_len: len as u32,
        held: iface.held,
        ..vlan
    });
    Ok(if iface.held == 0 {
        next
    } else {
        Verdict::FRAGMENT
    })
}

/// Puts tags on, and sends the frame out of a VLAN device, or leaves it to the stack ([`UP`]). `iface` is where it came in.
#[inline(always)]
pub fn tag<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface, to: u32) -> Verdict {
    let done = if to == UP {
        tags::put_on(f, iface.tags, iface.tags_len).map(|()| Verdict::PASS)
    } else {
        leave(f, t, iface, to)
    };
    match done {
        Ok(verdict) => verdict,
        Err(reason) => refuse(t, reason.into()),
    }
}

#[inline(always)]
fn leave<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
    to: u32,
) -> Result<Verdict, DropReason> {
    // The device may have gone since its way was asked for, or its port take no frames any longer.
    let vlan = *t
        .egress(to)
        .filter(|e| e.xmit == Egress::TAGGED)
        .ok_or(DropReason::NoRoute)?;
    tags::put_on(f, vlan.tags, vlan.tags_len)?;
    Ok(if iface.tx != 0 && vlan.port == iface.port {
        Verdict::TX
    } else {
        Verdict::redirect(vlan.port)
    })
}
