//! What a run leaves is taken away: services, knobs, timeouts, and now and then all connections.

use std::{thread, time::Duration};

use anyhow::{Result, bail};

use super::{generate::REALS, place::real, run::Oracle, scenario::Step, side::Side, world::MARK};

/// After so many runs, connections of all of them are ended.
const RUNS_BETWEEN_FLUSHES: u16 = 50;
const MARKED: &str = " -f ";
/// Has connections of deleted real servers end.
pub(super) const NODEST: &str = "expire_nodest_conn";
const LAST: [&str; 2] = ["-A -t 192.0.2.2:1", "-a -t 192.0.2.2:1 -r 10.0.1.10"];
const DEFAULT_TIMEOUTS: &str = "--set 900 120 300";
/// The kernel now and then leaves one.
const TRIES: usize = 4;
/// A real server that comes back to a new service starts over, in ip_vs from what its estimator had seen when it went.
const ESTIMATED: Duration = Duration::from_millis(2500);

/// When all connections are ended after a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flush {
    Always,
    /// Where they would meet others, and now and then.
    Sometimes,
}

impl Oracle {
    /// Ends all connections, also those that a run leaves to others. What ours left of its own.
    pub fn flush(&mut self) -> Result<Option<String>> {
        self.clean(&[], Flush::Always)
    }

    /// After these steps. What ours left of its connections, if all were to end.
    pub(super) fn clean(&mut self, steps: &[Step], flush: Flush) -> Result<Option<String>> {
        for (name, kernel, ours) in std::mem::take(&mut self.knobs) {
            self.kernel.set_knob(&name, kernel)?;
            self.ours.set_knob(&name, ours)?;
        }
        let sets = |step: &Step| matches!(step, Step::Ipvsadm(c) if c.starts_with("--set"));
        if steps.iter().any(sets) {
            self.both(|side| side.ipvsadm(DEFAULT_TIMEOUTS, "").map(drop))?;
        }
        let flush = flush == Flush::Always
            || self.runs.is_multiple_of(RUNS_BETWEEN_FLUSHES)
            || steps.iter().any(is_marked);
        if steps.iter().any(is_marked) {
            self.both(bring_back)?;
        }
        if flush {
            thread::sleep(ESTIMATED);
            return self.end_all();
        }
        self.both(|side| side.ipvsadm("-C", "").map(drop))?;
        Ok(None)
    }

    fn end_all(&self) -> Result<Option<String>> {
        let mut ours = None;
        for _ in 0..TRIES {
            self.both(|side| side.set_knob(NODEST, 1))?;
            // The kernel looks when a real server is deleted, and there may be none left.
            for line in LAST.into_iter().chain(["-C"]) {
                self.both(|side| side.ipvsadm(line, "").map(drop))?;
            }
            let kernels = self.kernel.connections_left()?;
            let left = self.ours.connections_left()?;
            self.both(|side| side.set_knob(NODEST, 0))?;
            let done = kernels.is_none() && left.is_none();
            if let Some(listed) = kernels {
                println!("the kernel's connections stay:\n{listed}");
            }
            ours = ours.or(left.map(|listed| format!("ours leaves\n{listed}")));
            if done {
                return Ok(ours);
            }
        }
        bail!("connections stay that were told to end, after {TRIES} tries")
    }

    fn both(&self, f: impl Fn(&Side) -> Result<()>) -> Result<()> {
        [&self.kernel, &self.ours].into_iter().try_for_each(f)
    }
}

/// All real servers that a mark's service may have had: of those that were deleted the estimator has yet to see the last traffic.
fn bring_back(side: &Side) -> Result<()> {
    side.ipvsadm(&format!("-A -f {MARK} -s rr"), "")?;
    for index in 0..REALS {
        side.ipvsadm(&format!("-a -f {MARK} -r {} -m", real(index)), "")?;
    }
    Ok(())
}

/// Whether it tells of a mark's service. One of its real servers comes back with the connections that it has from earlier runs.
fn is_marked(step: &Step) -> bool {
    match step {
        Step::Restore(lines) => lines.iter().any(|line| line.contains(MARKED)),
        Step::Ipvsadm(line) => line.contains(MARKED),
        Step::Packet(_) | Step::Reply(_) | Step::Sysctl { .. } | Step::Wait(_) => false,
    }
}
