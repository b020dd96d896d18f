//! Replays a trace: the same commands, frames and times into our director, and a comparison of what comes out.

mod compare;
mod console;
mod expectations;
mod features;
mod folder;
mod fragments;
mod listing;
mod made;
mod names;
mod outputs;
mod readings;
mod script;
mod stack;
mod statistics;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs_common::PuntReason;
use ipvs_user::slowpath::fragment;

pub use compare::Difference;
pub use console::Console;
pub use expectations::{Expectations, Standing};
pub use folder::{Engine, Report, Totals, files, replay_all};

use crate::{
    backend::{Backend, HZ, Outcome, START, Setup, Verdict},
    packet,
    trace::{Frame, IpCommand, Network, Said, Trace},
};
use fragments::{Fragments, Piece};
use outputs::Outputs;
use readings::Readings;
use script::{Act, Event, Then, script};
use stack::Stack;
use statistics::{Open, Statistics};

/// Size of the kernel's connection table, which listings tell.
const TABLE_SIZE: u32 = 4096;
/// How long after the last step the final listings were made, if not at once.
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
    let mut replay = Replay::new(trace, backend)?;
    let mut unread: Vec<_> = trace.unknown.iter().map(|key| format!("`{key}`")).collect();
    let (events, complaint) = script(trace, &replay.stack.network);
    unread.extend(complaint);
    let unread = unread
        .into_iter()
        .map(|what| Difference::new(format!("the trace cannot be read: {what}")).at(0, "file"));
    replay.differences.extend(unread);
    replay.readings = Readings::of(&events, trace.after.stats.is_some());
    if let Err(error) = replay.run(&events) {
        let what = format!("cannot be replayed: {error:#}");
        let (step, note) = &replay.at;
        replay
            .differences
            .push(Difference::new(what).at(*step, note));
    }
    replay.differences.sort_by_key(Difference::step);
    Ok(replay.differences)
}

/// What a replay does, a line for each event; what was not recorded says so.
pub fn outline(trace: &Trace) -> Result<Vec<String>> {
    let (events, complaint) = script(trace, &setup(trace)?.network);
    let complaint = complaint.map(|c| format!("the trace cannot be read: {c}"));
    Ok(complaint
        .into_iter()
        .chain(events.iter().map(Event::to_string))
        .collect())
}

struct Replay<'a> {
    trace: &'a Trace,
    backend: &'a mut dyn Backend,
    console: Console,
    stack: Stack,
    clock: u64,
    outputs: Outputs<'a>,
    statistics: Statistics,
    readings: Readings<'a>,
    fragments: Fragments,
    /// Step and note of what is being done.
    at: (usize, String),
    differences: Vec<Difference>,
}

impl<'a> Replay<'a> {
    fn new(trace: &'a Trace, backend: &'a mut dyn Backend) -> Result<Self> {
        backend.set_clock(START)?;
        let setup = backend.setup();
        let (network, marks) = (setup.network.clone(), setup.marks);
        let console = Console::new(backend.dataplane(), &network)?;
        // As where the traces were recorded.
        console.director().adjust_settings(|s| s.icmp_rate = 0)?;
        Ok(Self {
            trace,
            console,
            stack: Stack::new(network, marks),
            backend,
            clock: START,
            outputs: Outputs::new(trace),
            statistics: Statistics::default(),
            readings: Readings::default(),
            fragments: Fragments::default(),
            at: (0, "config".to_owned()),
            differences: Vec::new(),
        })
    }

    fn run(&mut self, events: &[Event<'a>]) -> Result<()> {
        self.configure()?;
        self.note_statistics()?;
        for event in events {
            self.advance_to(START + ticks(event.time))?;
            self.at = (event.step, event.note.clone());
            self.step(event)?;
            self.note_statistics()?;
        }
        self.at = (self.trace.steps.len(), "after".to_owned());
        self.after()
    }

    fn differ(&mut self, found: impl IntoIterator<Item = Difference>) {
        let (step, note) = &self.at;
        let found = found.into_iter().map(|d| d.at(*step, note));
        self.differences.extend(found);
    }

    fn configure(&mut self) -> Result<()> {
        let trace = self.trace;
        for (key, value) in &trace.sysctl {
            self.set(key, &value.0);
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
                self.note_statistics()?;
            }
        }
        Ok(())
    }

    fn step(&mut self, event: &Event<'a>) -> Result<()> {
        match &event.act {
            Act::Frame { frame, then } => {
                let sent = self.receive(frame)?;
                let found = match then {
                    Then::Frames(expected) => compare::frames(expected, &sent, &frame.bytes),
                    Then::Choice(choice) => {
                        compare::choice(choice, &sent, frame, &self.stack.network)
                    }
                    Then::Anything => Vec::new(),
                };
                self.differ(found);
            }
            Act::Command(cmd) => self.carry_out(cmd)?,
            Act::Said(said) => self.say(said)?,
            Act::Show { cmd, out } => self.show(cmd, out)?,
            Act::Sysctl { key, value } => self.set(key, &value.0),
            Act::Sleep(time) => self.advance_to(self.clock + ticks(*time))?,
            Act::State {
                client,
                virt,
                expected,
            } => {
                const LIST: &str = "ipvsadm -Lnc";
                let printed = self.console.run(LIST)?.stdout;
                let mut rows = listing::rows(&printed).into_iter();
                let row = rows.find(|r| r.client == *client && r.virt == *virt);
                self.differ(compare::state(*expected, row.as_ref()));
            }
        }
        if !event.unasked.is_empty() {
            self.differ(compare::frames(&event.unasked, &[], &[]));
        }
        Ok(())
    }

