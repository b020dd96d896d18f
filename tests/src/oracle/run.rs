//! One scenario through both directors. Packets go in until something has to be known about them; then what left is compared
//! link by link, in order.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddrV4,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{
    clean::{Flush, NODEST},
    contrast::contrast_all,
    frames, listing,
    place::Place,
    scenario::{Packet, Scenario, Step},
    side::Side,
    world::{Ends, Sent},
};
use crate::packet::chunk;

/// In which our daemon comes by all connections whose time is over, and takes them from the counts.
const AGED: Duration = Duration::from_secs(10);
/// What is missing gets so much more time.
const LATE: Duration = Duration::from_millis(150);
/// The kernel ends a connection whose port is used again by a timer that is due at the next tick; until then both are there.
const TICKS: Duration = Duration::from_millis(12);

const TIMEOUTS: &str = "--set";

/// The first thing in which a run differed; what comes after would only follow from it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Difference {
    /// Index of the step after which it was seen.
    pub step: usize,
    /// The command, or `frames`.
    pub subject: String,
    pub what: String,
    /// How many frames only the kernel sent, and how many only ours.
    pub alone: (usize, usize),
}

impl Difference {
    /// Whether it may have the same cause, as far as that can be told.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let (kind, others) = (self.what.split('\n').next(), other.what.split('\n').next());
        self.subject == other.subject && kind == others
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}, {}: {}", self.step, self.subject, self.what)
    }
}

/// What was compared in a run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    pub difference: Option<Difference>,
    /// Connections of ours that stayed where all were to end.
    pub left: Option<Difference>,
    pub packets: usize,
    pub frames: usize,
    pub commands: usize,
}

impl Outcome {
    pub fn differences(&self) -> impl Iterator<Item = &Difference> {
        self.difference.iter().chain(&self.left)
    }
}

/// Both directors.
#[derive(Debug)]
pub struct Oracle {
    pub(super) kernel: Side,
    pub(super) ours: Side,
    pub(super) runs: u16,
    /// The last run's.
    place: u16,
    /// Knobs as they were before this run: name, the kernel's value, ours.
    pub(super) knobs: Vec<(String, u32, u32)>,
}

impl Oracle {
    pub fn new() -> Result<Self> {
        Ok(Self {
            kernel: Side::kernel()?,
            ours: Side::ours(Ends::Caught)?,
            runs: 0,
            place: 0,
            knobs: Vec::new(),
        })
    }

    /// Runs a scenario at a place of its own, and leaves nothing configured.
    pub fn run(&mut self, scenario: &Scenario) -> Result<Outcome> {
        self.place = self.place.wrapping_add(1);
        self.run_at(self.place, scenario, Flush::Sometimes)
    }

    /// Once more where the last one took place: addresses decide what schedulers that hash do.
    pub fn run_again(&mut self, scenario: &Scenario) -> Result<Outcome> {
        self.run_at(self.place, scenario, Flush::Always)
    }

    /// The next run takes place there.
    pub const fn go_to(&mut self, place: u16) {
        self.place = place.saturating_sub(1);
    }

    /// Where the last run took place.
    #[must_use]
    pub const fn place(&self) -> u16 {
        self.place
    }

    fn run_at(&mut self, place: u16, scenario: &Scenario, flush: Flush) -> Result<Outcome> {
        self.runs += 1;
        self.ours.begin(self.runs);
        let mut run = Run {
            place: Place::new(place),
            kernel: &mut self.kernel,
            ours: &mut self.ours,
            knobs: &mut self.knobs,
            chosen: BTreeMap::new(),
            begun: BTreeSet::new(),
            id: 0,
            marked: false,
            timed: None,
            waiting: false,
            outcome: Outcome::default(),
        };
        let ran = run.all(&scenario.steps);
        let mut outcome = run.outcome;
        let cleaned = self.clean(&scenario.steps, flush);
        ran.with_context(|| scenario.name.clone())?;
        let left = cleaned.with_context(|| format!("after {}", scenario.name))?;
        outcome.left = left.map(|what| Difference {
            step: scenario.steps.len(),
            subject: NODEST.to_owned(),
            what,
            alone: (0, 0),
        });
        Ok(outcome)
    }

    /// Why ours did not forward what it did not.
    pub fn reasons(&self) -> Result<String> {
        self.ours.reasons()
    }

    pub fn stop(self) -> Result<()> {
        self.ours.stop()
    }
}

struct Run<'a> {
    place: Place,
    kernel: &'a mut Side,
    ours: &'a mut Side,
    knobs: &'a mut Vec<(String, u32, u32)>,
    /// The kernel's choices among masqueraded real servers, by protocol and client.
    chosen: BTreeMap<(u8, SocketAddrV4), SocketAddrV4>,
    /// Clients and ports that sent a SYN.
    begun: BTreeSet<(u8, u16)>,
    id: u16,
    /// By which of the clients' links the last one's packet came.
    marked: bool,
    /// Timeouts were set then: for a while connections may have come to their end that are still counted.
    timed: Option<Instant>,
    /// Packets went in that nobody asked about.
    waiting: bool,
    outcome: Outcome,
}

