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
    desired::{self, Half, Rule},
    director::{Director, Together, TogetherError},
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

/// What the daemon before left.
#[must_use]
pub struct Recalled {
    /// There is something to go on from.
    adopted: bool,
    /// What is in force of a change that was cut short.
    half: Option<Together>,
    change: Option<Change>,
}

/// One that waits to be confirmed.
struct Change {
    waiting: Waiting,
    file: File,
    /// It is taken back, for this reason.
    back: Option<&'static str>,
}

impl Desk {
    /// Reads what the daemon before left, and decides what becomes of a change that waits to be confirmed: it waits on, or is
    /// taken back if its time is over. From now on [`Self::interfaces`] are those to begin with.
    pub fn recall(&mut self, director: &Director, adopted: bool) -> Recalled {
        let (mut change, mut half) = (None, None);
        if adopted {
            let Remembered {
                applied,
                begun,
                waiting,
            } = self.store.load(&self.started);
            self.last = applied;
            if let Some(begun) = begun {
                half = self.choose(director, begun);
            }
            if let (None, Some(last)) = (&self.file, &self.last)
                && !last.by_file
            {
                self.started.interfaces.clone_from(&last.config.interfaces);
            }
            change = waiting.map(|waiting| self.judge(waiting));
        } else {
            self.store.discard();
        }
        Recalled {
            adopted,
            half,
            change,
        }
    }

    /// The daemon before ended while it applied this. If it came to be, it is what was applied last; else returns how that of it
    /// which is in force goes back.
    fn choose(&mut self, director: &Director, begun: Applied) -> Option<Together> {
        let last = self.last.as_ref().map(|l| l.config.as_ref());
        let half = desired::half(last, director, &begun.config);
        warn!(
            applied = half == Half::Whole,
            "the daemon before this one ended while it applied a configuration"
        );
        self.unsaved = true;
        match half {
            Half::Whole => {
                self.last = Some(begun);
                None
            }
            Half::Back(half) => Some(half),
        }
    }

    fn judge(&mut self, waiting: Waiting) -> Change {
        let file = self.seen_from(&waiting);
        let over = waiting.ends <= clock::since_boot();
        let back =
            (!waiting.carried_out || over || file == File::Other).then(|| why(&waiting, over));
        let Waiting { before, wanted, .. } = &waiting;
        let interfaces = &mut self.started.interfaces;
        if back.is_none() {
            interfaces.clone_from(&wanted.interfaces);
        } else if self.file.is_none() || *interfaces == wanted.interfaces {
            interfaces.clone_from(&before.interfaces);
        }
        Change {
            waiting,
            file,
            back,
        }
    }

    /// Brings a director to the configuration that the daemon starts with. One that goes on where the daemon before ended
    /// keeps what was changed there by hand, by the rule that holds for every reading of the file; without a file all of it
    /// stays.
    pub fn begin(
        &mut self,
        director: &mut Director,
        recalled: Recalled,
    ) -> Result<(), TogetherError> {
        if let Some(half) = &recalled.half
            && let Err(e) = director.carry_out(half)
        {
            error!("a configuration was cut short, and its knobs and timeouts stay: {e}");
        }
        match recalled.change {
            None => self.take_up_file(director, !recalled.adopted),
            Some(change) => self.take_up_change(director, change),
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
            by_file: true,
        });
        self.unsaved = true;
        Ok(())
    }

    fn take_up_change(
        &mut self,
        director: &mut Director,
        change: Change,
    ) -> Result<(), TogetherError> {
        let Change {
            waiting,
            file,
            back,
        } = change;
        let Some(why) = back else {
            let seconds = waiting.ends.saturating_sub(clock::since_boot()).as_secs();
            warn!("a change waits to be confirmed, and goes back by itself in {seconds} seconds");
            self.wait_on(waiting, file);
            return Ok(());
        };
        warn!("{why}: going back");
        let (after, before) = (&waiting.after, &waiting.before);
        let difference = desired::compare(Some(after), director, before, Rule::Keep);
        if let Err(e) = director.carry_out(&difference.changes) {
            error!("cannot go back: {e}; trying again{}", left_out(file));
            let over = Waiting {
                ends: clock::since_boot(),
                ..waiting
            };
            self.wait_on(over, file);
            if let Some(pending) = &mut self.pending {
                pending.note_failure(&e.to_string());
            }
            return Ok(());
        }
        for row in &difference.rows {
            info!("taken back: {}", convert::change(row, None));
        }
        match file {
            File::Other => return self.take_up_file(director, false),
            File::Change => warn!(
                "the file still has the change that nobody confirmed, and is not applied: `ipvsd reload` applies it"
            ),
            File::Before => {}
        }
        self.unsaved = true;
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
    fn wait_on(&mut self, waiting: Waiting, file: File) {
        let changed = Applied {
            config: Arc::clone(&waiting.wanted),
            at: SystemTime::now(),
            by_file: file == File::Change,
        };
        let last = self.last.replace(changed);
        self.wait(waiting, last);
    }

    /// The start succeeded. Not written down earlier: one that fails may leave other tables in force than those that were begun
    /// with.
    pub fn begun(&mut self) {
        if !std::mem::take(&mut self.unsaved) {
            return;
        }
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

/// What becomes of the file meanwhile.
const fn left_out(file: File) -> &'static str {
    match file {
        File::Before => "",
        File::Change => {
            "; the file still has the change that nobody confirmed: `ipvsd confirm` keeps it, and once it is taken back, \
             `ipvsd reload` applies it"
        }
        File::Other => {
            "; what the file says is NOT applied: once the change is taken back (`ipvsd rollback` tries at once) or kept \
             (`ipvsd confirm`), `ipvsd reload` applies the file"
        }
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
