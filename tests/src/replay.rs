//! Replays a trace: the same commands, frames and times into our director, and a comparison of what comes out.

mod compare;
mod console;
mod stack;

use anyhow::{Context as _, Result, ensure};
use ipvs_common::{PuntReason, SettingsFlags};
use ipvs_user::slowpath::fragment;

pub use compare::Difference;
pub use console::Console;

use crate::{
    backend::{Backend, HZ, START, Setup, Verdict},
    packet,
    trace::{Frame, Network, Trace, What},
};
use stack::Stack;

/// Size of the kernel's connection table, which listings tell.
const TABLE_SIZE: u32 = 4096;
/// How long after the last step the final listings were made.
const UNTIL_AFTER: u64 = 2 * HZ + HZ / 4;

/// What a trace wants of a backend.
pub fn setup(trace: &Trace) -> Result<Setup> {
    let mut network = Network::load()?;
    if let Some(mtus) = &trace.mtu {
        network.set_mtus(mtus);
    }
    let mut setup = Setup::new(network);
    setup.capacities.conns = TABLE_SIZE;
    setup.marks[0] = trace.fwmark.unwrap_or(0);
    Ok(setup)
}

/// Runs the trace through a fresh backend; returns how the director's behaviour differed, in order.
pub fn replay(trace: &Trace, backend: &mut dyn Backend) -> Result<Vec<Difference>> {
    let mut replay = Replay::new(backend)?;
    replay.configure(trace)?;
    let mut steps = trace.steps.iter().enumerate().peekable();
    while let Some((number, step)) = steps.next() {
        replay.advance_to(START + step.time.as_millis() as u64 * HZ / 1000)?;
        let mut expected = Vec::new();
        while let Some((_, out)) = steps.peek()
            && let What::Out(frame) = &out.what
        {
            expected.push(frame);
            steps.next();
        }
        let found = replay.step(&step.what, &expected);
        let found = found.with_context(|| format!("{} step {number}", trace.name))?;
        let differ = found.into_iter().map(|d| d.at(number, &step.note));
        replay.differences.extend(differ);
    }
    replay.after(trace)?;
    Ok(replay.differences)
}

struct Replay<'a> {
    backend: &'a mut dyn Backend,
    console: Console,
    stack: Stack,
    clock: u64,
    differences: Vec<Difference>,
}

impl<'a> Replay<'a> {
    fn new(backend: &'a mut dyn Backend) -> Result<Self> {
        backend.set_clock(START)?;
        let network = backend.setup().network.clone();
        Ok(Self {
            console: Console::new(backend.dataplane(), &network)?,
            stack: Stack::new(network),
            backend,
            clock: START,
            differences: Vec::new(),
        })
    }

    fn configure(&mut self, trace: &Trace) -> Result<()> {
        for (key, value) in &trace.sysctl {
            self.sysctl(key, *value)?;
        }
        trace.config.iter().try_for_each(|c| self.carry_out(c))
    }

    /// Moves the clock, with the director's housekeeping each second.
    fn advance_to(&mut self, target: u64) -> Result<()> {
        while self.clock < target {
            let second = (self.clock / HZ + 1) * HZ;
            self.clock = target.min(second);
            self.backend.set_clock(self.clock)?;
            if self.clock == second {
                self.console.director().tick()?;
            }
        }
        Ok(())
    }

    fn step(&mut self, what: &What, expected: &[&Frame]) -> Result<Vec<Difference>> {
        Ok(match what {
            What::In(frame) => {
                let sent = self.receive(frame)?;
                compare::frames(expected, &sent, &frame.bytes)
            }
            What::Out(_) => unreachable!("belongs to the step before"),
            What::Ctl { cmd } => {
                self.carry_out(cmd)?;
                Vec::new()
            }
            What::Show { cmd, out } => self.show(cmd, out)?,
            What::Sysctl { key, value } => {
                self.sysctl(key, *value)?;
                Vec::new()
            }
            What::Sleep { ms } => {
                self.advance_to(self.clock + ms * HZ / 1000)?;
                Vec::new()
            }
        })
    }

