//! The frames that a recording did not keep, made again from the choices that it did.
//!
//! What they were follows from the listings of connections, from the recorded frames of the same group, and from how
//! clients are numbered; docs of the traces' folder tell the rules.

mod assign;
mod fill;
mod flow;
mod totals;

use std::borrow::Cow;

use ipvs_common::Proto;

use super::{
    listing::{self, Row},
    script::{Act, Then},
};
use crate::{
    packet::flag,
    trace::{Choice, Frame, Group, Network, Trace, What},
};
use assign::{Place, Recorded, assign};
use fill::Filler;
use flow::Flow;

/// What is to be done before the step of this number, and why.
pub(super) struct Made<'a> {
    pub(super) before: usize,
    pub(super) note: String,
    pub(super) act: Act<'a>,
}

/// All that was not recorded, in order of the steps; fails where the file cannot be understood.
pub(super) fn made<'a>(trace: &'a Trace, network: &Network) -> Result<Vec<Made<'a>>, String> {
    let recorded = recorded(trace, network);
    let unopened = unopened(trace, &recorded);
    let mut maker = Maker {
        trace,
        network,
        filler: Filler::new(trace, unopened.rows),
        recorded,
        cursor: 0,
        first_group: Vec::new(),
        made: Vec::new(),
    };
    maker.transitions()?;
    let opened = unopened.all.then_some(maker.filler.spare());
    let places = assign(&trace.choices, &maker.recorded, opened);
    for (group, place) in trace.choices.iter().zip(&places) {
        match acknowledging(&group.name) {
            Some(client) => maker.acknowledge(group, client)?,
            None => maker.group(group, place)?,
        }
    }
    maker.closes()?;
    if trace.choices.is_empty() && trace.transitions.is_empty() && maker.recorded.is_empty() {
        maker.totals()?;
    }
    if unopened.all && maker.filler.spare() > 0 {
        return Err(maker.filler.complaint());
    }
    maker.made.sort_by_key(|m| m.before);
    Ok(maker.made)
}

/// The client whose connection the frames of a group acknowledge.
fn acknowledging(name: &str) -> Option<u32> {
    name.strip_prefix("acks_of_client")?.parse().ok()
}

/// The frames from clients.
fn recorded(trace: &Trace, network: &Network) -> Vec<Recorded> {
    let mut run = 0;
    let mut recorded: Vec<Recorded> = Vec::new();
    for (step, s) in trace.steps.iter().enumerate() {
        match &s.what {
            What::In(frame) if network.index_of(&frame.link) == Some(0) => {
                let flow = Flow::of(&frame.bytes);
                recorded.push(Recorded {
                    step,
                    run,
                    flow,
                    real: None,
                });
            }
            What::Out(frame) => {
                let real = frame.bytes.get(..6).and_then(|m| network.real_server(m));
                if let Some(last) = recorded.last_mut() {
                    last.real = last.real.or(real.map(Into::into));
                }
            }
            What::In(_) => {}
            What::Ctl { .. } | What::Show { .. } | What::Sysctl { .. } | What::Sleep { .. } => {
                run += 1;
            }
        }
    }
    recorded
}

/// Connections of any listing that no recorded frame has opened, and whether that is all there were.
struct Unopened {
    rows: Vec<Row>,
    all: bool,
}

fn unopened(trace: &Trace, recorded: &[Recorded]) -> Unopened {
    let shown = trace.steps.iter().filter_map(|s| match &s.what {
        What::Show { cmd, out } => {
            (cmd.starts_with("ipvsadm") && listing::is_of_connections(cmd)).then_some(out)
        }
        What::In(_)
        | What::Out(_)
        | What::Ctl { .. }
        | What::Sysctl { .. }
        | What::Sleep { .. } => None,
    });
    let mut all = trace.after.connections.is_some();
    let mut rows: Vec<Row> = Vec::new();
    for listing in shown.chain(&trace.after.connections) {
        all &= listing::is_whole(listing);
        for row in listing::rows(listing) {
            let same = |other: &Row| {
                (&other.proto, other.client, other.virt) == (&row.proto, row.client, row.virt)
            };
            let flow = fill::flow(&row);
            let opened = flow.is_none() || recorded.iter().any(|r| r.flow == flow);
            if !row.is_template() && !opened && !rows.iter().any(same) {
                rows.push(row);
            }
        }
    }
    Unopened { rows, all }
}

