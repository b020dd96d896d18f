//! What the maps should hold for a given model. Pure: the places of lists and the source addresses of tunnels are given.

mod hash_table;
mod list_space;
mod matches;

pub use hash_table::hash_table;
pub use list_space::{Block, ListSpace};
pub use matches::{LinkOf, Matches, matches};

use ipvs_common::{
    Addr, Dest, DestFlags, ListSlot, Proto, Service, ServiceFlags, SettingsFlags, TunnelKind,
    hdr::{Ipv4, Ipv6},
};

use crate::model::{Model, RealServer, Trashed, TunnelChecksum, VirtualService, WrrRange};

/// Bits of [`ipvs_common::Settings::flags`] that follow from the model; the others are not the model's.
pub const MODEL_FLAGS: u32 = SettingsFlags::HAS_FWMARK
    | SettingsFlags::HAS_PORT0
    | SettingsFlags::HAS_SERVICES
    | SettingsFlags::HAS_FTP
    | SettingsFlags::HAS_SERVICES6
    | SettingsFlags::HAS_FWMARK6
    | SettingsFlags::HAS_PORT0_6
    | SettingsFlags::HAS_FTP6
    | SettingsFlags::HAS_MATCHES
    | SettingsFlags::HAS_MATCHES6;

/// Port of FTP's control connections.
const FTP: [u8; 2] = 21u16.to_be_bytes();

/// Source address of the outer header towards a real server, if there is a route.
pub type SourceOf<'a> = &'a dyn Fn(Addr) -> Option<Addr>;

/// A service whose list is at `list`, and whose scheduler's hash table is at `table`.
#[must_use]
pub fn service(service: &VirtualService, list: Block, table: Block) -> Service {
    let wrr = WrrRange::of(&service.dests);
    Service {
        id: service.id,
        list_base: list.base,
        list_len: list.len,
        persist_timeout: service.spec.persistent.unwrap_or(0),
        scheduler: service.spec.scheduler as u8,
        flags: service.spec.flags
            | match service.spec.persistent {
                Some(_) => ServiceFlags::PERSISTENT,
                None => 0,
            },
        persist_prefix: service.spec.prefix,
        policy: service.spec.policy,
        mark: service.key.mark,
        port: service.key.port,
        table_base: table.base,
        table_len: table.len,
        wrr_max: wrr.max,
        wrr_step: wrr.step,
        ..Service::default()
    }
}

/// The service's list.
#[must_use]
pub fn list(service: &VirtualService) -> Vec<ListSlot> {
    let slot = |d: &RealServer| ListSlot {
        dest: d.id,
        weight: d.spec.weight,
    };
    service.dests.iter().map(slot).collect()
}

/// The real servers of a service under their indices.
pub fn dests<'a>(
    service: &'a VirtualService,
    source: SourceOf<'a>,
) -> impl Iterator<Item = (u32, Dest)> + 'a {
    (0..)
        .zip(&service.dests)
        .map(move |(position, d)| (d.id, dest(service, d, position, source)))
}

fn dest(service: &VirtualService, real: &RealServer, position: u32, source: SourceOf<'_>) -> Dest {
    // Whatever the method is now: connections keep the one they began with, and may be tunnels.
    let tunnel_src = source(real.key.addr).unwrap_or(Addr::UNSPECIFIED);
    let there = reach(real, service.key.addr.is_v4());
    Dest {
        addr: real.key.addr,
        tunnel_src,
        weight: real.spec.weight,
        upper: real.spec.upper,
        lower: real.spec.lower,
        service: service.id,
        position,
        port: real.key.port.to_be_bytes(),
        method: real.spec.method as u8,
        flags: DestFlags::AVAILABLE | there.flags,
        policy: service.spec.policy,
        ..there
    }
}

