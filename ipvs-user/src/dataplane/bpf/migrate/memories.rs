//! What schedulers remember, and who is overloaded: comes over before the swap, twice. In between the director carries its
//! configuration out on the new tables, so what it changed there, the second time leaves alone.

use std::collections::BTreeMap;

use aya::maps::{Array, HashMap, MapData};
use ipvs_common::{
    Dest, LblcEntry, LblcKey, LblcrEntry, SchedState, Service, ServiceKey, maps as names,
};

use super::{
    Counts, failed,
    old::Old,
    sync::{Phase, Snapshot},
};
use crate::dataplane::bpf::{LoadError, bpffs::Bpffs, maps::pinned};

/// The tables that are filled.
struct New {
    services: HashMap<MapData, ServiceKey, Service>,
    dests: Array<MapData, Dest>,
    sched_states: Array<MapData, SchedState>,
    lblc: HashMap<MapData, LblcKey, LblcEntry>,
    lblcr: HashMap<MapData, LblcKey, LblcrEntry>,
}

/// What came over so far.
pub(super) struct Memories {
    new: New,
    states: BTreeMap<u32, SchedState>,
    marks: BTreeMap<u32, u32>,
    lblc: Snapshot,
    lblcr: Snapshot,
}

impl Memories {
    pub(super) fn open(dir: &Bpffs) -> Result<Self, LoadError> {
        Ok(Self {
            new: New {
                services: pinned(dir, names::SERVICES)?,
                dests: pinned(dir, names::DESTS)?,
                sched_states: pinned(dir, names::SCHED_STATES)?,
                lblc: pinned(dir, names::LBLC)?,
                lblcr: pinned(dir, names::LBLCR)?,
            },
            states: BTreeMap::new(),
            marks: BTreeMap::new(),
            lblc: Snapshot::default(),
            lblcr: Snapshot::default(),
        })
    }

    /// Copies what the old program changed since the last time. No program may work over the new tables yet.
    pub(super) fn sync(&mut self, old: &mut Old, counts: &Counts) -> Result<(), LoadError> {
        self.states(old)?;
        self.marks(old, counts)?;
        let Self {
            new, lblc, lblcr, ..
        } = self;
        let cache = (names::LBLC, &mut new.lblc);
        lblc.apply(cache, &old.lblc()?, Phase::Before, |_, _| false, |_| ())?;
        let cache = (names::LBLCR, &mut new.lblcr);
        lblcr.apply(cache, &old.lblcr()?, Phase::Before, |_, _| false, |_| ())?;
        Ok(())
    }

    fn states(&mut self, old: &mut Old) -> Result<(), LoadError> {
        for (key, service) in old.services()? {
            let id = service.id;
            let same = self.new.services.get(&key, 0);
            let same = same.is_ok_and(|s| same_service(&service, &s));
            let now = self.new.sched_states.get(&id, 0);
            let now = now.map_err(failed(names::SCHED_STATES))?;
            let state = old.sched_state(id)?;
            if comes_over(self.states.get(&id), &now, &state, same) {
                let set = self.new.sched_states.set(id, state, 0);
                set.map_err(failed(names::SCHED_STATES))?;
                self.states.insert(id, state);
            }
        }
        Ok(())
    }

    fn marks(&mut self, old: &Old, counts: &Counts) -> Result<(), LoadError> {
        for id in old.dests()? {
            let Some(now) = counts.overloaded(id) else {
                continue;
            };
            let (before, after) = (old.dest(id)?, self.new.dests.get(&id, 0));
            let same = after.is_ok_and(|after| same_dest(&before, &after));
            let mark = old.dest_state(id)?.overloaded;
            if comes_over(self.marks.get(&id), &now, &mark, same) {
                counts.set_overloaded(id, mark);
                self.marks.insert(id, mark);
            }
        }
        Ok(())
    }
}

/// Under the same scheduler, and so with the same memory.
fn same_service(before: &Service, after: &Service) -> bool {
    (before.id, before.scheduler) == (after.id, after.scheduler)
}

/// With the same thresholds, and so with the same mark.
fn same_dest(before: &Dest, after: &Dest) -> bool {
    let about = |d: &Dest| (d.addr, d.port, d.service, d.upper, d.lower);
    about(before) == about(after)
}

/// Whether a value of the old tables is to be written. `written`: what was the last time, if there was one; `now`: what is there;
/// `same`: it is still about the same thing.
fn comes_over<V: PartialEq>(written: Option<&V>, now: &V, old: &V, same: bool) -> bool {
    match written {
        None => true,
        Some(written) => same && now == written && old != written,
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;

    use super::*;

    #[test]
    fn what_the_configuration_made_something_else_is_not_the_same() {
        let service = Service::zeroed();
        assert!(same_service(
            &service,
            &Service {
                list_len: 3,
                ..service
            }
        ));
        assert!(!same_service(&service, &Service { id: 1, ..service }));
        assert!(!same_service(
            &service,
            &Service {
                scheduler: 1,
                ..service
            }
        ));
        let dest = Dest::zeroed();
        assert!(same_dest(&dest, &Dest { weight: 3, ..dest }));
        for other in [
            Dest { service: 1, ..dest },
            Dest { upper: 1, ..dest },
            Dest { lower: 1, ..dest },
            Dest {
                port: [0, 1],
                ..dest
            },
            Dest {
                addr: ipvs_common::Addr::v4([10, 0, 0, 1]),
                ..dest
            },
        ] {
            assert!(!same_dest(&dest, &other), "{other:?}");
        }
    }

    #[test]
    fn the_first_time_everything_comes_over() {
        assert!(comes_over(None, &0, &5, false));
    }

    #[test]
    fn later_only_what_the_old_program_changed() {
        assert!(comes_over(Some(&5), &5, &6, true));
        assert!(!comes_over(Some(&5), &5, &5, true));
    }

    #[test]
    fn what_the_configuration_changed_meanwhile_stays() {
        // It was reset, or it is about another service now.
        assert!(!comes_over(Some(&5), &0, &6, true));
        assert!(!comes_over(Some(&5), &5, &6, false));
    }
}
