//! The director under test: the daemon's own, configured by commands over the kernel's tables, and connections that were
//! opened by packets.

use std::{env, fs, ops::Range};

use anyhow::{Context as _, Result, ensure};
use aya::programs::ProgramFd;
use ipvs_common::{AttachMode, Egress, Event, Iface, maps::Capacities};
use ipvs_user::{
    dataplane::bpf::{BpfDataplane, IfaceProgram, OBJECT},
    director,
    model::Command,
};

use super::{
    harness::Harness,
    memory::Memory,
    network::{DIRECTOR, DIRECTOR_MAC},
    rules,
    service::{self, BenchService, DR, DR6, GRE, GUE, IPIP, MASQ, MASQ6},
    walk::{Order, Template},
};
use crate::packet::flag;

pub(super) struct Director {
    inner: director::Director,
    /// For an interface whose driver sends frames back.
    tx: IfaceProgram,
    /// For one that has to be redirected to.
    redirect: IfaceProgram,
    pub(super) memory: Memory,
}

impl Director {
    pub(super) fn load(capacities: Capacities, ifindex: u32) -> Result<Self> {
        let commands = service::all().map(BenchService::commands);
        Self::with(capacities, ifindex, commands)
    }

    /// One whose only service goes by a mark, that one of many match rules gives.
    pub(super) fn load_ruled(capacities: Capacities, ifindex: u32) -> Result<Self> {
        Self::with(capacities, ifindex, rules::commands())
    }

    fn with(
        capacities: Capacities,
        ifindex: u32,
        commands: impl IntoIterator<Item = Vec<Command>>,
    ) -> Result<Self> {
        let mut dataplane = BpfDataplane::load(&object()?, capacities)?;
        let mut egress = dataplane
            .take_egress()
            .context("somebody has the egresses")?;
        egress.put(
            ifindex,
            Egress {
                xmit: Egress::PLAIN,
                ..Egress::default()
            },
        )?;
        let iface = Iface {
            mac: DIRECTOR_MAC,
            mode: AttachMode::Native as u8,
            tx: 1,
            ifindex,
            port: ifindex,
            mtu: 1500,
            ..Iface::default()
        };
        let loader = dataplane.loader();
        let (tx, redirect) = (
            IfaceProgram::load(&loader, iface)?,
            IfaceProgram::load(&loader, Iface { tx: 0, ..iface })?,
        );
        let memory = Memory::of(&dataplane, &capacities);
        let source = Box::new(|_| Some(DIRECTOR.into()));
        let mut director = director::Director::new(Box::new(dataplane), source)?;
        for commands in commands {
            director.execute_all(&commands)?;
        }
        Ok(Self {
            inner: director,
            tx,
            redirect,
            memory,
        })
    }

    pub(super) fn tx(&self) -> Result<ProgramFd> {
        Ok(self.tx.fd()?)
    }

    pub(super) fn redirect(&self) -> Result<ProgramFd> {
        Ok(self.redirect.fd()?)
    }

    /// Lets clients open connections with these services, in the order of their numbers.
    pub(super) fn open(
        &mut self,
        harness: &mut Harness,
        services: &[BenchService],
        flows: Range<u32>,
    ) -> Result<()> {
        // No more at once than may be half-open.
        let capacities = self.inner.capacities();
        let chunk = capacities.half_open.min(capacities.half_open6) / 2;
        let before = self.promoted()?;
        let program = self.tx()?;
        let mut start = flows.start;
        while start < flows.end {
            let end = flows.end.min(start + chunk);
            let wanted = |template: &Template| services.contains(&template.service);
            for template in handshakes().into_iter().filter(wanted) {
                harness.aim(&program, &template.walk(Order::From(start)))?;
                harness.run(end - start)?;
            }
            start = end;
        }
        let opened = self.promoted()? - before;
        let due = services.len() as u32 * (flows.end - flows.start);
        ensure!(
            opened == u64::from(due),
            "{opened} of {due} connections got established"
        );
        Ok(())
    }

    fn promoted(&self) -> Result<u64> {
        let reasons = self.inner.reasons()?;
        Ok(reasons[Event::Promoted.slot() as usize])
    }
}

/// What opens a connection at each service that keeps them, in order.
fn handshakes() -> [Template; 16] {
    let from_client = |service, flags| Template::request(service, flags);
    [
        from_client(DR, flag::SYN),
        from_client(DR, flag::ACK),
        from_client(IPIP, flag::SYN),
        from_client(IPIP, flag::ACK),
        from_client(GRE, flag::SYN),
        from_client(GRE, flag::ACK),
        from_client(GUE, flag::SYN),
        from_client(GUE, flag::ACK),
        from_client(MASQ, flag::SYN),
        Template::reply(MASQ, flag::SYN | flag::ACK),
        from_client(MASQ, flag::ACK),
        from_client(DR6, flag::SYN),
        from_client(DR6, flag::ACK),
        from_client(MASQ6, flag::SYN),
        Template::reply(MASQ6, flag::SYN | flag::ACK),
        from_client(MASQ6, flag::ACK),
    ]
}

/// The one that was compiled in, or another that is to be compared with it.
fn object() -> Result<Vec<u8>> {
    match env::var_os("IPVS_XDP_OBJECT") {
        Some(path) => fs::read(&path).with_context(|| path.display().to_string()),
        None => Ok(OBJECT.to_vec()),
    }
}
