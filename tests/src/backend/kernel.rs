//! The real programs in the kernel, run on one frame at a time, in a network namespace with the interfaces, routes and
//! neighbours of the traces.
//!
//! A redirect tells no interface under `BPF_PROG_TEST_RUN`; it is known by the source address of the frame, of which each
//! link has its own, and by its tags.

mod namespace;
mod shared;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use ipvs_common::{Egress, Hop, HopKind, PuntHeader};
use ipvs_user::dataplane::{
    Dataplane,
    bpf::{BpfDataplane, Clock, IfaceProgram, Loader, OBJECT, PuntRing},
};

pub use namespace::in_network;

use super::{Backend, Outcome, SERVICES, START, Setup, Snapshot, Verdict, snapshot};
use crate::trace::IpCommand;
use shared::Shared;

const XDP_ABORTED: u32 = 0;
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;

pub struct Kernel {
    setup: Setup,
    dataplane: Shared,
    loader: Loader,
    /// By link; loaded when the first frame comes, because the verifier takes its time.
    programs: BTreeMap<usize, IfaceProgram>,
    punt: PuntRing,
}

impl Kernel {
    /// Wants to be called, and used, inside [`in_network`].
    pub fn load(setup: Setup) -> Result<Self> {
        let mut dataplane = BpfDataplane::load_with(OBJECT, setup.capacities, Clock::Manual)?;
        dataplane.set_clock(START)?;
        let mut egress = dataplane.take_egress().context("egress table")?;
        let punt = dataplane.take_punt().context("punt ring")?;
        for (number, link) in setup.network.links.iter().enumerate() {
            let xmit = u32::from(!setup.no_xmit.contains(&number));
            let egress_of = Egress {
                xmit,
                ..Egress::default()
            };
            egress.put(link.ifindex, egress_of)?;
        }
        for (ifindex, tagged) in setup.tagged_egress() {
            egress.put(ifindex, tagged)?;
        }
        let mut vlans = dataplane.take_vlans().context("VLAN table")?;
        for (key, iface) in setup.vlan_entries() {
            vlans.put(key, iface)?;
        }
        Ok(Self {
            loader: dataplane.loader(),
            programs: BTreeMap::new(),
            dataplane: Shared::new(dataplane),
            setup,
            punt,
        })
    }

    /// The program of a link once more, over the same tables: for threads that run it at the same time.
    pub fn another(&self, link: usize) -> Result<IfaceProgram> {
        Ok(IfaceProgram::load(&self.loader, self.setup.iface(link))?)
    }

    fn program(&mut self, link: usize) -> Result<&IfaceProgram> {
        Ok(match self.programs.entry(link) {
            Entry::Occupied(loaded) => loaded.into_mut(),
            Entry::Vacant(place) => {
                place.insert(IfaceProgram::load(&self.loader, self.setup.iface(link))?)
            }
        })
    }

    fn verdict(&self, code: u32, frame: &[u8]) -> Result<Verdict> {
        Ok(match code {
            XDP_ABORTED => Verdict::Waits,
            XDP_DROP => Verdict::Drop,
            XDP_PASS => Verdict::Pass,
            XDP_TX => Verdict::Tx,
            XDP_REDIRECT => {
                let mut links = self.setup.network.links.iter();
                let link = links.position(|l| frame.get(6..12) == Some(&l.mac[..]));
                Verdict::Redirect(link.map(|link| self.setup.port_of(link, frame)))
            }
            _ => anyhow::bail!("what the program returned is no verdict: {code}"),
        })
    }

    fn outcome(&mut self, code: u32, frame: Vec<u8>) -> Result<Outcome> {
        let verdict = self.verdict(code, &frame)?;
        let handed = match verdict {
            Verdict::Drop => self.handed()?,
            Verdict::Waits | Verdict::Pass | Verdict::Tx | Verdict::Redirect(_) => None,
        };
        Ok(Outcome {
            verdict,
            frame,
            handed,
        })
    }

