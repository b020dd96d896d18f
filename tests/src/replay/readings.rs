//! When the recording read statistics: then, and somewhat before and after, ours are kept to be compared.

use std::time::Duration;

use anyhow::Result;

use super::{
    AFTER_STATISTICS, Replay, UNTIL_AFTER, contrast, script::Act, script::Event, statistics, ticks,
};
use crate::{
    backend::{HZ, START},
    replay::Difference,
};

/// How long before and after a recorded listing of statistics ours are of interest.
const AROUND: u64 = 3 * HZ;

#[derive(Default)]
pub(super) struct Readings<'a> {
    commands: Vec<&'a str>,
    times: Vec<u64>,
}

impl<'a> Readings<'a> {
    pub(super) fn of(events: &[Event<'a>], after: bool) -> Self {
        let mut this = Self::default();
        for event in events {
            if let Act::Show { cmd, .. } = event.act
                && statistics::is_of_statistics(cmd)
            {
                this.commands.push(cmd);
                this.times.push(START + ticks(event.time));
            }
        }
        if after {
            let last = events.last().map_or(Duration::ZERO, |e| e.time);
            let last = START + ticks(last);
            this.commands.push(AFTER_STATISTICS);
            this.times.extend([last, last + UNTIL_AFTER]);
        }
        this.commands.sort_unstable();
        this.commands.dedup();
        this
    }

    fn is_near(&self, clock: u64) -> bool {
        self.times.iter().any(|t| t.abs_diff(clock) <= AROUND)
    }
}

impl Replay<'_> {
    /// Keeps what the statistics are now, if a recorded listing may have been of this moment.
    pub(super) fn note_statistics(&mut self) -> Result<()> {
        if self.readings.is_near(self.clock) {
            for command in self.readings.commands.clone() {
                let printed = self.print(command)?;
                self.statistics.note(command, self.clock, &printed);
            }
        }
        self.give_up_statistics();
        Ok(())
    }

    pub(super) fn give_up_statistics(&mut self) {
        let found = self.statistics.given_up(self.clock).into_iter().map(|o| {
            let what = contrast(&o.expected, &o.printed);
            Difference::of(&o.command, what).at(o.step, &o.note)
        });
        self.differences.extend(found);
    }
}
