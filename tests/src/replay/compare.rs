//! Compares frames and listings, all but what cannot be reproduced: the identification of packets that the director makes,
//! the order of connections and of services without sorting, and a second of an expiry.

use std::{collections::BTreeMap, fmt};

use etherparse::Ipv4HeaderSlice;

use crate::{
    packet::{self, ETHERNET, checksum},
    trace::Frame,
};

/// Seconds that an expiry may be off.
const SLACK: u64 = 1;

/// One way in which our director behaved differently.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    step: usize,
    note: String,
    what: String,
}

impl Difference {
    fn new(what: String) -> Self {
        Self {
            step: 0,
            note: String::new(),
            what,
        }
    }

    pub(super) fn at(self, step: usize, note: &str) -> Self {
        Self {
            step,
            note: note.to_owned(),
            ..self
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {} ({}): {}", self.step, self.note, self.what)
    }
}

/// What left, against what should have.
pub(super) fn frames(expected: &[&Frame], sent: &[Frame], cause: &[u8]) -> Vec<Difference> {
    if expected.len() != sent.len() {
        let list = |frames: &mut dyn Iterator<Item = &Frame>| {
            frames.fold(String::new(), |text, f| {
                format!("{text}\n    {} {}", f.link, packet::describe(&f.bytes))
            })
        };
        return vec![Difference::new(format!(
            "after {}\n  expected {} frames:{}\n  got {}:{}",
            packet::describe(cause),
            expected.len(),
            list(&mut expected.iter().copied()),
            sent.len(),
            list(&mut sent.iter()),
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
        } else if expected.bytes != sent.bytes && !same_but_id(&expected.bytes, &sent.bytes, cause)
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

/// How many different identifications there are.
fn ids<'a>(frames: impl Iterator<Item = &'a Vec<u8>>) -> usize {
    let ids = frames.filter_map(|f| f.get(ETHERNET + 4..ETHERNET + 6));
    ids.collect::<std::collections::BTreeSet<_>>().len()
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

fn without_id(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    for field in [4..6, 10..12] {
        if let Some(bytes) = frame.get_mut(ETHERNET + field.start..ETHERNET + field.end) {
            bytes.fill(0);
        }
    }
    frame
}

/// What a command printed, against what it should have.
pub(super) fn listing(command: &str, expected: &str, printed: &str) -> Vec<Difference> {
    let same = if command.contains("-Lnc") {
        same_connections(expected, printed)
    } else if command.contains("--nosort") {
        blocks(expected) == blocks(printed)
    } else {
        expected == printed
    };
    if same {
        return Vec::new();
    }
    vec![Difference::new(format!(
        "{command}\nexpected\n{expected}\ngot\n{printed}"
    ))]
}

/// The title, and each service with its real servers, in an order of their own.
fn blocks(listing: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    let titles = listing.lines().take(3);
    blocks.extend(titles.map(str::to_owned));
    let mut services: Vec<String> = Vec::new();
    for line in listing.lines().skip(3) {
        match services.last_mut() {
            Some(block) if line.starts_with("  ->") => {
                block.push('\n');
                block.push_str(line);
            }
            Some(_) | None => services.push(line.to_owned()),
        }
    }
    services.sort();
    blocks.extend(services);
    blocks
}

fn same_connections(expected: &str, printed: &str) -> bool {
    let (Some((titles, a)), Some((own_titles, b))) = (connections(expected), connections(printed))
    else {
        return false;
    };
    titles == own_titles
        && a.len() == b.len()
        && a.iter().zip(&b).all(|(a, b)| a.0 == b.0 && close(a.1, b.1))
}

fn close(a: &[u64], b: &[u64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.abs_diff(*b) <= SLACK)
}

/// The two lines of title, and the seconds to go by what else a row says.
type Connections<'a> = (Vec<&'a str>, BTreeMap<Vec<&'a str>, Vec<u64>>);

fn connections(listing: &str) -> Option<Connections<'_>> {
    let mut rows: BTreeMap<Vec<&str>, Vec<u64>> = BTreeMap::new();
    for line in listing.lines().skip(2) {
        let mut words: Vec<_> = line.split_whitespace().collect();
        if words.len() < 6 {
            return None;
        }
        let (minutes, seconds) = words.remove(1).split_once(':')?;
        let seconds = minutes.parse::<u64>().ok()? * 60 + seconds.parse::<u64>().ok()?;
        rows.entry(words).or_default().push(seconds);
    }
    Some((listing.lines().take(2).collect(), rows))
}
