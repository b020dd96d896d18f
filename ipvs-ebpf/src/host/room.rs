//! Tables that take no more than so many entries.

use std::collections::BTreeMap;

/// False: the key is there and was not to be, or there is no room.
pub(super) fn insert<K: Ord + Copy, V: Copy>(
    map: &mut BTreeMap<K, V>,
    room: u32,
    key: &K,
    value: &V,
    only_new: bool,
) -> bool {
    let there = map.contains_key(key);
    if (there && only_new) || (!there && map.len() >= room as usize) {
        return false;
    }
    map.insert(*key, *value);
    true
}
