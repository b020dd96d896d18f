//! Space for lists: nothing overlaps, nothing is lost, nothing is used again too early.

use proptest::prelude::*;

use super::{Block, ListSpace};

const SLOTS: u32 = 64;
const HOLD: u64 = 10;

#[test]
fn a_released_block_rests_before_it_is_used_again() {
    let mut space = ListSpace::new(SLOTS, HOLD);
    let all = space.take(SLOTS, 0).unwrap();
    space.release(all, 5);
    assert_eq!(space.take(1, 14), None);
    assert_eq!(space.take(1, 15), Some(Block { base: 0, len: 1 }));
}

#[test]
fn an_empty_list_takes_no_room() {
    let mut space = ListSpace::new(0, HOLD);
    assert_eq!(space.take(0, 0), Some(Block::default()));
    space.release(Block::default(), 0);
    space.give_back(Block::default());
    assert_eq!(space.free_slots(), 0);
}

proptest! {
    #[test]
    fn blocks_never_overlap_and_no_slot_is_lost(
        steps in proptest::collection::vec((0..20u32, any::<bool>(), 0..8u64), 1..200),
    ) {
        let mut space = ListSpace::new(SLOTS, HOLD);
        let mut held: Vec<Block> = Vec::new();
        let mut now = 0;
        for (len, take, pause) in steps {
            now += pause;
            if take {
                held.extend(space.take(len, now));
            } else if !held.is_empty() {
                space.release(held.remove(len as usize % held.len()), now);
            }
            let mut used = [false; SLOTS as usize];
            for slot in held.iter().flat_map(|b| b.base..b.base + b.len) {
                prop_assert!(!std::mem::replace(&mut used[slot as usize], true));
            }
        }
        for block in held {
            space.release(block, now);
        }
        space.end_quarantine(now + HOLD);
        prop_assert_eq!(space.free_slots(), SLOTS);
        prop_assert_eq!(space.take(SLOTS, now + HOLD), Some(Block { base: 0, len: SLOTS }));
    }
}
