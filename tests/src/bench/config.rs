//! What it takes to load a large configuration, and to read it again with a change: time, and memory of the daemon.
//!
//! Everything as an administrator does it: `ipvsd run`, `ipvsd reload`, a file.

use std::{
    fmt::{self, Write as _},
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::topology::{Director, Netns, Start};

/// How large.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub services: usize,
    pub reals: usize,
}

/// What was measured.
#[derive(Debug)]
pub struct Report {
    size: Size,
    /// Of the file.
    bytes: usize,
    /// From the start to "ready" with the whole file, and with the same tables and no services.
    start: Duration,
    empty_start: Duration,
    /// Of the same daemons, in kB.
    memory: u64,
    empty_memory: u64,
    rows: Vec<(&'static str, Vec<Took>)>,
    /// After all of this, in kB.
    memory_after: u64,
}

/// By the clock, and of the daemon's CPU time, which other work of the machine does not lengthen much.
#[derive(Clone, Copy, Debug)]
struct Took {
    clock: Duration,
    cpu: Duration,
}

/// Room for it, with little else.
fn director(size: Size) -> String {
    let reals = size.services * size.reals;
    format!(
        "[director]\nservices = {}\nreal_servers = {}\nlist_slots = {}\nconnections = 65536\nhalf_open = 65536\n",
        size.services + 16,
        reals + 1024,
        4 * reals + 4096
    )
}

/// Each of them serves many services.
const MACHINES: usize = 1000;

/// Services on addresses of 10.64.0.0/10, as many ports as it takes; all weights but one are 1.
fn file(size: Size, weight: u32) -> String {
    let mut text = director(size);
    for service in 0..size.services {
        let (high, low) = (64 + service / 50_000, service % 50_000);
        let (third, last) = (low / 200, low % 200 + 1);
        let _ = writeln!(
            text,
            "\n[[service]]\ntcp = \"10.{high}.{third}.{last}:80\"\nscheduler = \"wlc\""
        );
        for real in 0..size.reals {
            let machine = (service * size.reals + real) % MACHINES;
            let weight = if service == size.services / 2 && real == 0 {
                weight
            } else {
                1
            };
            let _ = writeln!(
                text,
                "[[service.real]]\naddress = \"172.16.{}.{}:80\"\nmethod = \"masq\"\nweight = {weight}",
                machine / 200,
                machine % 200 + 1
            );
        }
    }
    text
}

/// Other weights everywhere.
fn all_different(file: &str) -> String {
    file.replace("weight = 1\n", "weight = 2\n")
}

/// Measures. Reloads are repeated; the figure is the median.
pub fn run(size: Size) -> Result<Report> {
    let netns = Netns::new("director")?;
    netns.ip("link add eth0 type veth peer name far0\nlink set eth0 up\nlink set far0 up\naddr add 10.0.0.1/24 dev eth0\nroute add default via 10.0.0.2")?;
    let (empty_start, empty_memory) = {
        let (director, took) = start(&netns, director(size))?;
        let memory = memory(&director)?;
        director.stop()?;
        (took, memory)
    };
    let text = file(size, 1);
    let (director, start) = start(&netns, text.clone())?;
    let memory_of_start = memory(&director)?;
    let mut rows = vec![
        ("nothing changed", Vec::new()),
        ("one weight changed", Vec::new()),
        ("every weight changed", Vec::new()),
    ];
    // The first one reads everything; each further one what differs from the one before.
    let first = reload(&director, &text, "nothing to change")?;
    for round in 0..5 {
        rows[0]
            .1
            .push(reload(&director, &text, "nothing to change")?);
        let changed = file(size, 2 + round);
        rows[1]
            .1
            .push(reload(&director, &changed, "changed:\n  ~")?);
        reload(&director, &text, "changed:\n  ~")?;
    }
    rows[2]
        .1
        .push(reload(&director, &all_different(&text), "changed:\n  ~")?);
    rows.insert(0, ("the first one, nothing changed", vec![first]));
    let memory_after = memory(&director)?;
    director.stop()?;
    Ok(Report {
        size,
        bytes: text.len(),
        start,
        empty_start,
        memory: memory_of_start,
        empty_memory,
        rows,
        memory_after,
    })
}

fn start(netns: &Netns, config: String) -> Result<(Director, Duration)> {
    let how = Start {
        interfaces: vec!["eth0"],
        config: Some(config),
        ..Start::default()
    };
    let start = Instant::now();
    let director = Director::start(netns, &how)?;
    Ok((director, start.elapsed()))
}

fn reload(director: &Director, config: &str, expected: &str) -> Result<Took> {
    director.configure(config)?;
    let (start, before) = (Instant::now(), cpu(director)?);
    let said = director.run("ipvsd reload")?;
    let took = Took {
        clock: start.elapsed(),
        cpu: cpu(director)?.saturating_sub(before),
    };
    let head: String = said.chars().take(300).collect();
    ensure!(said.starts_with(expected), "{head}");
    Ok(took)
}

/// What its threads used so far.
fn cpu(director: &Director) -> Result<Duration> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{}/task", director.pid()))? {
        // A thread may end meanwhile.
        let used = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        let used = used.split_whitespace().next().and_then(|n| n.parse().ok());
        nanoseconds += used.unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Resident memory of the daemon, in kB.
fn memory(director: &Director) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", director.pid()))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let number = line.and_then(|l| l.split_whitespace().next());
    number.context("no VmRSS")?.parse().context("VmRSS")
}

fn median(times: &[Took], of: fn(&Took) -> Duration) -> Duration {
    let mut times: Vec<_> = times.iter().map(of).collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Size { services, reals } = self.size;
        let ms = |t: Duration| t.as_secs_f64() * 1e3;
        let mb = |kb: u64| kb / 1024;
        writeln!(
            f,
            "{services} services with {reals} real servers each, a file of {} kB",
            self.bytes / 1000
        )?;
        writeln!(
            f,
            "start, no services        {:>9.1} ms  {:>5} MB resident",
            ms(self.empty_start),
            mb(self.empty_memory)
        )?;
        writeln!(
            f,
            "start                     {:>9.1} ms  {:>5} MB resident",
            ms(self.start),
            mb(self.memory)
        )?;
        for (name, times) in &self.rows {
            writeln!(
                f,
                "reload, {name:<30} {:>9.1} ms, {:>7.1} ms of the daemon's CPU time  (medians of {})",
                ms(median(times, |t| t.clock)),
                ms(median(times, |t| t.cpu)),
                times.len()
            )?;
        }
        writeln!(
            f,
            "at the end                             {:>5} MB resident",
            mb(self.memory_after)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_has_no_mistakes_and_the_size_it_says() {
        let size = Size {
            services: 500,
            reals: 3,
        };
        let config = ipvs_user::config::parse("f", &file(size, 7)).unwrap();
        assert_eq!(config.services.len(), 500);
        assert!(config.services.iter().all(|s| s.reals.len() == 3));
    }
}
