//! What a packet costs the kernel's ip_vs and ours, in the same machine and run. Frames come in as a driver gets them, page by
//! page and 64 at a time, and are thrown away at the other end of their way. Plain routing by the kernel is the base.

use std::{fmt, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ipvs_common::bench::{FRAME, Source};

use super::{
    frames,
    place::{Place, real},
    scenario::Packet,
    side::Side,
    world::{Ends, SINK, World},
};
use crate::topology::Sender;

const METHODS: [(&str, &str); 3] = [
    ("direct routing", "-g"),
    ("masquerading", "-m"),
    ("IP in IP", "-i"),
];
const PORT: u16 = 80;
/// Connections of the packets that hit.
const FLOWS: u32 = 256;
/// What packets carry, to fill a frame of 64 bytes.
const DATA: usize = 10;
/// After that ip_vs has counted everything.
const COUNTED: Duration = Duration::from_millis(4500);
const FIRST_PORT: u16 = 1024;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub rounds: usize,
    /// Of a case in a round.
    pub packets: u32,
    /// Of virtual time, where an instruction takes one step of it.
    pub ns_per_instruction: Option<f64>,
}

/// A row for each case, in ns (or instructions) per packet.
#[derive(Clone, Debug)]
pub struct Versus {
    unit: &'static str,
    plain: f64,
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    case: String,
    kernel: f64,
    ours: f64,
}

impl fmt::Display for Versus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = self.unit;
        writeln!(f, "plain routing: {:.0} {unit} per packet", self.plain)?;
        writeln!(
            f,
            "| case | ip_vs, {unit} | here, {unit} | ip_vs / here |\n|---|---|---|---|"
        )?;
        for Row { case, kernel, ours } in &self.rows {
            writeln!(
                f,
                "| {case} | {kernel:.0} | {ours:.0} | {:.2} |",
                kernel / ours
            )?;
        }
        Ok(())
    }
}

/// Measures all cases. Wants a kernel with ip_vs.
pub fn versus(effort: Effort) -> Result<Versus> {
    let plain = World::new(false, Ends::Unheard)?;
    let kernel = Side::kernel_alone()?;
    let ours = Side::ours(Ends::Dropped)?;
    let mut bench = Bench {
        effort,
        senders: [
            Sender::new(&kernel.world.around)?,
            Sender::new(&ours.world.around)?,
        ],
        sides: [kernel, ours],
        place: 0,
    };
    let plain = routing(&plain, effort)?;
    let mut rows = Vec::new();
    for (name, letter) in METHODS {
        rows.extend(bench.method(name, letter)?);
    }
    let [_, ours] = bench.sides;
    ours.stop()?;
    let unit = if effort.ns_per_instruction.is_some() {
        "instructions"
    } else {
        "ns"
    };
    Ok(Versus { unit, plain, rows })
}

fn routing(world: &World, effort: Effort) -> Result<f64> {
    let mut sender = Sender::new(&world.around)?;
    let mut made = frames::from_client(&segment("A"), Place::new(0), 1);
    made.dst.set_ip(SINK);
    let (link, frame) = world.frame_of_client(made, false);
    let source = source(world.sends_by(link), &frame, FLOWS, FIRST_PORT, false)?;
    let mut times = Vec::new();
    for _ in 0..=effort.rounds {
        times.push(effort.each(sender.send(&source, effort.packets)?));
    }
    Ok(median(&times[1..]))
}

struct Bench {
    effort: Effort,
    sides: [Side; 2],
    senders: [Sender; 2],
    place: u16,
}

/// What packets do, as the statistics of a service count it: connections, packets in, packets out.
type Counted = [u64; 3];

impl Bench {
    /// The cases of a forwarding method: packets of known connections, answers where they come by here, new connections.
    fn method(&mut self, name: &str, letter: &str) -> Result<Vec<Row>> {
        self.place = self.place.wrapping_add(1);
        let place = Place::new(self.place);
        for side in &self.sides {
            told(side, &place.command(&format!("-A -t VIP0:{PORT} -s wlc")))?;
            told(
                side,
                &place.command(&format!("-a -t VIP0:{PORT} -r REAL0 {letter}")),
            )?;
        }
        let masq = letter == "-m";
        for flags in ["S", "SA", "A"] {
            if masq || flags != "SA" {
                self.send(place, flags, FLOWS, FIRST_PORT, FLOWS)?;
            }
        }
        let mut rows = vec![self.row(&format!("{name}, known connection"), place, "A")?];
        if masq {
            rows.push(self.row(&format!("{name}, answer"), place, "SA")?);
        }
        rows.push(self.row(&format!("{name}, new connection"), place, "S")?);
        for side in &self.sides {
            told(side, "-C")?;
        }
        Ok(rows)
    }

