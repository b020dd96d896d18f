//! The way back: from a ledger's entries to the model and what belongs to it.

use std::collections::BTreeMap;

use ipvs_common::{ForwardingMethod, Scheduler, ServiceKey, Stats};

use super::{
    DestRecord, DestStanding, Key, Kind, KnobRecord, MatchRecord, ReasonRecord, ServiceRecord,
    TotalRecord, Value,
};
use crate::model::{
    DestKey, DestSpec, Engine, Limits, Model, RealServer, ServiceSpec, Trashed, Tunnel,
    TunnelChecksum, TunnelKind, VirtualService,
};

/// A ledger that this version cannot read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the ledger of the running datapath does not fit: {0}")]
pub struct Unreadable(pub String);

/// What a ledger says.
#[derive(Debug)]
pub struct Restored {
    pub model: Model,
    /// What is added to the counts of services and of real servers, by index.
    pub service_offsets: BTreeMap<u32, Stats>,
    pub dest_offsets: BTreeMap<u32, Stats>,
    pub total: Stats,
    pub knobs: Vec<(String, u32)>,
    /// Kind and name of each reason, with what earlier tables counted.
    pub reasons: Vec<(String, u64)>,
}

/// Reads settled entries.
pub fn restore(entries: &BTreeMap<Key, Value>, limits: Limits) -> Result<Restored, Unreadable> {
    let mut services = BTreeMap::new();
    let mut reserved: BTreeMap<u32, ServiceKey> = BTreeMap::new();
    let mut dests: Vec<(u32, DestRecord)> = Vec::new();
    let mut service_offsets = BTreeMap::new();
    let mut dest_offsets = BTreeMap::new();
    let mut total = Stats::default();
    let mut knobs = Vec::new();
    let mut reasons = Vec::new();
    let mut matches = Vec::new();
    for (key, value) in entries {
        if key.is(Kind::Service) {
            let record: ServiceRecord = value.read();
            service_offsets.insert(key.id, record.offset);
            reserved.insert(key.id, record.key);
            if record.live != 0 {
                services.insert(key.id, service(key.id, &record)?);
            }
        } else if key.is(Kind::Dest) {
            let record: DestRecord = value.read();
            dest_offsets.insert(key.id, record.offset);
            dests.push((key.id, record));
        } else if key.is(Kind::Total) {
            total = value.read::<TotalRecord>().offset;
        } else if key.is(Kind::Knob) {
            let record: KnobRecord = value.read();
            knobs.push((record.name().to_owned(), record.value));
        } else if key.is(Kind::Reason) {
            let record: ReasonRecord = value.read();
            reasons.push((record.name().to_owned(), record.count));
        } else if key.is(Kind::Match) {
            // In the order of their places, as the keys are.
            let rule = value.read::<MatchRecord>().rule();
            matches.push(rule.ok_or_else(|| unfit_rule(key.id))?);
        }
    }
    // Lists have the newest first.
    dests.sort_unstable_by_key(|(_, record)| std::cmp::Reverse(record.seq));
    let mut trash = Vec::new();
    for (id, record) in &dests {
        let orphan = match DestStanding::from_number(record.standing) {
            Some(DestStanding::Listed) => {
                let service = services.get_mut(&record.service);
                let service = service.ok_or_else(|| lost(*id, record.service))?;
                service.dests.push(real_server(*id, record)?);
                continue;
            }
            Some(DestStanding::Trash) => false,
            Some(DestStanding::Orphan) => true,
            None => return Err(unknown("standing", *id, record.standing)),
        };
        let service = reserved.get(&record.service);
        let service = *service.ok_or_else(|| lost(*id, record.service))?;
        let gone = Trashed {
            dest: real_server(*id, record)?,
            service: record.service,
            orphan,
        };
        trash.push((service, gone));
    }
    let model = Model::restore(limits, services.into_values(), trash, matches);
    let model = model.map_err(Unreadable)?;
    Ok(Restored {
        model,
        service_offsets,
        dest_offsets,
        total,
        knobs,
        reasons,
    })
}

fn service(id: u32, record: &ServiceRecord) -> Result<VirtualService, Unreadable> {
    let scheduler = Scheduler::from_number(record.scheduler);
    Ok(VirtualService {
        id,
        key: record.key,
        spec: ServiceSpec {
            scheduler: scheduler.ok_or_else(|| unknown("scheduler", id, record.scheduler))?,
            persistent: (record.persistent != 0).then_some(record.persistent),
            prefix: record.prefix,
            flags: record.flags,
            policy: record.policy,
            engine: engine(id, record.engine)?,
        },
        dests: Vec::new(),
    })
}

fn real_server(id: u32, record: &DestRecord) -> Result<RealServer, Unreadable> {
    let method = ForwardingMethod::from_number(record.method);
    Ok(RealServer {
        id,
        key: DestKey {
            addr: record.addr,
            port: record.port,
        },
        spec: DestSpec {
            method: method.ok_or_else(|| unknown("forwarding method", id, record.method))?,
            weight: record.weight,
            upper: record.upper,
            lower: record.lower,
            tunnel: tunnel(id, record)?,
        },
        last_weight: record.last_weight,
    })
}

/// 0: none.
fn engine(id: u32, number: u8) -> Result<Option<Engine>, Unreadable> {
    if number == 0 {
        return Ok(None);
    }
    let engine = Engine::from_number(number);
    Ok(Some(engine.ok_or_else(|| {
        unknown("persistence engine", id, number)
    })?))
}

fn tunnel(id: u32, record: &DestRecord) -> Result<Tunnel, Unreadable> {
    let (kind, checksum) = (record.tunnel_kind, record.tunnel_checksum);
    Ok(Tunnel {
        kind: TunnelKind::from_number(kind).ok_or_else(|| unknown("tunnel type", id, kind))?,
        port: record.tunnel_port,
        checksum: TunnelChecksum::from_number(checksum)
            .ok_or_else(|| unknown("tunnel checksum", id, checksum))?,
    })
}

fn unknown(what: &str, id: u32, number: u8) -> Unreadable {
    Unreadable(format!("entry {id} has the unknown {what} {number}"))
}

fn unfit_rule(place: u32) -> Unreadable {
    Unreadable(format!("match rule {} is none", place + 1))
}

fn lost(dest: u32, service: u32) -> Unreadable {
    Unreadable(format!(
        "real server {dest} is of service {service}, which is not there"
    ))
}