    fn carry_out(&self, command: &str) -> Result<()> {
        let outcome = self.console.run(command)?;
        let said = &outcome.stderr;
        ensure!(outcome.status == 0, "{command}: {said}");
        Ok(())
    }

    fn show(&self, command: &str, expected: &str) -> Result<Vec<Difference>> {
        let outcome = self.console.run(command)?;
        let said = &outcome.stderr;
        ensure!(outcome.status == 0, "{command}: {said}");
        Ok(compare::listing(command, expected, &outcome.stdout))
    }

    /// Sets what can be set; of the rest, takes what is always so here.
    fn sysctl(&self, key: &str, value: i64) -> Result<()> {
        match (key, value) {
            ("pmtu_disc", _) => self.console.director().adjust_settings(|s| {
                s.flags &= !SettingsFlags::PMTU_DISC;
                if value != 0 {
                    s.flags |= SettingsFlags::PMTU_DISC;
                }
            })?,
            ("conn_reuse_mode", 1) | ("expire_nodest_conn" | "expire_quiescent_template", 0) => {}
            _ => anyhow::bail!("sysctl {key} = {value} is not supported"),
        }
        Ok(())
    }

    /// Lets a frame in; returns what leaves because of it, by link.
    fn receive(&mut self, frame: &Frame) -> Result<Vec<Frame>> {
        let link = self.stack.network.index_of(&frame.link);
        let link = link.with_context(|| format!("no link {}", frame.link))?;
        let outcome = self.backend.run(link, &frame.bytes)?;
        if let Some((header, frame)) = &outcome.handed {
            ensure!(
                header.reason == PuntReason::Fragment as u32,
                "handed over for want of a neighbour: {}",
                packet::describe(frame)
            );
            let link = self.stack.network.index_of_ifindex(header.ifindex);
            let link = link.context("handed over to an unknown interface")?;
            let pieces = fragment(frame, header.mtu as usize, self.stack.next_id());
            return Ok(pieces.into_iter().map(|p| self.on(link, p)).collect());
        }
        Ok(match outcome.verdict {
            Verdict::Drop => Vec::new(),
            Verdict::Tx => vec![self.on(link, outcome.frame)],
            Verdict::Redirect(to) => {
                let to = to.with_context(|| packet::describe(&outcome.frame));
                vec![self.on(to?, outcome.frame)]
            }
            Verdict::Pass => {
                let sent = self.stack.receive(link, &outcome.frame);
                sent.into_iter().map(|(l, f)| self.on(l, f)).collect()
            }
        })
    }

    fn on(&self, link: usize, bytes: Vec<u8>) -> Frame {
        Frame {
            link: self.stack.network.links[link].name.to_owned(),
            bytes,
        }
    }

    /// The listings at the end. Some traces took them at once, as the connections' timers tell.
    fn after(&mut self, trace: &Trace) -> Result<()> {
        let at_once = self.show("ipvsadm -Lnc", &trace.after.connections)?;
        if !at_once.is_empty() {
            self.advance_to(self.clock + UNTIL_AFTER)?;
        }
        let after = &trace.after;
        let mut listings = vec![
            ("ipvsadm -Ln", &after.services),
            ("ipvsadm -Ln --nosort", &after.unsorted),
            ("ipvsadm -Lnc", &after.connections),
            ("ipvsadm -Sn", &after.rules),
        ];
        listings.extend(after.stats.iter().map(|s| ("ipvsadm -Ln --stats", s)));
        for (command, expected) in listings {
            let found = self.show(command, expected)?;
            let differ = found.into_iter().map(|d| d.at(trace.steps.len(), "after"));
            self.differences.extend(differ);
        }
        Ok(())
    }
}
