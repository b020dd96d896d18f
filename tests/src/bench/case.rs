//! A case: a program, its packets, and what has to come out.

use anyhow::{Context as _, Result, ensure};
use aya::programs::ProgramFd;
use ipvs_common::{ForwardingMethod, maps::Capacities};

use super::{
    harness::{Harness, Outcome},
    output::Output,
    service::REALS,
    walk::{Order, Template},
};
use crate::packet::contrast;

/// Which real server it has to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Choice {
    /// The one of the flow's number.
    Flow,
    /// The one behind the last.
    Next,
    /// Any of the service.
    Any,
}

/// Where a new flow is entered, and pushes out another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Entry {
    /// The floor's table.
    Floor,
    /// The director's ring of half-open connections. Those that are pushed out are to be of this kind, too.
    Ring(ForwardingMethod),
    /// That of the director with match rules, which has but one kind.
    RuledRing,
}

/// Every packet is a new flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fresh {
    /// The number of the next.
    pub(super) next: u32,
    pub(super) entry: Entry,
}

/// How the tables for new flows are filled at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Filled {
    floor: bool,
    ruled: bool,
    ring: Option<ForwardingMethod>,
}

pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) program: ProgramFd,
    pub(super) template: Template,
    pub(super) output: Output,
    pub(super) choice: Choice,
    /// The verdict, should it be another one than the output's own.
    pub(super) verdict: Option<u32>,
    /// Every packet is a new flow.
    pub(super) fresh: Option<Fresh>,
}

impl Case {
    /// Packets of flows that are known.
    pub(super) const fn known(
        name: &'static str,
        program: ProgramFd,
        template: Template,
        output: Output,
    ) -> Self {
        Self {
            name,
            program,
            template,
            output,
            choice: Choice::Flow,
            verdict: None,
            fresh: None,
        }
    }

    /// Packets of a timing: `packets`, and of known flows as many as they need.
    pub(super) fn packets(&self, packets: u32, flows: u32, passes: u32) -> u32 {
        /// A choice out of more takes so long that fewer will do.
        const MANY: u16 = 256;
        match self.fresh {
            None => packets.max(flows.saturating_mul(passes)),
            Some(_) if self.template.service.reals > MANY => packets / 4,
            Some(_) => packets,
        }
    }

    /// Time of one packet, in ns, out of a set of flows.
    pub(super) fn time(&mut self, harness: &mut Harness, flows: u32, packets: u32) -> Result<f64> {
        self.prepare(harness, flows)?;
        // Brings this case's tables into the caches, and its next hops up to date.
        let before = if self.fresh.is_some() {
            self.template.service.reals.into()
        } else {
            flows
        };
        harness.run(before)?;
        let outcome = harness.run(packets)?;
        self.finish(harness)?;
        ensure!(
            outcome.verdict == self.verdict(),
            "case {}: the verdict became {}",
            self.name,
            outcome.verdict
        );
        Ok(outcome.ns)
    }

    /// Enters so many flows that each further one pushes out another one of the same kind.
    pub(super) fn fill(
        &mut self,
        harness: &mut Harness,
        filled: &mut Filled,
        capacities: &Capacities,
    ) -> Result<()> {
        let full = match self.fresh.map(|fresh| fresh.entry) {
            None => true,
            Some(Entry::Floor) => std::mem::replace(&mut filled.floor, true),
            Some(Entry::RuledRing) => std::mem::replace(&mut filled.ruled, true),
            Some(Entry::Ring(method)) => filled.ring.replace(method) == Some(method),
        };
        if !full {
            self.prepare(harness, 1)?;
            harness.run(capacities.half_open)?;
            self.finish(harness)?;
        }
        Ok(())
    }

    /// The same, but whatever kind is there will do.
    pub(super) fn fill_anyhow(
        &mut self,
        harness: &mut Harness,
        filled: &mut Filled,
        capacities: &Capacities,
    ) -> Result<()> {
        match self.fresh.map(|fresh| fresh.entry) {
            Some(Entry::Ring(_)) if filled.ring.is_some() => Ok(()),
            _ => self.fill(harness, filled, capacities),
        }
    }

    fn prepare(&self, harness: &mut Harness, flows: u32) -> Result<()> {
        let order = match self.fresh {
            None => Order::Around(flows),
            Some(Fresh { next, .. }) => Order::From(next),
        };
        harness.aim(&self.program, &self.template.walk(order))
    }

    fn finish(&mut self, harness: &Harness) -> Result<()> {
        if let Some(fresh) = &mut self.fresh {
            fresh.next = harness.walk()?.next;
        }
        Ok(())
    }

    /// Looks at what becomes of some packets.
    pub(super) fn check(&mut self, harness: &mut Harness, flows: u32) -> Result<()> {
        const SAMPLES: u32 = 64;
        let mut last = None;
        // Spread over the set, and over the real servers.
        let stride = flows / SAMPLES + 1;
        for sample in 0..SAMPLES {
            let flow = self.fresh.map_or(sample * stride % flows, |f| f.next);
            harness.aim(&self.program, &self.template.walk(Order::From(flow)))?;
            let outcome = harness.run(1)?;
            self.finish(harness)?;
            let place = self.accept(flow, last, &outcome);
            last = Some(place.with_context(|| format!("flow {flow}"))?);
            if self.fresh.is_some_and(|f| f.entry == Entry::Floor) {
                ensure!(harness.has_entered(flow)?, "flow {flow} was not entered");
            }
        }
        Ok(())
    }

    /// Compares with what has to come out. Returns the place of the real server.
    fn accept(&self, flow: u32, last: Option<u16>, outcome: &Outcome) -> Result<u16> {
        let service = self.template.service;
        let reals = service.reals;
        let place = match (self.choice, last) {
            (Choice::Flow, _) => u16::from(flow as u8 % REALS),
            (Choice::Next, Some(last)) => (last + 1) % reals,
            (Choice::Next, None) | (Choice::Any, _) => service.place_of(&outcome.frame) % reals,
        };
        let expected = self.output.frame(self.template, flow, place);
        ensure!(
            outcome.frame == expected && outcome.verdict == self.verdict(),
            "verdict {} with\n{}\nexpected {}",
            outcome.verdict,
            contrast(&expected, &outcome.frame),
            self.verdict()
        );
        Ok(place)
    }

    fn verdict(&self) -> u32 {
        self.verdict.unwrap_or(self.output.verdict())
    }
}
