//! The records themselves, and how they are made of the model's things.

use bytemuck::{Pod, Zeroable};
use ipvs_common::{Addr, ServiceKey, Stats};

use super::matches::MatchRecord;
use crate::model::{DestKey, DestSpec, Engine, RealServer, ServiceSpec, Tunnel, VirtualService};

/// A service, or the index that is kept for a deleted one.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct ServiceRecord {
    /// To be added to what is counted.
    pub offset: Stats,
    pub key: ServiceKey,
    /// Seconds; 0: not persistent.
    pub persistent: u32,
    pub scheduler: u8,
    pub flags: u8,
    pub prefix: u8,
    pub policy: u8,
    /// 0: deleted, while real servers of it are in the trash.
    pub live: u32,
    /// Number of the persistence engine; 0: none.
    pub engine: u8,
    pub pad: [u8; 3],
}

impl ServiceRecord {
    #[must_use]
    pub fn live(service: &VirtualService, offset: Stats) -> Self {
        let ServiceSpec {
            scheduler,
            persistent,
            prefix,
            flags,
            policy,
            engine,
        } = service.spec;
        Self {
            offset,
            key: service.key,
            persistent: persistent.unwrap_or(0),
            scheduler: scheduler as u8,
            flags,
            prefix,
            policy,
            live: 1,
            engine: engine.map_or(0, Engine::number),
            pad: [0; 3],
        }
    }

    #[must_use]
    pub fn reserved(key: ServiceKey, offset: Stats) -> Self {
        Self {
            offset,
            key,
            ..Self::zeroed()
        }
    }
}

/// Where a real server stands.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DestStanding {
    Listed = 1,
    Trash = 2,
    /// In the trash, and its service was deleted.
    Orphan = 3,
}

impl DestStanding {
    #[must_use]
    pub const fn from_number(n: u8) -> Option<Self> {
        match n {
            1 => Some(Self::Listed),
            2 => Some(Self::Trash),
            3 => Some(Self::Orphan),
            _ => None,
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct DestRecord {
    /// The larger, the nearer to the head of its list.
    pub seq: u64,
    /// To be added to what is counted.
    pub offset: Stats,
    pub addr: Addr,
    pub weight: u32,
    pub upper: u32,
    pub lower: u32,
    pub last_weight: u32,
    pub service: u32,
    /// Host order.
    pub port: u16,
    pub method: u8,
    /// A [`DestStanding`].
    pub standing: u8,
    /// Host order.
    pub tunnel_port: u16,
    pub tunnel_kind: u8,
    pub tunnel_checksum: u8,
    pub pad: [u8; 4],
}

impl DestRecord {
    #[must_use]
    pub const fn new(
        real: &RealServer,
        service: u32,
        standing: DestStanding,
        seq: u64,
        offset: Stats,
    ) -> Self {
        let RealServer {
            id: _,
            key: DestKey { addr, port },
            spec:
                DestSpec {
                    method,
                    weight,
                    upper,
                    lower,
                    tunnel:
                        Tunnel {
                            kind,
                            port: tunnel_port,
                            checksum,
                        },
                },
            last_weight,
        } = *real;
        Self {
            seq,
            offset,
            addr,
            weight,
            upper,
            lower,
            last_weight,
            service,
            port,
            method: method as u8,
            standing: standing as u8,
            tunnel_port,
            tunnel_kind: kind as u8,
            tunnel_checksum: checksum as u8,
            pad: [0; 4],
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct TotalRecord {
    pub offset: Stats,
}

/// Bytes of a name, which is padded with zeros.
const NAME: usize = 64;

/// A knob under its name, so that another version finds it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct KnobRecord {
    pub name: [u8; NAME],
    pub value: u32,
}

impl KnobRecord {
    #[must_use]
    pub fn new(name: &str, value: u32) -> Self {
        Self {
            name: padded(name),
            value,
        }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        name_of(&self.name)
    }
}

/// What earlier tables counted under a reason: to be added to what is counted.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct ReasonRecord {
    /// Kind and name.
    pub name: [u8; NAME],
    pub count: u64,
}

impl ReasonRecord {
    #[must_use]
    pub fn new(name: &str, count: u64) -> Self {
        Self {
            name: padded(name),
            count,
        }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        name_of(&self.name)
    }
}

fn padded(name: &str) -> [u8; NAME] {
    let mut padded = [0; NAME];
    let length = name.len().min(NAME);
    padded[..length].copy_from_slice(&name.as_bytes()[..length]);
    padded
}

fn name_of(padded: &[u8; NAME]) -> &str {
    let length = padded.iter().position(|b| *b == 0);
    let name = &padded[..length.unwrap_or(NAME)];
    std::str::from_utf8(name).unwrap_or("")
}

ipvs_common::described! {
    ServiceRecord { offset: Stats, key: ServiceKey, persistent, scheduler, flags, prefix, policy, live, engine, pad }
    DestRecord {
        seq, offset: Stats, addr, weight, upper, lower, last_weight, service, port, method, standing,
        tunnel_port, tunnel_kind, tunnel_checksum, pad,
    }
    TotalRecord { offset: Stats }
    KnobRecord { name, value }
    ReasonRecord { name, count }
    MatchRecord { mark, to, from, to_prefix, from_prefix, protocol, ranges, interface, ports }
}