    fn handed(&mut self) -> Result<Option<(PuntHeader, Vec<u8>)>> {
        let mut records = Vec::new();
        self.punt.drain(|record| records.push(record.to_vec()));
        anyhow::ensure!(records.len() <= 1, "one frame handed over twice");
        let record = records.pop().map(|record| {
            let (header, rest) = record.split_at_checked(size_of::<PuntHeader>())?;
            let header: PuntHeader = bytemuck::pod_read_unaligned(header);
            Some((header, rest.get(..header.len as usize)?.to_vec()))
        });
        record.map(|r| r.context("a broken record")).transpose()
    }
}

impl Backend for Kernel {
    fn setup(&self) -> &Setup {
        &self.setup
    }

    fn dataplane(&self) -> Box<dyn Dataplane> {
        Box::new(self.dataplane.clone())
    }

    fn set_clock(&mut self, ticks: u64) -> Result<()> {
        Ok(self.dataplane.lock().set_clock(ticks)?)
    }

    /// For real: this thread is inside of the namespace, and so is what it starts.
    fn ip(&mut self, arguments: &[&str], command: &IpCommand) -> Result<()> {
        self.setup.network.apply(command)?;
        let out = Command::new("ip").args(arguments).output()?;
        let said = String::from_utf8_lossy(&out.stderr);
        anyhow::ensure!(out.status.success(), "ip {arguments:?}: {said}");
        Ok(())
    }

    fn run(&mut self, link: usize, frame: &[u8]) -> Result<Outcome> {
        let (code, frame) = self.program(link)?.run(frame)?;
        ensure!(code != XDP_ABORTED, "the program aborted");
        self.outcome(code, frame)
    }

    fn run_held(&mut self, link: usize, frame: &[u8]) -> Result<Outcome> {
        let (code, frame) = self.program(link)?.run_held(frame)?;
        self.outcome(code, frame)
    }

    fn counters(&self, dests: u32) -> Result<Snapshot> {
        let dataplane = self.dataplane.lock();
        let mut counters = Snapshot {
            reasons: snapshot::by_name(&dataplane.reasons()?),
            ..Snapshot::default()
        };
        let all = dataplane.all_dest_stats(dests)?;
        for (id, stats) in (0..).zip(all) {
            let alone = dataplane.dest_stats(id)?;
            ensure!(
                stats == alone,
                "{id}: {stats:?} with others, {alone:?} alone"
            );
            let mut state = dataplane.dest_state(id)?;
            keep_what_counts(&mut state.hop);
            counters.dest_states.insert(id, state);
            counters.dest_stats.insert(id, stats);
        }
        Ok(counters)
    }

    fn snapshot(&self, dests: u32) -> Result<Snapshot> {
        let counters = self.counters(dests)?;
        let dataplane = self.dataplane.lock();
        let mut conns: BTreeMap<_, _> = dataplane.established()?.into_iter().collect();
        let mut half_open: BTreeMap<_, _> = dataplane.half_open()?.into_iter().collect();
        for conn in conns.values_mut().chain(half_open.values_mut()) {
            keep_what_counts(&mut conn.hop);
        }
        let state = |id| Ok((id, dataplane.sched_state(id)?));
        let sched_states = (0..SERVICES).map(state).collect::<Result<_>>()?;
        Ok(Snapshot {
            conns,
            half_open,
            templates: dataplane.templates()?.into_iter().collect(),
            lblc: dataplane.lblc()?.into_iter().collect(),
            lblcr: dataplane.lblcr()?.into_iter().collect(),
            sched_states,
            ..counters
        })
    }
}

/// Without a way out, the kernel leaves the question in the place of the answer.
fn keep_what_counts(hop: &mut Hop) {
    if hop.kind == HopKind::Local as u8 || hop.kind == HopKind::Refused as u8 {
        *hop = Hop {
            kind: hop.kind,
            learned: hop.learned,
            epoch: hop.epoch,
            ..Hop::default()
        };
    }
}
