//! The director under test: the object of the daemon, its tables as the daemon writes them, and connections that were opened
//! by packets.

use std::{env, fs, ops::Range};

use anyhow::{Context as _, Result, ensure};
use aya::programs::ProgramFd;
use ipvs_common::{
    AttachMode, Dest, DestFlags, Egress, Event, ForwardingMethod, Iface, ListSlot, Proto,
    Scheduler, Service, ServiceKey, Settings, SettingsFlags, maps::Capacities,
};
use ipvs_user::dataplane::{
    Dataplane as _,
    bpf::{BpfDataplane, IfaceProgram, OBJECT},
};

use super::{
    case::{Order, Template},
    harness::Harness,
    network::{DIRECTOR, DIRECTOR_MAC, REALS, real, vip},
};
use crate::packet::flag;

/// Where clients connect to.
pub(super) const PORT: u16 = 80;

pub(super) struct BenchService {
    method: ForwardingMethod,
    scheduler: Scheduler,
    /// Port of the real servers.
    pub(super) port: u16,
}

const fn service(method: ForwardingMethod, scheduler: Scheduler, port: u16) -> BenchService {
    BenchService {
        method,
        scheduler,
        port,
    }
}

// Numbers of services: those with connections that stay, those that only ever see new clients, and the one of the floors.
pub(super) const DR: u8 = 0;
pub(super) const MASQ: u8 = 1;
pub(super) const IPIP: u8 = 2;
pub(super) const NEW_DR: u8 = 3;
pub(super) const NEW_MASQ: u8 = 4;
pub(super) const NEW_WLC: u8 = 5;
pub(super) const NEW_LBLC: u8 = 6;
pub(super) const FLOOR: u8 = 7;
/// A virtual address that is none.
pub(super) const NOBODY: u8 = 200;

/// By number. Round robin where a packet has to find the real server that its flow's number tells.
pub(super) const SERVICES: [BenchService; 8] = [
    service(ForwardingMethod::Droute, Scheduler::Rr, PORT),
    service(ForwardingMethod::Masq, Scheduler::Rr, 8080),
    service(ForwardingMethod::Tunnel, Scheduler::Rr, PORT),
    service(ForwardingMethod::Droute, Scheduler::Rr, PORT),
    service(ForwardingMethod::Masq, Scheduler::Rr, 8080),
    service(ForwardingMethod::Droute, Scheduler::Wlc, PORT),
    service(ForwardingMethod::Droute, Scheduler::Lblc, PORT),
    service(ForwardingMethod::Droute, Scheduler::Rr, PORT),
];

pub(super) struct Director {
    dataplane: BpfDataplane,
    /// For an interface whose driver sends frames back.
    tx: IfaceProgram,
    /// For one that has to be redirected to.
    redirect: IfaceProgram,
}

impl Director {
    pub(super) fn load(capacities: Capacities, ifindex: u32) -> Result<Self> {
        let mut dataplane = BpfDataplane::load(&object()?, capacities)?;
        let mut egress = dataplane
            .take_egress()
            .context("somebody has the egresses")?;
        egress.put(ifindex, Egress { xdp_xmit: 1 })?;
        let mut settings = Settings::with_hz(dataplane.hz());
        settings.flags |= SettingsFlags::HAS_SERVICES;
        dataplane.put_settings(&settings)?;
        for (number, service) in (0..FLOOR).zip(&SERVICES) {
            put(&mut dataplane, number, service)?;
        }
        let iface = Iface {
            mac: DIRECTOR_MAC,
            mode: AttachMode::Native as u8,
            tx: 1,
            ifindex,
            mtu: 1500,
            ..Iface::default()
        };
        let loader = dataplane.loader();
        Ok(Self {
            tx: IfaceProgram::load(&loader, iface)?,
            redirect: IfaceProgram::load(&loader, Iface { tx: 0, ..iface })?,
            dataplane,
        })
    }

    pub(super) fn tx(&self) -> Result<ProgramFd> {
        Ok(self.tx.fd()?)
    }

    pub(super) fn redirect(&self) -> Result<ProgramFd> {
        Ok(self.redirect.fd()?)
    }

    /// Lets clients open connections, in the order of their numbers.
    pub(super) fn open(&mut self, harness: &mut Harness, flows: Range<u32>) -> Result<()> {
        // No more at once than may be half-open.
        let chunk = self.dataplane.capacities().half_open / 2;
        let before = self.promoted()?;
        let program = self.tx()?;
        let mut start = flows.start;
        while start < flows.end {
            let end = flows.end.min(start + chunk);
            for template in handshakes() {
                harness.aim(&program, &template.walk(Order::From(start)))?;
                harness.run(end - start)?;
            }
            start = end;
        }
        let opened = self.promoted()? - before;
        let due = 3 * (flows.end - flows.start);
        ensure!(
            opened == u64::from(due),
            "{opened} of {due} connections got established"
        );
        Ok(())
    }

    fn promoted(&self) -> Result<u64> {
        let reasons = self.dataplane.reasons()?;
        Ok(reasons[Event::Promoted.slot() as usize])
    }
}

/// What opens a connection at each service that keeps them, in order.
fn handshakes() -> [Template; 7] {
    let from_client = |service, flags| Template::request(service, flags);
    [
        from_client(DR, flag::SYN),
        from_client(DR, flag::ACK),
        from_client(IPIP, flag::SYN),
        from_client(IPIP, flag::ACK),
        from_client(MASQ, flag::SYN),
        Template::reply(MASQ, flag::SYN | flag::ACK),
        from_client(MASQ, flag::ACK),
    ]
}

fn put(dataplane: &mut BpfDataplane, number: u8, service: &BenchService) -> Result<()> {
    let first = u32::from(number) * u32::from(REALS);
    for place in 0..REALS {
        let dest = Dest {
            addr: real(number, place).into(),
            tunnel_src: DIRECTOR.into(),
            weight: 1,
            service: number.into(),
            position: place.into(),
            port: service.port.to_be_bytes(),
            method: service.method as u8,
            flags: DestFlags::AVAILABLE,
            ..Dest::default()
        };
        dataplane.put_dest(first + u32::from(place), &dest)?;
    }
    let slot = |dest| ListSlot { dest, weight: 1 };
    let list: Vec<_> = (first..).take(REALS.into()).map(slot).collect();
    dataplane.write_list(first, &list)?;
    let key = ServiceKey::v4(Proto::Tcp as u8, vip(number).octets(), PORT.to_be_bytes());
    let value = Service {
        id: number.into(),
        list_base: first,
        list_len: REALS.into(),
        scheduler: service.scheduler as u8,
        persist_prefix: 32,
        port: PORT.to_be_bytes(),
        ..Service::default()
    };
    dataplane.put_service(&key, &value)?;
    Ok(())
}

/// The one that was compiled in, or another that is to be compared with it.
fn object() -> Result<Vec<u8>> {
    match env::var_os("IPVS_XDP_OBJECT") {
        Some(path) => fs::read(&path).with_context(|| path.display().to_string()),
        None => Ok(OBJECT.to_vec()),
    }
}
