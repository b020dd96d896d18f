//! Which virtual service a packet belongs to (only asked when no connection matches).

use ipvs_common::{DropReason, Iface, PassReason, Service, ServiceKey, SettingsFlags};

use crate::{
    egress,
    exit::Exit,
    parse::{Packet, flag},
    tables::Tables,
};

/// The service of a packet that may open a connection: by mark, by address and port, by address with port 0.
#[inline(always)]
pub fn find<T: Tables>(t: &mut T, p: &Packet, iface: &Iface) -> Result<Service, Exit> {
    let flags = t.settings().map_or(0, |s| s.flags);
    let service = *lookup(t, p, iface, flags).ok_or(PassReason::NoService)?;
    may_open(p)?;
    if service.mark != 0 && !egress::is_local(t, p, iface) {
        return Err(PassReason::NotLocal.into());
    }
    Ok(service)
}

/// What becomes of a packet whose connection's real server was deleted: dropped in silence. Without any service there is no
/// balancer either, as ip_vs then unhooks itself, and the stack answers.
#[inline(always)]
pub fn dest_gone<T: Tables>(t: &T) -> Exit {
    let flags = t.settings().map_or(0, |s| s.flags);
    if flags & SettingsFlags::HAS_SERVICES == 0 {
        return PassReason::NoService.into();
    }
    DropReason::DestGone.into()
}

#[inline(always)]
fn lookup<'t, T: Tables>(t: &'t T, p: &Packet, iface: &Iface, flags: u32) -> Option<&'t Service> {
    if flags & SettingsFlags::HAS_SERVICES == 0 {
        return None;
    }
    let k = &p.key;
    if iface.mark != 0
        && flags & SettingsFlags::HAS_FWMARK != 0
        && let Some(service) = t.service(&ServiceKey::fwmark(iface.mark))
    {
        return Some(service);
    }
    let exact = t.service(&ServiceKey::v4(k.proto, k.dst, k.dport));
    if exact.is_some() || flags & SettingsFlags::HAS_PORT0 == 0 {
        return exact;
    }
    t.service(&ServiceKey::v4(k.proto, k.dst, [0, 0]))
}

/// TCP opens with SYN and without RST; nothing opens from source port 20 (FTP's active data).
#[inline(always)]
fn may_open(p: &Packet) -> Result<(), Exit> {
    if p.is_tcp() && (p.has(flag::RST) || !p.has(flag::SYN)) {
        return Err(PassReason::CannotOpen.into());
    }
    if p.key.sport == 20u16.to_be_bytes() {
        return Err(PassReason::SourcePort20.into());
    }
    Ok(())
}
