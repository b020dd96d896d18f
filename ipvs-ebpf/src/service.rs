//! Which virtual service a packet belongs to (only asked when no connection matches).

use ipvs_common::{
    Address, DropReason, FlowKey, Iface, PassReason, Proto, Service, ServiceFlags, ServiceKey,
    Settings, SettingsFlags,
};

use crate::{
    Ip, egress,
    exit::Exit,
    parse::{Packet, flag},
    tables::Tables,
};

/// FTP's ports: commands, and data.
pub const FTP: u16 = 21;
const FTP_DATA: u16 = 20;

/// What becomes of a packet whose connection's real server was deleted: dropped in silence. Without any service of the
/// family there is no balancer either, as ip_vs then unhooks itself, and the stack answers.
#[inline(always)]
pub fn dest_gone<T: Tables>(t: &T) -> Exit {
    let flags = t.settings().map_or(0, |s| s.flags);
    if flags & T::A::HAS_SERVICES == 0 {
        return PassReason::NoService.into();
    }
    DropReason::DestGone.into()
}

/// Clients' packets pass while another director balances (`backup_only`), as ip_vs then looks at none of them.
#[inline(always)]
pub fn at_work<T: Tables>(t: &T) -> Result<(), Exit> {
    if t.settings().is_some_and(Settings::stands_by) {
        return Err(PassReason::StandsBy.into());
    }
    Ok(())
}

/// The firewall mark of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marked {
    /// 0: none.
    pub mark: u32,
    /// A match rule gave it, and so says that the packet is the director's, whatever its address.
    pub by_rule: bool,
}

impl Marked {
    pub const NOT: Self = Self {
        mark: 0,
        by_rule: false,
    };
}

/// Whether match rules have to be asked for the mark of a packet.
#[inline(always)]
pub fn has_matches<T: Tables>(t: &T) -> bool {
    let flags = t.settings().map_or(0, |s| s.flags);
    flags & T::A::HAS_MATCHES != 0 && flags & T::A::HAS_FWMARK != 0
}

/// The mark of a packet by the interface alone.
#[must_use]
#[inline(always)]
pub const fn of_interface(iface: &Iface) -> Marked {
    Marked {
        mark: iface.mark,
        by_rule: false,
    }
}

/// The mark of a packet: by the first match rule that fits it, or else that of its interface.
#[inline(always)]
pub fn mark<T: Tables>(t: &T, key: &FlowKey<T::A>, iface: &Iface) -> Marked {
    if has_matches(t) && T::A::is_of_its_own(key) {
        let matched = t.matched(iface, key);
        if matched.order() != 0 {
            return Marked {
                mark: matched.mark(),
                by_rule: true,
            };
        }
    }
    of_interface(iface)
}

/// The service of a packet: by mark, by address and port, for FTP's data by address and FTP's port, by address with port 0.
#[inline(always)]
pub fn lookup<'t, T: Tables>(t: &'t T, p: &Packet<T::A>, mark: u32) -> Option<&'t Service> {
    let (flags, unprivileged) = t
        .settings()
        .map_or((0, 0), |s| (s.flags, s.unprivileged_port));
    let k = &p.key;
    if flags & T::A::HAS_SERVICES == 0 || !T::A::is_of_its_own(k) {
        return None;
    }
    if mark != 0
        && flags & T::A::HAS_FWMARK != 0
        && let Some(service) = t.service(&T::A::marked(mark))
    {
        return Some(service);
    }
    let exact = t.service(&ServiceKey::at(k.proto, k.dst.wide(), k.dport));
    if exact.is_some() {
        return exact;
    }
    let dport = u16::from_be_bytes(k.dport);
    if flags & T::A::HAS_FTP != 0
        && k.proto == Proto::Tcp as u8
        && (dport == FTP_DATA || u32::from(dport) >= unprivileged)
        && let Some(service) = t.service(&ServiceKey::at(k.proto, k.dst.wide(), FTP.to_be_bytes()))
    {
        return Some(service);
    }
    if flags & T::A::HAS_PORT0 == 0 {
        return None;
    }
    t.service(&ServiceKey::at(k.proto, k.dst.wide(), [0, 0]))
}

/// Whether a service of FTP matches a packet to another port.
#[must_use]
#[inline(always)]
pub fn is_ftp_data<A: Ip>(p: &Packet<A>, service: &Service) -> bool {
    u16::from_be_bytes(service.port) == FTP && service.port != p.key.dport
}

/// Whether the packet is of a kind that opens connections: TCP with SYN (any segment under `sloppy_tcp`) and without RST, any of
/// UDP, and INIT of SCTP (under `sloppy_sctp` all but ABORT).
#[inline(always)]
pub fn opens<T: Tables>(t: &T, p: &Packet<T::A>) -> bool {
    let flags = t.settings().map_or(0, |s| s.flags);
    let sloppy = if p.is_sctp() {
        SettingsFlags::SLOPPY_SCTP
    } else {
        SettingsFlags::SLOPPY_TCP
    };
    p.is_udp() || (!p.has(flag::RST) && (p.has(flag::SYN) || flags & sloppy != 0))
}

/// Whether a packet that opens a connection may open one with this service. Nothing opens from source port 20 (FTP's active
/// data), and a service that is not persistent takes its own port only.
#[inline(always)]
pub fn admit<T: Tables>(
    t: &mut T,
    p: &Packet<T::A>,
    iface: &Iface,
    marked: Marked,
    service: &Service,
) -> Result<(), Exit> {
    if service.mark != 0 && !marked.by_rule && !egress::is_local(t, p, iface) {
        return Err(PassReason::NotLocal.into());
    }
    let rate = t.settings().map_or(0, |s| s.drop_rate);
    if rate != 0 && t.drops(rate) {
        return Err(DropReason::DropPacket.into());
    }
    if p.key.sport == FTP_DATA.to_be_bytes() {
        return Err(PassReason::SourcePort20.into());
    }
    let persistent = service.flags & ServiceFlags::PERSISTENT != 0;
    if !persistent && service.mark == 0 && service.port != p.key.dport {
        return Err(PassReason::CannotOpen.into());
    }
    Ok(())
}
