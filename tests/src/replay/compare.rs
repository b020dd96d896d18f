//! Compares frames, all but what cannot be reproduced: the identification of packets that the director makes, the time
//! of day in ICMP timestamps, and what the kernel draws by lot.

pub(crate) mod drawn;

use std::{collections::BTreeSet, fmt};

use etherparse::Ipv4HeaderSlice;

use super::{
    listing::{self, Row},
    made,
};
use crate::{
    packet::{self, ETHERNET, checksum},
    trace::{Choice, Frame, Network, Said},
};

/// One way in which our director behaved differently.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    step: usize,
    note: String,
    /// The command that told it, if one did.
    command: Option<String>,
    what: String,
}

impl Difference {
    pub(super) const fn new(what: String) -> Self {
        Self {
            step: 0,
            note: String::new(),
            command: None,
            what,
        }
    }

    /// In what a command printed or how it ended.
    pub(super) fn of(command: &str, what: String) -> Self {
        Self {
            command: Some(command.to_owned()),
            ..Self::new(what)
        }
    }

    pub(super) fn at(self, step: usize, note: &str) -> Self {
        Self {
            step,
            note: note.to_owned(),
            ..self
        }
    }

    #[must_use]
    pub const fn step(&self) -> usize {
        self.step
    }

    #[must_use]
    pub fn note(&self) -> &str {
        &self.note
    }

    #[must_use]
    pub fn command(&self) -> Option<&str> {
        self.command.as_deref()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            step, note, what, ..
        } = self;
        match (&self.command, note.is_empty()) {
            (Some(command), true) => write!(f, "step {step}, {command}: {what}"),
            (Some(command), false) => write!(f, "step {step} ({note}), {command}: {what}"),
            (None, _) => write!(f, "step {step} ({note}): {what}"),
        }
    }
}

/// What left, against what should have.
pub(super) fn frames(expected: &[&Frame], sent: &[Frame], cause: &[u8]) -> Vec<Difference> {
    if expected.len() != sent.len() {
        return vec![Difference::new(format!(
            "after {}\n  expected {} frames:{}\n  got {}:{}",
            packet::describe(cause),
            expected.len(),
            list(expected.iter().copied()),
            sent.len(),
            list(sent),
        ))];
    }
    let mut found = Vec::new();
    for (expected, sent) in expected.iter().zip(sent) {
        let contrast = packet::contrast(&expected.bytes, &sent.bytes);
        if expected.link != sent.link {
            let (a, b) = (&expected.link, &sent.link);
            found.push(Difference::new(format!(
                "left by {b} instead of {a}\n{contrast}"
            )));
        } else if expected.bytes != sent.bytes
            && !same_but_id(&expected.bytes, &sent.bytes, cause)
            && !drawn::same_but_for(&expected.bytes, &sent.bytes)
        {
            found.push(Difference::new(contrast));
        }
    }
    if ids(expected.iter().map(|f| &f.bytes)) != ids(sent.iter().map(|f| &f.bytes)) {
        found.push(Difference::new(
            "pieces of one packet with different identifications".to_owned(),
        ));
    }
    found
}

/// What was chosen, against what should have been.
pub(super) fn choice(
    expected: &Choice,
    sent: &[Frame],
    cause: &Frame,
    network: &Network,
) -> Vec<Difference> {
    if made::is_chosen(expected, sent, network) {
        return Vec::new();
    }
    let wanted = match (expected.real, expected.port) {
        (Some(real), Some(port)) => format!("to {real}, port {port}"),
        (Some(real), None) => format!("to {real}"),
        (None, _) => "to no real server".to_owned(),
    };
    vec![Difference::new(format!(
        "after {}\n  expected a frame {wanted}\n  got {}:{}",
        packet::describe(&cause.bytes),
        sent.len(),
        list(sent)
    ))]
}

/// How a command ended and what it printed, against what it should have.
pub(super) fn outcome(expected: &Said, got: &Said) -> Vec<Difference> {
    let command = &expected.cmd;
    let same = expected.status == got.status
        && (expected.out == got.out || listing::same(command, &expected.out, &got.out));
    if same {
        return Vec::new();
    }
    let what = format!(
        "expected status {} and\n{}\ngot {} and\n{}",
        expected.status, expected.out, got.status, got.out
    );
    vec![Difference::of(command, what)]
}

/// Time to go and state of a connection, against what was listed.
pub(super) fn state(expected: Option<&(String, String)>, row: Option<&Row>) -> Vec<Difference> {
    let same = match (expected, row) {
        (None, None) => true,
        (Some((left, state)), Some(row)) => {
            *state == row.state && listing::is_close(left, row.left)
        }
        (Some(_), None) | (None, Some(_)) => false,
    };
    if same {
        return Vec::new();
    }
    let row = row.map(|r| (r.left, &r.state));
    vec![Difference::new(format!(
        "expected the connection to be listed as {expected:?}, got {row:?}"
    ))]
}

fn list<'a>(frames: impl IntoIterator<Item = &'a Frame>) -> String {
    frames.into_iter().fold(String::new(), |text, f| {
        format!("{text}\n    {} {}", f.link, packet::describe(&f.bytes))
    })
}

/// How many different identifications there are.
fn ids<'a>(frames: impl Iterator<Item = &'a Vec<u8>>) -> usize {
    let ids = frames.filter_map(|f| f.get(ETHERNET + 4..ETHERNET + 6));
    ids.collect::<BTreeSet<_>>().len()
}

/// Whether two packets that the director made itself are the same but for their identification. One that it forwards has
/// the identification of what came in.
fn same_but_id(expected: &[u8], sent: &[u8], cause: &[u8]) -> bool {
    let made_here = |frame: &[u8]| {
        let id = frame.get(ETHERNET + 4..ETHERNET + 6);
        id.is_some() && id != cause.get(ETHERNET + 4..ETHERNET + 6)
    };
    let right = |frame: &[u8]| {
        let header = Ipv4HeaderSlice::from_slice(&frame[ETHERNET..]);
        header.is_ok_and(|h| checksum(h.slice()) == 0)
    };
    made_here(expected) && right(sent) && without_id(expected) == without_id(sent)
}

/// Where the type and code of an ICMP message, its checksum, and the times of a timestamp reply are.
const ICMP_TYPE: std::ops::Range<usize> = ETHERNET + 20..ETHERNET + 22;
const ICMP_CHECKSUM: std::ops::Range<usize> = ETHERNET + 22..ETHERNET + 24;
const ICMP_TIMES: std::ops::Range<usize> = ETHERNET + 32..ETHERNET + 40;

fn without_id(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    for field in [4..6, 10..12] {
        if let Some(bytes) = frame.get_mut(ETHERNET + field.start..ETHERNET + field.end) {
            bytes.fill(0);
        }
    }
    let is_icmp = frame.get(ETHERNET) == Some(&0x45) && frame.get(ETHERNET + 9) == Some(&1);
    if is_icmp && frame.get(ICMP_TYPE) == Some(&[14, 0]) {
        for field in [ICMP_CHECKSUM, ICMP_TIMES] {
            if let Some(bytes) = frame.get_mut(field) {
                bytes.fill(0);
            }
        }
    }
    frame
}
