//! The port ranges of match rules.

use ipvs_common::{MatchSlot, maps};
use ipvs_datapath::host::HostTables;

use super::{super::Result, slot};

pub(super) fn write_slots(t: &mut HostTables, base: u32, slots: &[MatchSlot]) -> Result<()> {
    let from = base as usize;
    let room = t.match_slots.get_mut(from..from + slots.len());
    slot(room, maps::MATCH_SLOTS, "update", base)?.copy_from_slice(slots);
    Ok(())
}

pub(super) fn read_slots(t: &HostTables, base: u32, len: u32) -> Result<Vec<MatchSlot>> {
    let slots = t.match_slots.get(base as usize..(base + len) as usize);
    Ok(slot(slots, maps::MATCH_SLOTS, "lookup", base)?.to_vec())
}
