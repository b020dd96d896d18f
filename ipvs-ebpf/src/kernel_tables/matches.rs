//! The match rules over the BPF maps.

use aya_ebpf::maps::lpm_trie::Key;
use ipvs_common::{MatchKey, MatchNode, MatchSlot};
use ipvs_datapath::tables::Matches;

use super::{Family, Maps};
use crate::maps::{MATCH_SLOTS, MATCHES};

impl<A: Family> Matches for Maps<A> {
    #[inline(always)]
    fn match_node(&self, key: &MatchKey) -> Option<&MatchNode> {
        MATCHES.get(Key::new(key.prefix, key.place))
    }
    #[inline(always)]
    fn match_slot(&self, slot: u32) -> Option<&MatchSlot> {
        MATCH_SLOTS.get(slot)
    }
}
