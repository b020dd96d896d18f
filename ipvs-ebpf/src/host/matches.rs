//! The trie of the match rules on the host: every shorter prefix is tried.

use std::collections::BTreeMap;

use ipvs_common::{Addr, MatchKey, MatchNode, MatchSlot};

use super::{View, Width};
use crate::tables::Matches;

impl<A: Width> Matches for View<'_, A> {
    fn match_node(&self, key: &MatchKey) -> Option<&MatchNode> {
        longest(&self.0.matches, key)
    }
    fn match_slot(&self, slot: u32) -> Option<&MatchSlot> {
        self.0.match_slots.get(slot as usize)
    }
}

/// The longest prefix around a key.
fn longest<'t>(
    matches: &'t BTreeMap<MatchKey, MatchNode>,
    key: &MatchKey,
) -> Option<&'t MatchNode> {
    let bits = key.prefix.checked_sub(MatchKey::HEAD)?;
    let prefixes = (0..=bits).rev();
    let mut prefixes = prefixes.map(|bits| cut(key, bits));
    prefixes.find_map(|prefix| matches.get(&prefix))
}

/// A key with so many bits of its address.
fn cut(key: &MatchKey, bits: u32) -> MatchKey {
    let all = u128::from_be_bytes(key.place.addr.bytes());
    let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
    let mut key = *key;
    key.prefix = MatchKey::HEAD + bits;
    key.place.addr = Addr::v6((all & mask).to_be_bytes());
    key
}