impl Run<'_> {
    fn all(&mut self, steps: &[Step]) -> Result<()> {
        for (index, step) in steps.iter().enumerate() {
            if self.settle_before(step, index)? || self.step(step, index)? {
                return Ok(());
            }
        }
        self.settle(steps.len())?;
        Ok(())
    }

    /// Whether there was a difference.
    fn step(&mut self, step: &Step, index: usize) -> Result<bool> {
        match step {
            Step::Packet(packet) => self.packet(packet)?,
            Step::Reply(packet) => self.reply(packet)?,
            Step::Wait(ms) => thread::sleep(Duration::from_millis(*ms)),
            Step::Sysctl { name, value } => {
                let before = (self.kernel.knob(name)?, self.ours.knob(name)?);
                self.knobs.push((name.clone(), before.0, before.1));
                self.kernel.set_knob(name, *value)?;
                self.ours.set_knob(name, *value)?;
            }
            Step::Ipvsadm(template) => return self.ipvsadm(template, &[], index),
            Step::Restore(lines) => return self.ipvsadm("-R", lines, index),
        }
        Ok(false)
    }

    fn settle_before(&mut self, step: &Step, index: usize) -> Result<bool> {
        match step {
            // Between links there is no order.
            Step::Packet(packet) if packet.marked != self.marked => {
                self.marked = packet.marked;
                self.settle(index)
            }
            Step::Packet(_) => Ok(false),
            Step::Reply(_)
            | Step::Wait(_)
            | Step::Sysctl { .. }
            | Step::Restore(_)
            | Step::Ipvsadm(_) => self.settle(index),
        }
    }

    fn next_id(&mut self) -> u16 {
        self.id += 1;
        self.id
    }

    fn packet(&mut self, packet: &Packet) -> Result<()> {
        let id = self.next_id();
        let made = frames::from_client(packet, self.place, id);
        self.kernel
            .world
            .client_sends(made.clone(), packet.marked)?;
        self.ours.world.client_sends(made, packet.marked)?;
        self.outcome.packets += 1;
        self.waiting = true;
        let flow = (packet.client, packet.client_port);
        let opens = packet.flags == "S" || packet.chunk == Some(chunk::INIT);
        if opens && !self.begun.insert(flow) {
            thread::sleep(TICKS);
        }
        Ok(())
    }

    fn reply(&mut self, packet: &Packet) -> Result<()> {
        let client = SocketAddrV4::new(self.place.client(packet.client), packet.client_port);
        let Some(real) = self.chosen.get(&(packet.proto() as u8, client)).copied() else {
            return Ok(());
        };
        let id = self.next_id();
        let made = frames::from_real(packet, self.place, real, id);
        self.kernel.world.real_sends(made.clone())?;
        self.ours.world.real_sends(made)?;
        self.outcome.packets += 1;
        self.waiting = true;
        Ok(())
    }

    fn ipvsadm(&mut self, template: &str, lines: &[String], step: usize) -> Result<bool> {
        let arguments = self.place.command(template);
        let lines = lines.iter().map(|line| self.place.command(line) + "\n");
        let input: String = lines.collect();
        let place = self.place;
        let ask = |side: &Side| side.ipvsadm(&arguments, &input);
        let (mut kernel, mut ours) = (ask(self.kernel)?, ask(self.ours)?);
        // The kernel's list of connections is not of one moment: where one ends meanwhile, another may be left out.
        if listing::is_connections(&arguments)
            && !listing::same(&arguments, place, &kernel.text, &ours.text)
        {
            (kernel, ours) = (ask(self.kernel)?, ask(self.ours)?);
        }
        if template.starts_with(TIMEOUTS) {
            self.timed = Some(Instant::now());
        }
        if self.timed.is_some_and(|since| since.elapsed() < 2 * AGED)
            && listing::has_counts(&arguments)
            && !listing::same(&arguments, place, &kernel.text, &ours.text)
        {
            thread::sleep(AGED);
            (kernel, ours) = (ask(self.kernel)?, ask(self.ours)?);
        }
        self.outcome.commands += 1;
        if kernel.status == ours.status
            && listing::same(&arguments, place, &kernel.text, &ours.text)
        {
            return Ok(false);
        }
        let (told, told_by_ours) = listing::contrast(&arguments, place, &kernel.text, &ours.text);
        self.outcome.difference = Some(Difference {
            step,
            subject: format!("ipvsadm {template}"),
            what: format!(
                "the kernel ends with {:?} and says\n{}\nours with {:?} and\n{}",
                kernel.status, told, ours.status, told_by_ours
            ),
            alone: (0, 0),
        });
        Ok(true)
    }

    /// Compares what left since the last time; whether there was a difference.
    fn settle(&mut self, step: usize) -> Result<bool> {
        if !std::mem::take(&mut self.waiting) {
            return Ok(false);
        }
        let mut kernel = self.kernel.world.settle()?;
        let mut ours = self.ours.world.settle()?;
        if contrast_all(&kernel, &ours).is_some() {
            kernel.extend(self.kernel.world.late(LATE)?);
            ours.extend(self.ours.world.late(LATE)?);
        }
        // An error about another run's packet may take its time.
        for sent in [&mut kernel, &mut ours] {
            sent.retain(|sent| self.place.is_in(&sent.frame));
        }
        self.outcome.frames += kernel.len();
        self.learn(&kernel);
        let difference = contrast_all(&kernel, &ours).map(|(what, alone)| Difference {
            step,
            subject: "frames".to_owned(),
            what,
            alone,
        });
        let differs = difference.is_some();
        self.outcome.difference = difference;
        Ok(differs)
    }

    fn learn(&mut self, sent: &[Sent]) {
        for ends in sent.iter().filter_map(|sent| frames::ends(&sent.frame)) {
            if ends.dst.ip().octets()[0] == 10 {
                self.chosen.insert((ends.proto, ends.src), ends.dst);
            }
        }
    }
}