struct Maker<'a, 'n> {
    trace: &'a Trace,
    network: &'n Network,
    filler: Filler<'a>,
    recorded: Vec<Recorded>,
    /// Number of the step before which the next frames belong.
    cursor: usize,
    /// Flow and place of each choice of the first group.
    first_group: Vec<(Flow, usize)>,
    made: Vec<Made<'a>>,
}

impl<'a> Maker<'a, '_> {
    fn push(&mut self, before: usize, note: String, frame: Frame, then: Then<'a>) {
        let act = Act::Frame {
            frame: Cow::Owned(frame),
            then,
        };
        self.made.push(Made { before, note, act });
    }

    /// The number of the step after a recorded frame and what it caused.
    fn after(&self, recorded: &Recorded) -> usize {
        let rest = self.trace.steps[recorded.step + 1..].iter();
        let outs = rest.take_while(|s| matches!(s.what, What::Out(_)));
        recorded.step + 1 + outs.count()
    }

    fn group(&mut self, group: &'a Group, place: &Place) -> Result<(), String> {
        let (skip, from, kept) = match *place {
            Place::Recorded { last } => {
                self.cursor = self.after(&self.recorded[last]);
                self.filler.remember(self.recorded[last].flow);
                return Ok(());
            }
            Place::Made { skip, from, kept } => (skip, from, kept),
        };
        let choices = &group.choices[skip..];
        let prefix = self.recorded[from..from + kept].to_vec();
        match prefix.last() {
            Some(last) => self.cursor = self.after(last),
            None => self.cursor = self.place(&group.name),
        }
        let flows: Vec<_> = prefix.iter().map(|r| r.flow).collect();
        let flows = self.filler.fill(choices, &flows);
        let flows = flows.map_err(|e| format!("{}: {e}", group.name))?;
        for (n, (flow, choice)) in flows.iter().zip(choices).enumerate().skip(kept) {
            let frame = flow.opening(self.network);
            let note = format!("{} {n}, not recorded", group.name);
            self.push(self.cursor, note, frame, Then::Choice(choice));
        }
        if self.first_group.is_empty() {
            let recorded = prefix.iter().map(|r| r.step);
            let steps = recorded.chain(std::iter::repeat(self.cursor));
            self.first_group = flows.into_iter().zip(steps).collect();
        }
        Ok(())
    }

    /// Where the frames of a group belong of which none was kept: a group after something comes after the next change.
    fn place(&self, name: &str) -> usize {
        let steps = &self.trace.steps;
        let changes = |s: &What| {
            matches!(
                s,
                What::Ctl { .. } | What::Sysctl { .. } | What::Sleep { .. }
            )
        };
        if name.contains("after_") {
            let mut rest = self.cursor..steps.len();
            return rest
                .find(|n| changes(&steps[*n].what))
                .map_or(steps.len(), |n| n + 1);
        }
        let prepares = |s: &What| matches!(s, What::Sysctl { .. } | What::Sleep { .. });
        let first = steps.iter().take_while(|s| prepares(&s.what)).count();
        self.cursor.max(first)
    }

    fn acknowledge(&mut self, group: &'a Group, client: u32) -> Result<(), String> {
        let flows = self.first_group.iter().map(|f| f.0);
        let flow = flows.into_iter().find(|f| f.number() == Some(client));
        let flow = flow.or_else(|| {
            let recorded = self.recorded.iter().filter_map(|r| r.flow);
            recorded.into_iter().find(|f| f.number() == Some(client))
        });
        let flow = flow.ok_or_else(|| format!("{}: no such client", group.name))?;
        for (n, choice) in group.choices.iter().enumerate() {
            let frame = flow.segment(self.network, flag::ACK, 0);
            let note = format!("{} {n}, not recorded", group.name);
            self.push(self.cursor, note, frame, Then::Choice(choice));
        }
        Ok(())
    }

    /// The client's ACK and FIN of connections of the first group, before others of it.
    fn closes(&mut self) -> Result<(), String> {
        let choices = self.trace.choices.first().map_or(&[][..], |g| &g.choices);
        for (before, closed) in &self.trace.closes {
            let mut frames = Vec::new();
            for n in closed {
                let (flow, choice) = self
                    .first_group
                    .get(*n)
                    .zip(choices.get(*n))
                    .ok_or_else(|| format!("close: there is no connection {n}"))?;
                for flags in [flag::ACK, flag::FIN | flag::ACK] {
                    frames.push((flow.0.segment(self.network, flags, 0), choice, *n));
                }
            }
            let (flow, step) = self
                .first_group
                .get(*before)
                .copied()
                .ok_or_else(|| format!("close: there is no choice {before}"))?;
            let opening = flow.opening(self.network);
            let is_opening =
                |m: &Made<'_>| matches!(&m.act, Act::Frame { frame, .. } if **frame == opening);
            let at = self.made.iter().position(is_opening);
            let frames = frames.into_iter().map(|(frame, choice, n)| Made {
                before: step,
                note: format!("close {n}, not recorded"),
                act: Act::Frame {
                    frame: Cow::Owned(frame),
                    then: Then::Choice(choice),
                },
            });
            let at = at.unwrap_or(self.made.len());
            self.made.splice(at..at, frames);
        }
        Ok(())
    }

    /// Every transition has a connection of its own of the first client; the ports go up.
    fn transitions(&mut self) -> Result<(), String> {
        const FIRST_PORT: u16 = 2001;
        if self.trace.transitions.is_empty() {
            return Ok(());
        }
        let service = self.filler.service().filter(|s| s.proto == Proto::Tcp);
        let service = service.ok_or("transitions: no service over TCP")?;
        for (t, port) in self.trace.transitions.iter().zip(FIRST_PORT..) {
            let mut flow = service;
            flow.client.set_port(port);
            self.filler.opened(&flow);
            let note = format!("{} then {}, not recorded", t.sequence, t.then);
            let state = |expected| Act::State {
                client: flow.client,
                virt: flow.virt,
                expected,
            };
            let words = t.sequence.split_whitespace();
            for (words, expected) in [
                (words.collect::<Vec<_>>(), &t.state_before),
                (vec![t.then.as_str()], &t.state_after),
            ] {
                for word in words {
                    let flags = flow::flags(word).ok_or_else(|| format!("transitions: {word}"))?;
                    let frame = flow.segment(self.network, flags, 0);
                    self.push(0, note.clone(), frame, Then::Anything);
                }
                let (note, act) = (note.clone(), state(expected.as_ref()));
                self.made.push(Made {
                    before: 0,
                    note,
                    act,
                });
            }
        }
        Ok(())
    }

    /// Frames of which only the connections and the statistics tell.
    fn totals(&mut self) -> Result<(), String> {
        let rows = self.filler.take();
        for (note, frame) in totals::frames(self.trace, self.network, &rows)? {
            self.push(0, note, frame, Then::Anything);
        }
        Ok(())
    }
}

/// Whether the choice is what happened.
pub(super) fn is_chosen(choice: &Choice, sent: &[Frame], network: &Network) -> bool {
    let to = |f: &&Frame| {
        f.bytes
            .get(..6)
            .is_some_and(|m| network.real_server(m).is_some())
    };
    let frame = sent.iter().find(to);
    let real = frame.and_then(|f| network.real_server(f.bytes.get(..6)?));
    let port = frame
        .and_then(|f| Flow::of(&f.bytes))
        .map(|f| f.virt.port());
    choice.real == real.map(Into::into) && (choice.port.is_none() || choice.port == port)
}