    /// A command of the configuration or of a step.
    fn carry_out(&mut self, command: &str) -> Result<()> {
        let outcomes = self.outputs.of(command);
        if let Some(arguments) = IpCommand::arguments(command) {
            outcomes.recorded.iter().for_each(|s| self.outputs.seen(s));
            if outcomes.recorded.is_some_and(|said| said.status != 0) {
                return Ok(());
            }
            let parsed = IpCommand::parse(&arguments);
            let parsed = parsed.with_context(|| format!("nothing is known of: {command}"))?;
            self.stack.network.apply(&parsed)?;
            return self.backend.ip(&arguments, &parsed);
        }
        let got = self.outcome(command)?;
        let silent = Said {
            out: String::new(),
            status: 0,
            ..got.clone()
        };
        if outcomes.silent && got == silent {
            return Ok(());
        }
        let expected = outcomes.recorded.unwrap_or(&silent);
        self.outputs.seen(expected);
        self.differ(compare::outcome(expected, &got));
        Ok(())
    }

    /// A command, its exit status and all that it printed.
    fn say(&mut self, said: &Said) -> Result<()> {
        let got = self.outcome(&said.cmd)?;
        self.differ(compare::outcome(said, &got));
        Ok(())
    }

    fn outcome(&self, command: &str) -> Result<Said> {
        let outcome = self.console.run(command)?;
        Ok(Said {
            cmd: command.to_owned(),
            status: outcome.status.into(),
            out: outcome.stdout + &outcome.stderr,
        })
    }

    fn show(&mut self, command: &str, expected: &str) -> Result<()> {
        if !command.starts_with("ipvsadm") && listing::proc_file(command).is_none() {
            let what = format!("there is no such thing here; expected\n{expected}");
            self.differ([Difference::of(command, what)]);
            return Ok(());
        }
        let printed = self.print(command)?;
        if statistics::is_of_statistics(command) {
            let (step, note) = &self.at;
            let open = Open::new(command, expected, &printed, *step, note);
            self.note_statistics()?;
            self.statistics.find(self.clock, open);
            self.give_up_statistics();
        } else if !listing::same(command, expected, &printed) {
            self.differ([Difference::of(command, contrast(expected, &printed))]);
        }
        Ok(())
    }

    fn print(&self, command: &str) -> Result<String> {
        match listing::proc_file(command) {
            Some(file) => self.console.proc(file),
            None => Ok(self.outcome(command)?.out),
        }
    }

    /// A setting that is refused is a difference, and the replay goes on without it.
    fn set(&mut self, key: &str, value: &str) {
        if let Err(error) = self.sysctl(key, value) {
            let command = format!("sysctl {key} = {value}");
            self.differ([Difference::of(&command, format!("{error:#}"))]);
        }
    }

    fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        Ok(self.console.director().set_sysctl(key, value)?)
    }

    /// Lets a frame in; returns what leaves because of it, by link.
    fn receive(&mut self, frame: &Frame) -> Result<Vec<Frame>> {
        let link = self.stack.network.index_of(&frame.link);
        let link = link.with_context(|| format!("no link {}", frame.link))?;
        let outcome = self.backend.run(link, &frame.bytes)?;
        let Some(piece) = Piece::of(&frame.bytes) else {
            return self.sent(link, outcome);
        };
        let mut sent = self.sent(link, outcome)?;
        for (link, frame) in std::mem::take(&mut self.fragments.held) {
            let outcome = self.backend.run_held(link, &frame)?;
            if outcome.verdict == Verdict::Waits {
                self.fragments.held.push((link, frame));
            } else {
                sent.extend(self.sent(link, outcome)?);
            }
        }
        Ok(self.fragments.add(&piece, sent))
    }

    /// What leaves after a frame came in by a link.
    fn sent(&mut self, link: usize, outcome: Outcome) -> Result<Vec<Frame>> {
        if let Some((header, frame)) = &outcome.handed {
            if header.reason == PuntReason::Early as u32 {
                self.fragments.held.push((link, frame.clone()));
                return Ok(Vec::new());
            }
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
            Verdict::Drop | Verdict::Waits => Vec::new(),
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
    fn after(&mut self) -> Result<()> {
        let after = &self.trace.after;
        if let Some(connections) = &after.connections {
            let printed = self.print(AFTER_CONNECTIONS)?;
            if !listing::same(AFTER_CONNECTIONS, connections, &printed) {
                self.advance_to(self.clock + UNTIL_AFTER)?;
            }
        }
        for (command, expected) in [
            ("ipvsadm -Ln", &after.services),
            ("ipvsadm -Ln --nosort", &after.unsorted),
            (AFTER_CONNECTIONS, &after.connections),
            ("ipvsadm -Sn", &after.rules),
            (AFTER_STATISTICS, &after.stats),
        ] {
            if let Some(expected) = expected {
                self.show(command, expected)?;
            }
        }
        if let Some(until) = self.statistics.until() {
            self.advance_to(until + HZ)?;
        }
        let rest = self.outputs.rest().iter().map(|said| {
            let what = "recorded as failing or printing, but it was not given".to_owned();
            Difference::of(&said.cmd, what)
        });
        self.differ(rest.collect::<Vec<_>>());
        Ok(())
    }
}

const AFTER_CONNECTIONS: &str = "ipvsadm -Lnc";
const AFTER_STATISTICS: &str = "ipvsadm -Ln --stats --exact";

fn ticks(time: Duration) -> u64 {
    time.as_millis() as u64 * HZ / 1000
}

fn contrast(expected: &str, printed: &str) -> String {
    format!("expected\n{expected}\ngot\n{printed}")
}
