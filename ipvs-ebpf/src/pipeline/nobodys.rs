//! A packet that belongs to no connection and no service: the stack's, unless a masqueraded real server sent it and is to be told
//! (`nat_icmp_send`).

use ipvs_common::{Address as _, HopKind, Iface, PassReason, ServiceKey, SettingsFlags};

use super::refusal;
use crate::{
    Ip, egress,
    exit::{Exit, NO_DEST},
    icmp::Error,
    parse::{Packet, flag},
    tables::Tables,
};

#[inline(always)]
pub(super) fn nobodys<T: Tables>(t: &mut T, p: &Packet<T::A>, iface: &Iface) -> Exit {
    let dest = tells(t, p, iface);
    if dest == NO_DEST {
        return PassReason::NoService.into();
    }
    t.put_newborn(&refusal(Error::NO_CONNECTION, dest));
    Exit::BORN
}

/// The real server that is to be told. What is for the director itself (an answer to a check of its, say) is none of this.
#[inline(always)]
fn tells<T: Tables>(t: &mut T, p: &Packet<T::A>, iface: &Iface) -> u32 {
    let flags = t.settings().map_or(0, |s| s.flags);
    if flags & SettingsFlags::NAT_ICMP_SEND == 0 || !T::A::is_of_its_own(&p.key) {
        return NO_DEST;
    }
    if p.has(flag::RST) || p.ttl <= 1 {
        return NO_DEST;
    }
    let from = ServiceKey::at(p.key.proto, p.key.src.wide(), p.key.sport);
    let Some(dest) = t.masqueraded(&from).copied() else {
        return NO_DEST;
    };
    if egress::onwards(t, p, iface).kind == HopKind::Local as u8 {
        return NO_DEST;
    }
    dest
}
