//! What a replay does, in order: the recorded steps, and between them what was not recorded but must have happened.

use std::{borrow::Cow, fmt, net::SocketAddrV4, time::Duration};

use super::made::{Made, made};
use crate::packet;
use crate::trace::{Choice, Frame, Network, Said, Step, Trace, What, Word};

/// How long after another a client sent its next packet, if nothing else tells.
const APART: Duration = Duration::from_millis(6);

pub(super) struct Event<'a> {
    pub(super) time: Duration,
    pub(super) step: usize,
    pub(super) note: String,
    pub(super) act: Act<'a>,
    /// Frames that left then, though none came in.
    pub(super) unasked: Vec<&'a Frame>,
}

pub(super) enum Act<'a> {
    Frame {
        frame: Cow<'a, Frame>,
        then: Then<'a>,
    },
    Command(&'a str),
    /// A command with all that came of it.
    Said(&'a Said),
    Show {
        cmd: &'a str,
        out: &'a str,
    },
    Sysctl {
        key: &'a str,
        value: &'a Word,
    },
    Sleep(Duration),
    /// A connection's time to go and state.
    State {
        client: SocketAddrV4,
        virt: SocketAddrV4,
        expected: Option<&'a (String, String)>,
    },
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, note, .. } = self;
        write!(f, "{:>12.3} step {step} ", self.time.as_secs_f64())?;
        match &self.act {
            Act::Frame { frame, then } => {
                write!(f, "{} {} -> ", frame.link, packet::describe(&frame.bytes))?;
                match then {
                    Then::Frames(frames) => write!(f, "{} frames", frames.len())?,
                    Then::Choice(Choice { real: None, .. }) => f.write_str("no real server")?,
                    Then::Choice(choice) => write!(f, "{:?}", choice.real)?,
                    Then::Anything => f.write_str("anything")?,
                }
            }
            Act::Command(cmd) | Act::Show { cmd, .. } => f.write_str(cmd)?,
            Act::Said(said) => write!(f, "{} -> status {}", said.cmd, said.status)?,
            Act::Sysctl { key, value } => write!(f, "{key} = {}", value.0)?,
            Act::Sleep(time) => write!(f, "wait {time:?}")?,
            Act::State {
                client, expected, ..
            } => write!(f, "{client} is {expected:?}")?,
        }
        if note.is_empty() {
            return Ok(());
        }
        write!(f, " ({note})")
    }
}

/// What a frame causes.
pub(super) enum Then<'a> {
    Frames(Vec<&'a Frame>),
    Choice(&'a Choice),
    Anything,
}

/// The events, and why some could not be told from the file.
pub(super) fn script<'a>(trace: &'a Trace, network: &Network) -> (Vec<Event<'a>>, Option<String>) {
    let (made, complaint) = match made(trace, network) {
        Ok(made) => (made, None),
        Err(complaint) => (Vec::new(), Some(complaint)),
    };
    let mut made = made.into_iter().peekable();
    let mut events = Vec::new();
    let mut steps = trace.steps.iter().enumerate().peekable();
    loop {
        let next = steps
            .peek()
            .map_or(trace.steps.len(), |(number, _)| *number);
        let now: Vec<_> = std::iter::from_fn(|| made.next_if(|m| m.before <= next)).collect();
        let until = steps.peek().map(|(_, step)| step.time);
        spread(&mut events, now, until);
        let Some((number, step)) = steps.next() else {
            break;
        };
        let mut outs = Vec::new();
        while let Some((_, out)) = steps.peek()
            && let What::Out(frame) = &out.what
        {
            outs.push(frame);
            steps.next();
        }
        events.push(event(number, step, outs));
    }
    put_errors(trace, &mut events);
    (events, complaint)
}

fn event<'a>(number: usize, step: &'a Step, outs: Vec<&'a Frame>) -> Event<'a> {
    let (act, unasked) = match &step.what {
        What::In(frame) => {
            let frame = Cow::Borrowed(frame);
            let then = Then::Frames(outs);
            (Act::Frame { frame, then }, Vec::new())
        }
        What::Out(frame) => {
            let all = std::iter::once(frame).chain(outs).collect();
            (Act::Sleep(Duration::ZERO), all)
        }
        What::Ctl { cmd } => (Act::Command(cmd), outs),
        What::Show { cmd, out } => (Act::Show { cmd, out }, outs),
        What::Sysctl { key, value } => (Act::Sysctl { key, value }, outs),
        What::Sleep { ms } => (Act::Sleep(Duration::from_millis(*ms)), outs),
    };
    Event {
        time: step.time,
        step: number,
        note: step.note.clone(),
        act,
        unasked,
    }
}

/// Puts what was not recorded between the last event and the next one.
fn spread<'a>(events: &mut Vec<Event<'a>>, made: Vec<Made<'a>>, until: Option<Duration>) {
    let from = events.last().map_or(Duration::ZERO, |e| match e.act {
        Act::Sleep(time) => e.time + time,
        Act::Frame { .. }
        | Act::Command(_)
        | Act::Said(_)
        | Act::Show { .. }
        | Act::Sysctl { .. }
        | Act::State { .. } => e.time,
    });
    let apart = until.map_or(APART, |until| {
        until.saturating_sub(from) / (made.len() as u32 + 1)
    });
    for (n, m) in (1..).zip(made) {
        events.push(Event {
            time: from + apart * n,
            step: m.before,
            note: m.note,
            act: m.act,
            unasked: Vec::new(),
        });
    }
}

/// Commands that failed were given at some time, one after another: where the steps leave the most time.
fn put_errors<'a>(trace: &'a Trace, events: &mut Vec<Event<'a>>) {
    if trace.errors.is_empty() {
        return;
    }
    let gap = |n: &usize| {
        let from = n.checked_sub(1).map_or(Duration::ZERO, |p| events[p].time);
        let waits = n
            .checked_sub(1)
            .is_some_and(|p| matches!(events[p].act, Act::Sleep(_)));
        if waits || !matches!(events[*n].act, Act::Show { .. }) {
            return Duration::ZERO;
        }
        events[*n].time.saturating_sub(from)
    };
    let at = (0..events.len()).max_by_key(gap).unwrap_or(0);
    let (time, step) = events
        .get(at)
        .map_or((Duration::ZERO, 0), |e| (e.time, e.step));
    let errors = trace.errors.iter().map(|said| Event {
        time,
        step,
        note: "errors".to_owned(),
        act: Act::Said(said),
        unasked: Vec::new(),
    });
    events.splice(at..at, errors.collect::<Vec<_>>());
}
