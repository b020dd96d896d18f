//! What it costs to age full tables the way the daemon does, how long one slice and one batch take, and what memory a
//! connection takes.
//!
//! Entries are put into the kernel's tables as packets would have left them, their deadlines spread over a quarter of an hour.

use std::{
    fmt,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use ipvs_common::{
    Conn, ConnFlags, FlowKey, ForwardingMethod, Proto, State, Status,
    maps::{self, Capacities},
};
use ipvs_user::{
    daemon::{Pace, Slice},
    dataplane::{
        Dataplane as _, Place, Stop, Task,
        bpf::{BpfDataplane, OBJECT},
    },
    director::{Aged, Director},
};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeVal,
};

/// Seconds that an established connection lasts without packets.
const LIFE: u32 = 900;
/// Keys of one run of the program that ends them.
const BATCH: u32 = 200;
/// Entries put into the table at once.
const CHUNK: u32 = 8192;

/// One size of the table, with connections of one kind.
struct Row {
    connections: u32,
    masq: bool,
    /// Bytes of the table of connections, by connection that fits.
    memory: u64,
    /// A round without pauses.
    round: Duration,
    longest: Duration,
    /// With pauses: rounds, and CPU time by the time that went by.
    rounds: u32,
    share: f64,
    ended_each_second: f64,
    /// The end of [`BATCH`] connections.
    batch: Duration,
}

pub struct Report(Vec<Row>);

/// Fills and ages tables of each size in turn.
pub fn run(quick: bool) -> Result<Report> {
    let seconds = if quick { 5 } else { 60 };
    let mut rows = Vec::new();
    for connections in [1 << 20, 4 << 20] {
        for masq in [false, true] {
            let measured = measure(connections, masq, Duration::from_secs(seconds));
            rows.push(measured.with_context(|| format!("{connections} connections"))?);
        }
    }
    Ok(Report(rows))
}

fn measure(connections: u32, masq: bool, time: Duration) -> Result<Row> {
    let capacities = Capacities {
        conns: connections,
        ..Capacities::DEFAULT
    };
    let mut dataplane = BpfDataplane::load(OBJECT, capacities)?;
    let memory = dataplane.memory();
    let memory = memory.iter().find(|(name, _)| *name == maps::CONNS);
    let memory = memory.map_or(0, |(_, bytes)| bytes / u64::from(connections));
    let batch = time_batch(&mut dataplane)?;
    fill(&mut dataplane, connections, masq)?;

    let (start, mut longest) = (Instant::now(), Duration::ZERO);
    let mut place = Place::default();
    loop {
        let slice = Instant::now();
        let ended = dataplane.walk(Task::Expire, &mut place, Stop::After(Pace::SLICE))?;
        longest = longest.max(slice.elapsed());
        if ended {
            break;
        }
    }
    let round = start.elapsed();

    let mut director = Director::new(Box::new(dataplane), Box::new(|_| None))?;
    director.age_in_parts();
    let ended_before = ended(&director)?;
    let (start, used) = (Instant::now(), cpu_time()?);
    let mut pace = Pace::new(start);
    let mut rounds = 0;
    while pace.due() < start + time {
        sleep(pace.due().saturating_duration_since(Instant::now()));
        rounds += u32::from(go_on(&mut director, &mut pace)? == Some(Slice::Last));
    }
    let (elapsed, used) = (start.elapsed(), cpu_time()?.saturating_sub(used));
    Ok(Row {
        connections,
        masq,
        memory,
        round,
        longest,
        rounds,
        share: used.as_secs_f64() / elapsed.as_secs_f64(),
        ended_each_second: (ended(&director)? - ended_before) / elapsed.as_secs_f64(),
        batch,
    })
}

/// What the daemon does when something is due.
fn go_on(director: &mut Director, pace: &mut Pace) -> Result<Option<Slice>> {
    let start = Instant::now();
    if pace.is_house_due(start) {
        director.tick()?;
        pace.kept_house(start, start.elapsed());
    }
    let start = Instant::now();
    if !pace.is_slice_due(start) {
        return Ok(None);
    }
    let slice = match director.age(Pace::SLICE)? {
        Aged::Urgent => Slice::Urgent,
        Aged::More => Slice::More,
        Aged::Round => Slice::Last,
    };
    pace.aged(start, start.elapsed(), slice);
    Ok(Some(slice))
}

