//! The prefixes of match rules in the kernel's trie.

use aya::maps::lpm_trie::Key;
use ipvs_common::{MatchKey, MatchNode, MatchPlace, MatchSlot, maps as names};

use super::{BpfDataplane, Result, absent_is_fine, failed};

const fn to_kernel(key: &MatchKey) -> Key<MatchPlace> {
    Key::new(key.prefix, key.place)
}

fn text(key: &MatchKey) -> String {
    let bits = key.prefix.saturating_sub(MatchKey::HEAD);
    format!("{}, {bits} bits", key.place.addr.ip())
}

impl BpfDataplane {
    pub(super) fn enter_matches(&mut self, nodes: &[(MatchKey, MatchNode)]) -> Result<()> {
        for (key, node) in nodes {
            let put = self.maps.matches.insert(&to_kernel(key), *node, 0);
            put.map_err(failed(names::MATCHES, "update", text(key)))?;
        }
        Ok(())
    }

    pub(super) fn drop_matches(&mut self, keys: &[MatchKey]) -> Result<()> {
        for key in keys {
            let removed = absent_is_fine(self.maps.matches.remove(&to_kernel(key)));
            removed.map_err(failed(names::MATCHES, "delete", text(key)))?;
        }
        Ok(())
    }

    pub(super) fn all_matches(&self) -> Result<Vec<(MatchKey, MatchNode)>> {
        let all = self.maps.matches.iter();
        let all = all.map(|entry| {
            let (key, node) = entry.map_err(failed(names::MATCHES, "read", "all"))?;
            let (prefix, place) = (key.prefix_len(), key.data());
            Ok((MatchKey { prefix, place }, node))
        });
        all.collect()
    }

    pub(super) fn put_slots(&mut self, base: u32, slots: &[MatchSlot]) -> Result<()> {
        let written = self.match_slots.write(base as usize, slots).then_some(());
        written.ok_or_else(|| failed(names::MATCH_SLOTS, "update", base)("no such slots"))
    }

    pub(super) fn slots(&self, base: u32, len: u32) -> Result<Vec<MatchSlot>> {
        let mut slots = vec![MatchSlot::default(); len as usize];
        let read = self.match_slots.read(base as usize, &mut slots);
        let read = read.then_some(slots);
        read.ok_or_else(|| failed(names::MATCH_SLOTS, "lookup", base)("no such slots"))
    }
}
