//! The counters of reasons under names that another version knows them by: the kind, and the name within it.

use ipvs_common::{DropReason, Event, PassReason, reason};

/// By slot; empty where there is none.
#[must_use]
pub fn names() -> Vec<String> {
    let mut names = vec![String::new(); reason::SLOTS as usize];
    let pass = PassReason::ALL.iter();
    let pass = pass.map(|r| (r.slot(), PassReason::KIND, r.name()));
    let drop = DropReason::ALL.iter();
    let drop = drop.map(|r| (r.slot(), DropReason::KIND, r.name()));
    let event = Event::ALL.iter();
    let event = event.map(|r| (r.slot(), Event::KIND, r.name()));
    for (slot, kind, name) in pass.chain(drop).chain(event) {
        if let Some(place) = names.get_mut(slot as usize) {
            *place = format!("{kind} {name}");
        }
    }
    names
}
