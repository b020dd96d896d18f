//! What a packet costs the kernel's ip_vs and ours, in the same machine and run: the same frames go into the same network, and
//! the time is that from the far end's send to the other far end's socket. Plain routing by the kernel is the base.

use std::{fmt, time::Instant};

use anyhow::{Result, ensure};

use super::{
    frames,
    place::{Place, real},
    scenario::Packet,
    side::Side,
    world::{SINK, World},
};

const METHODS: [(&str, &str); 3] = [
    ("direct routing", "-g"),
    ("masquerading", "-m"),
    ("IP in IP", "-i"),
];
const PORT: u16 = 80;
const REALS: u8 = 4;
/// Connections of the packets that hit.
const FLOWS: u16 = 256;
const FIRST_PORT: u16 = 1024;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub rounds: usize,
    /// Of a case in a round.
    pub packets: u16,
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
    let plain = World::new(false, false)?;
    let sides = [Side::kernel_alone()?, Side::ours()?];
    let mut bench = Bench {
        effort,
        plain,
        sides,
        place: 0,
    };
    let plain = bench.routing()?;
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

struct Bench {
    effort: Effort,
    plain: World,
    sides: [Side; 2],
    place: u16,
}

/// Frames, and by which link they go in.
type Load = Vec<(usize, Vec<u8>)>;

impl Bench {
    fn routing(&mut self) -> Result<f64> {
        let packet = segment(0, "A");
        let mut made = frames::from_client(&packet, Place::new(0), 1);
        made.dst.set_ip(SINK);
        let load = vec![self.plain.frame_of_client(made); self.effort.packets.into()];
        let mut times = Vec::new();
        for _ in 0..=self.effort.rounds {
            times.push(timed(&mut self.plain, &load, self.effort)?);
        }
        Ok(median(times))
    }

    /// The cases of a forwarding method: new connections, packets of known ones, and answers where they come by here.
    fn method(&mut self, name: &str, letter: &str) -> Result<Vec<Row>> {
        self.place += 1;
        let place = Place::new(self.place);
        for side in &self.sides {
            told(side, &place.command(&format!("-A -t VIP0:{PORT} -s rr")))?;
            for real in 0..REALS {
                let add = format!("-a -t VIP0:{PORT} -r REAL{real} {letter}");
                told(side, &place.command(&add))?;
            }
        }
        let masq = letter == "-m";
        self.open(place, masq)?;
        let mut rows = vec![self.hits(name, place)?];
        if masq {
            rows.push(self.answers(name, place)?);
        }
        rows.push(self.openings(name, place)?);
        for side in &self.sides {
            told(side, "-C")?;
        }
        Ok(rows)
    }

    /// Connections that are established for either director.
    fn open(&mut self, place: Place, masq: bool) -> Result<()> {
        for side in &mut self.sides {
            for flags in ["S", "SA", "A"] {
                let from_real = flags == "SA";
                if from_real && !masq {
                    continue;
                }
                let load = load(&side.world, place, flags, FLOWS);
                side.world.blast(&load)?;
                side.world.settle()?;
            }
        }
        Ok(())
    }

    fn hits(&mut self, name: &str, place: Place) -> Result<Row> {
        self.row(format!("{name}, known connection"), |side, packets, _| {
            load(&side.world, place, "A", packets)
        })
    }

    fn answers(&mut self, name: &str, place: Place) -> Result<Row> {
        self.row(format!("{name}, answer"), |side, packets, _| {
            load(&side.world, place, "SA", packets)
        })
    }

    fn openings(&mut self, name: &str, place: Place) -> Result<Row> {
        self.row(format!("{name}, new connection"), |side, packets, round| {
            let first = FIRST_PORT + FLOWS + packets * round;
            let syns = (0..packets).map(|n| segment_from(first + n, "S"));
            let frames = syns.map(|s| {
                side.world
                    .frame_of_client(frames::from_client(&s, place, 1))
            });
            frames.collect()
        })
    }

    /// Both in turn, round after round; the first warms up.
    fn row(&mut self, case: String, load: impl Fn(&Side, u16, u16) -> Load) -> Result<Row> {
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..=self.effort.rounds as u16 {
            for (side, times) in self.sides.iter_mut().zip(&mut times) {
                let load = load(side, self.effort.packets, round);
                times.push(timed(&mut side.world, &load, self.effort)?);
            }
        }
        let [kernel, ours] = times.map(median);
        Ok(Row { case, kernel, ours })
    }
}

fn told(side: &Side, arguments: &str) -> Result<()> {
    let said = side.ipvsadm(arguments, "")?;
    ensure!(said.status == Some(0), "ipvsadm {arguments}: {}", said.text);
    Ok(())
}

fn segment(flow: u16, flags: &str) -> Packet {
    segment_from(FIRST_PORT + flow % FLOWS, flags)
}

fn segment_from(client_port: u16, flags: &str) -> Packet {
    Packet {
        udp: false,
        marked: false,
        client: 1,
        client_port,
        vip: 0,
        port: PORT,
        flags: flags.to_owned(),
        data: 0,
    }
}

/// Segments of known connections in turn, from the clients, or from the real servers that rr gave them.
fn load(world: &World, place: Place, flags: &str, packets: u16) -> Load {
    let frames = (0..packets).map(|n| {
        let segment = segment(n, flags);
        if flags == "SA" {
            let at = real((n % FLOWS % u16::from(REALS)) as u8);
            let from = std::net::SocketAddrV4::new(at, PORT);
            world.frame_of_real(frames::from_real(&segment, place, from, 1))
        } else {
            world.frame_of_client(frames::from_client(&segment, place, 1))
        }
    });
    frames.collect()
}

/// Per packet. All have to come out.
fn timed(world: &mut World, load: &[(usize, Vec<u8>)], effort: Effort) -> Result<f64> {
    let start = Instant::now();
    world.blast(load)?;
    let took = start.elapsed();
    let left = world.settle()?.len();
    ensure!(
        left == load.len(),
        "{left} of {} packets came out",
        load.len()
    );
    let ns = took.as_secs_f64() * 1e9 / f64::from(effort.packets);
    Ok(ns / effort.ns_per_instruction.unwrap_or(1.0))
}

fn median(mut times: Vec<f64>) -> f64 {
    times.remove(0);
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