    /// Both in turn, round after round; the first warms up. All packets have to be counted as what they are, and to leave.
    fn row(&mut self, case: &str, place: Place, flags: &str) -> Result<Row> {
        let (packets, opens) = (self.effort.packets, flags == "S");
        let before = self.counted(place)?;
        let left = self.left()?;
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..=self.effort.rounds {
            let (first, flows) = if opens {
                let round = u16::try_from(packets * round as u32)?;
                (FIRST_PORT + FLOWS as u16 + round, packets)
            } else {
                (FIRST_PORT, FLOWS)
            };
            let took = self.send(place, flags, packets, first, flows)?;
            for (times, took) in times.iter_mut().zip(took) {
                times.push(self.effort.each(took));
            }
        }
        let due = u64::from(packets) * (self.effort.rounds as u64 + 1);
        let due = match flags {
            "S" => [due, due, 0],
            "SA" => [0, 0, due],
            _ => [0, due, 0],
        };
        for (before, after) in left.iter().zip(self.left()?) {
            let [_, forwarded, answered] = due;
            let (due, found) = (forwarded.max(answered), after - before);
            ensure!(found >= due, "{case}: {found} frames left, not {due}");
        }
        for (before, after) in before.iter().zip(self.counted(place)?) {
            let found = [0, 1, 2].map(|n| after[n] - before[n]);
            ensure!(found == due, "{case}: {found:?} were counted, not {due:?}");
        }
        let [kernel, ours] = times.map(|times| median(&times[1..]));
        let case = case.to_owned();
        Ok(Row { case, kernel, ours })
    }

    fn send(
        &mut self,
        place: Place,
        flags: &str,
        packets: u32,
        first: u16,
        flows: u32,
    ) -> Result<[Duration; 2]> {
        let mut took = [Duration::ZERO; 2];
        for ((side, sender), took) in self.sides.iter().zip(&mut self.senders).zip(&mut took) {
            let answer = flags == "SA";
            let (link, frame) = if answer {
                let from = std::net::SocketAddrV4::new(real(0), PORT);
                let made = frames::from_real(&segment(flags), place, from, 1);
                side.world.frame_of_real(made)
            } else {
                let made = frames::from_client(&segment(flags), place, 1);
                side.world.frame_of_client(made, false)
            };
            let source = source(side.world.sends_by(link), &frame, flows, first, answer)?;
            *took = sender.send(&source, packets)?;
        }
        Ok(took)
    }

    fn left(&self) -> Result<[u64; 2]> {
        let [kernel, ours] = &self.sides;
        Ok([left(kernel)?, left(ours)?])
    }

    fn counted(&self, place: Place) -> Result<[Counted; 2]> {
        thread::sleep(COUNTED);
        let [kernel, ours] = &self.sides;
        Ok([counted(kernel, place)?, counted(ours, place)?])
    }
}

/// Frames that a director's links sent.
fn left(side: &Side) -> Result<u64> {
    const SENT: usize = 10;
    let links = side.world.director.output("cat", &["/proc/net/dev"])?;
    let links = links
        .lines()
        .filter(|line| line.contains(':') && !line.contains("lo:"));
    let sent = links.map(|line| {
        let number = line.split_whitespace().nth(SENT);
        Ok(number.context("no statistics")?.parse::<u64>()?)
    });
    sent.sum()
}

fn counted(side: &Side, place: Place) -> Result<Counted> {
    let command = place.command(&format!("-Ln --stats --exact -t VIP0:{PORT}"));
    let said = side.ipvsadm(&command, "")?;
    let line = said.text.lines().find(|line| line.starts_with("TCP"));
    let line = line.with_context(|| format!("no service in\n{}", said.text))?;
    let words: Vec<_> = line.split_whitespace().collect();
    let number = |n: usize| -> Result<u64> { Ok(words.get(n).context("no number")?.parse()?) };
    Ok([number(2)?, number(3)?, number(4)?])
}

fn told(side: &Side, arguments: &str) -> Result<()> {
    let said = side.ipvsadm(arguments, "")?;
    ensure!(said.status == Some(0), "ipvsadm {arguments}: {}", said.text);
    Ok(())
}

/// Of the client's port 0, for which others are put.
fn segment(flags: &str) -> Packet {
    Packet {
        udp: false,
        marked: false,
        client: 1,
        client_port: 0,
        vip: 0,
        port: PORT,
        flags: flags.to_owned(),
        chunk: None,
        aborts: false,
        data: DATA,
    }
}

fn source(ifindex: u32, frame: &[u8], flows: u32, first: u16, to_client: bool) -> Result<Source> {
    ensure!(
        flows.is_power_of_two() && frame.len() == FRAME,
        "no such source"
    );
    let sum = u16::from_be_bytes([frame[50], frame[51]]);
    Ok(Source {
        ifindex,
        sent: 0,
        mask: flows - 1,
        first_port: first,
        shift: if to_client { 0 } else { 16 },
        sum: (!sum).into(),
        ports: u32::from_be_bytes([frame[34], frame[35], frame[36], frame[37]]),
        frame: bytemuck::pod_read_unaligned(frame),
    })
}

impl Effort {
    fn each(&self, took: Duration) -> f64 {
        let ns = took.as_secs_f64() * 1e9 / f64::from(self.packets);
        ns / self.ns_per_instruction.unwrap_or(1.0)
    }
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
