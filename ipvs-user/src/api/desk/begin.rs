//! The start: what the daemon before left, what waits of it, and what the file says.

use std::{sync::Arc, time::SystemTime};

use tracing::{error, info, warn};

use super::{
    Applied, Desk, clock, convert,
    store::{Remembered, Waiting},
    wire,
};
use crate::{
    config::Config,
    desired::{self, Rule},
    director::{Director, TogetherError},
};

/// What the file says, seen from a change that waits to be confirmed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum File {
    /// What was applied before the change; or there is none.
    Before,
    /// It is the change.
    Change,
    /// Something that came since.
    Other,
}

impl Desk {
    /// Brings a director to the configuration that the daemon starts with. One that goes on where the daemon before ended
    /// (`adopted`) keeps what was changed there by hand, by the rule that holds for every reading of the file; without a file
    /// all of it stays. A change that waits to be confirmed waits on, or is taken back if its time is over.
    pub fn begin(&mut self, director: &mut Director, adopted: bool) -> Result<(), TogetherError> {
        if !adopted {
            self.store.discard();
            return self.take_up_file(director, true);
        }
        let Remembered { applied, waiting } = self.store.load(&self.started);
        self.last = applied;
        match waiting {
            None => self.take_up_file(director, false),
            Some(waiting) => self.take_up_change(director, waiting),
        }
    }

    fn take_up_file(&mut self, director: &mut Director, fresh: bool) -> Result<(), TogetherError> {
        if self.file.is_none() && !fresh {
            return Ok(());
        }
        let wanted = Arc::new(self.started.clone());
        let last = self.last.as_ref().map(|l| l.config.as_ref());
        let difference = desired::compare(last, director, &wanted, Rule::Keep);
        director.carry_out(&difference.changes)?;
        for row in &difference.kept {
            let one = convert::change(row, None);
            info!("changed by hand, and left so: {one}");
        }
        if self.file.is_none() {
            return Ok(());
        }
        let before = self.last.take().filter(|l| same(&l.config, &wanted));
        self.last = Some(Applied {
            config: wanted,
            at: before.map_or_else(SystemTime::now, |l| l.at),
        });
        self.write_down();
        Ok(())
    }

    fn take_up_change(
        &mut self,
        director: &mut Director,
        waiting: Waiting,
    ) -> Result<(), TogetherError> {
        let file = self.seen_from(&waiting);
        let left = waiting.ends.saturating_sub(clock::since_boot());
        if waiting.carried_out && !left.is_zero() && file != File::Other {
            let seconds = left.as_secs();
            warn!("a change waits to be confirmed, and goes back by itself in {seconds} seconds");
            self.wait_on(waiting);
            return Ok(());
        }
        warn!("{}: going back", why(&waiting, left.is_zero()));
        let (after, before) = (&waiting.after, &waiting.before);
        let difference = desired::compare(Some(after), director, before, Rule::Keep);
        if let Err(e) = director.carry_out(&difference.changes) {
            error!("cannot go back: {e}; trying again");
            self.wait_on(Waiting {
                ends: clock::since_boot(),
                ..waiting
            });
            if let Some(pending) = &mut self.pending {
                pending.note_failure(&e.to_string());
            }
            return Ok(());
        }
        for row in &difference.rows {
            info!("taken back: {}", convert::change(row, None));
        }
        if self.started.interfaces == waiting.wanted.interfaces {
            self.started.interfaces.clone_from(&before.interfaces);
        }
        match file {
            File::Other => return self.take_up_file(director, false),
            File::Change => warn!(
                "the file still has the change that nobody confirmed, and is not applied: `ipvsd reload` applies it"
            ),
            File::Before => {}
        }
        self.write_down();
        Ok(())
    }

    fn seen_from(&self, waiting: &Waiting) -> File {
        let last = self.last.as_ref();
        if self.file.is_none() || last.is_some_and(|l| same(&l.config, &self.started)) {
            File::Before
        } else if same(&waiting.wanted, &self.started) {
            File::Change
        } else {
            File::Other
        }
    }

    /// As it was before the daemon ended.
    fn wait_on(&mut self, waiting: Waiting) {
        let changed = Applied {
            config: Arc::clone(&waiting.wanted),
            at: SystemTime::now(),
        };
        let last = self.last.replace(changed);
        self.wait(waiting, last);
    }

    fn write_down(&self) {
        if let Err(e) = self.store.save(self.last.as_ref(), None) {
            warn!("{e}; a restart will not know what was applied last");
            self.store.discard();
        }
    }
}

fn why(waiting: &Waiting, over: bool) -> &'static str {
    if !waiting.carried_out {
        "a change that was to be confirmed had been cut short"
    } else if over {
        "nobody confirmed the change in time, and the daemon was not there to take it back"
    } else {
        "the file says something new while a change waits to be confirmed"
    }
}

/// Interfaces aside, which are not what tables hold.
fn same(a: &Config, b: &Config) -> bool {
    let shown = |c: &Config| wire::Config {
        interfaces: None,
        ..convert::shown_config(c)
    };
    shown(a) == shown(b)
}