/// The time that a batch takes to end whole, in a mean over many.
fn time_batch(dataplane: &mut BpfDataplane) -> Result<Duration> {
    const BATCHES: u32 = 200;
    let now = dataplane.now()?;
    let (keys, conns) = entries(0..BATCHES * BATCH, false, |_| now);
    dataplane.enter(&keys, &conns)?;
    let full = Instant::now();
    dataplane.expire()?;
    let full = full.elapsed();
    let empty = Instant::now();
    dataplane.expire()?;
    Ok(full.saturating_sub(empty.elapsed()) / BATCHES)
}

fn fill(dataplane: &mut BpfDataplane, connections: u32, masq: bool) -> Result<()> {
    let (now, hz) = (dataplane.now()?, u64::from(dataplane.hz()));
    let life = u64::from(LIFE) * hz;
    let mut start = 0;
    while start < connections {
        let end = connections.min(start + CHUNK);
        let deadline = |n: u32| now + 1 + u64::from(n).wrapping_mul(0x9e37_79b1) % life;
        let (keys, conns) = entries(start..end, masq, deadline);
        dataplane.enter(&keys, &conns)?;
        start = end;
    }
    Ok(())
}

/// The entries of connections by number, one or two each.
pub fn entries(
    numbers: std::ops::Range<u32>,
    masq: bool,
    deadline: impl Fn(u32) -> u64,
) -> (Vec<FlowKey>, Vec<Conn>) {
    const VIP: [u8; 4] = [203, 0, 113, 10];
    const PORT: [u8; 2] = 80_u16.to_be_bytes();
    let real = [10, 0, 1, 10];
    let tcp = Proto::Tcp as u8;
    let mut entries = (Vec::new(), Vec::new());
    for n in numbers {
        let client = (0x0b00_0000 + n / 16).to_be_bytes();
        let port = (1024 + (n % 16) as u16).to_be_bytes();
        let conn = Conn {
            expires: deadline(n),
            to_addr: real,
            to_port: PORT,
            packets: Conn::MANY,
            status: Status {
                state: State::Established as u8,
                flags: ConnFlags::ACTIVE,
                method: if masq {
                    ForwardingMethod::Masq
                } else {
                    ForwardingMethod::Droute
                } as u8,
                template_prefix: 0,
            },
            seq: n,
            ..Conn::default()
        };
        entries.0.push(FlowKey::new(tcp, client, port, VIP, PORT));
        entries.1.push(conn);
        if masq {
            let mut reply = conn;
            (reply.to_addr, reply.to_port) = (VIP, PORT);
            reply.status.flags |= ConnFlags::REPLY;
            entries.0.push(FlowKey::new(tcp, real, PORT, client, port));
            entries.1.push(reply);
        }
    }
    entries
}

fn ended(director: &Director) -> Result<f64> {
    let ended = director.reasons()?[ipvs_common::Event::Expired.slot() as usize];
    Ok(f64::from(u32::try_from(ended)?))
}

/// CPU time of this thread, in the kernel or not.
fn cpu_time() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD)?;
    let micros = |t: TimeVal| t.tv_sec() * 1_000_000 + t.tv_usec();
    let used = micros(usage.user_time()) + micros(usage.system_time());
    Ok(Duration::from_micros(used.try_into()?))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>11} {:6} {:>10} {:>9} {:>9} {:>10} {:>8} {:>8} {:>9}",
            "connections",
            "method",
            "bytes each",
            "round",
            "slice",
            "rounds",
            "CPU",
            "ended/s",
            "batch"
        )?;
        for row in &self.0 {
            writeln!(
                f,
                "{:>11} {:6} {:>10} {:>6} ms {:>6.1} ms {:>10} {:>6.2} % {:>8.0} {:>6} us",
                row.connections,
                if row.masq { "masq" } else { "droute" },
                row.memory,
                row.round.as_millis(),
                row.longest.as_secs_f64() * 1e3,
                row.rounds,
                row.share * 100.0,
                row.ended_each_second,
                row.batch.as_micros(),
            )?;
        }
        Ok(())
    }
}