/// How packets get to a real server of a service of IPv4, or of IPv6, if they get there by tunnel.
fn reach(real: &RealServer, is_v4: bool) -> Dest {
    let tunnel = real.spec.tunnel;
    let checksum = tunnel.checksum != TunnelChecksum::None;
    let other_family = real.key.addr.is_v4() != is_v4;
    let ip = if real.key.addr.is_v4() {
        size_of::<Ipv4>()
    } else {
        size_of::<Ipv6>()
    };
    let bit = |is: bool, flag: u8| if is { flag } else { 0 };
    Dest {
        tunnel: tunnel.kind as u8,
        overhead: ip as u8 + tunnel.kind.header(checksum),
        tunnel_port: tunnel.port.to_be_bytes(),
        flags: bit(
            other_family || tunnel.kind != TunnelKind::Ipip,
            DestFlags::WRAPPED,
        ) | bit(other_family, DestFlags::OTHER_FAMILY)
            | bit(checksum, DestFlags::CHECKSUM),
        ..Dest::default()
    }
}

/// A planned real server over the one that stands in the table: without a route just now, the last known source address is
/// the best guess.
#[must_use]
pub fn over(planned: Dest, before: Option<&Dest>) -> Dest {
    match before {
        Some(before) if planned.tunnel_src == Addr::UNSPECIFIED && before.addr == planned.addr => {
            Dest {
                tunnel_src: before.tunnel_src,
                ..planned
            }
        }
        Some(_) | None => planned,
    }
}

/// What is left of a deleted real server: enough to tell what old connections were about.
#[must_use]
pub const fn deleted(dest: &Dest) -> Dest {
    Dest {
        flags: dest.flags & !DestFlags::AVAILABLE,
        ..*dest
    }
}

/// A deleted real server of which the table has nothing.
#[must_use]
pub fn gone(gone: &Trashed, model: &Model, source: SourceOf<'_>) -> Dest {
    let real = &gone.dest;
    let service = model.service_by_id(gone.service);
    let is_v4 = service.map_or(real.key.addr.is_v4(), |s| s.key.addr.is_v4());
    Dest {
        addr: real.key.addr,
        tunnel_src: source(real.key.addr).unwrap_or(Addr::UNSPECIFIED),
        weight: real.spec.weight,
        upper: real.spec.upper,
        lower: real.spec.lower,
        service: gone.service,
        port: real.key.port.to_be_bytes(),
        method: real.spec.method as u8,
        policy: service.map_or(0, |s| s.spec.policy),
        ..reach(real, is_v4)
    }
}

/// The model's share of the settings' flags.
#[must_use]
pub fn settings_flags(model: &Model) -> u32 {
    let rules = model.matches().iter();
    let matches = rules.fold(0, |flags, rule| {
        let of = if rule.conditions.to.is_v4() {
            FOUR
        } else {
            SIX
        };
        flags | of.matches
    });
    model.services().fold(matches, |flags, s| {
        let of = if s.key.addr.is_v4() { FOUR } else { SIX };
        let kind = if s.key.mark != 0 {
            of.fwmark
        } else if s.key.port == [0; 2] {
            of.port0
        } else if s.key.port == FTP && s.key.proto == Proto::Tcp as u8 {
            of.ftp
        } else {
            0
        };
        flags | kind | of.services
    })
}

/// The flags of one family.
struct Flags {
    services: u32,
    fwmark: u32,
    port0: u32,
    ftp: u32,
    matches: u32,
}

const FOUR: Flags = Flags {
    services: SettingsFlags::HAS_SERVICES,
    fwmark: SettingsFlags::HAS_FWMARK,
    port0: SettingsFlags::HAS_PORT0,
    ftp: SettingsFlags::HAS_FTP,
    matches: SettingsFlags::HAS_MATCHES,
};
const SIX: Flags = Flags {
    services: SettingsFlags::HAS_SERVICES6,
    fwmark: SettingsFlags::HAS_FWMARK6,
    port0: SettingsFlags::HAS_PORT0_6,
    ftp: SettingsFlags::HAS_FTP6,
    matches: SettingsFlags::HAS_MATCHES6,
};

#[cfg(test)]
mod tests;
