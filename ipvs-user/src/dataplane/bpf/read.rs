//! Reads back what the daemon itself wrote, and keeps the ledger: for whoever takes over from another process.

use bytemuck::Zeroable as _;
use ipvs_common::{LblcKey, ListSlot, maps as names};

use super::{BpfDataplane, Cache, Result, batch, failed};
use crate::ledger::{Key, Value};

// SAFETY: `repr(C)`, without padding, any bytes are a value.
unsafe impl aya::Pod for Key {}
// SAFETY: as above.
unsafe impl aya::Pod for Value {}

impl BpfDataplane {
    pub(super) fn cache(&self, cache: Cache) -> Result<Vec<(LblcKey, u64)>> {
        Ok(match cache {
            Cache::Lblc => {
                let entries = self.lblc()?;
                entries.iter().map(|(k, e)| (*k, e.last_use)).collect()
            }
            Cache::Lblcr => {
                let entries = self.lblcr()?;
                entries.iter().map(|(k, e)| (*k, e.last_use)).collect()
            }
        })
    }

    pub(super) fn list(&self, base: u32, len: u32) -> Result<Vec<ListSlot>> {
        let mut list = vec![ListSlot::zeroed(); len as usize];
        let read = self.lists.read(base as usize, &mut list).then_some(list);
        read.ok_or_else(|| failed(names::DEST_LISTS, "lookup", base)("no such slots"))
    }

    pub(super) fn table(&self, base: u32, len: u32) -> Result<Vec<u32>> {
        let mut pairs = vec![[0; 2]; len.div_ceil(2) as usize];
        let read = base.is_multiple_of(2) && self.hash_tables.read(base as usize / 2, &mut pairs);
        let mut table: Vec<u32> = pairs.into_iter().flatten().collect();
        table.truncate(len as usize);
        let read = read.then_some(table);
        read.ok_or_else(|| failed(names::HASH_TABLES, "lookup", base)("no such slots"))
    }

    pub(super) fn note(&mut self, entries: &[(Key, Value)]) -> Result<()> {
        let failed = |e| failed(names::LEDGER, "update", "some")(e);
        if let [(key, value)] = entries {
            return self.ledger.insert(key, value, 0).map_err(failed);
        }
        let (keys, values): (Vec<_>, Vec<_>) = entries.iter().copied().unzip();
        batch::put(&self.ledger, &keys, &values).map_err(failed)
    }

    pub(super) fn forget(&mut self, keys: &[Key]) -> Result<()> {
        for key in keys {
            let removed = super::absent_is_fine(self.ledger.remove(key));
            removed.map_err(failed(names::LEDGER, "delete", "some"))?;
        }
        Ok(())
    }
}
