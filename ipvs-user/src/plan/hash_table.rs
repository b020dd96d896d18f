//! The tables of the schedulers that hash: which real server stands in which slot, to the slot as in ip_vs.

use ipvs_common::{
    Addr, Address as _, Scheduler,
    hash::{BUCKETS, MAGLEV_OFFSET, MAGLEV_SKIP, siphash13},
};

use crate::model::{RealServer, VirtualService, gcd};

/// A slot without a real server.
const NOBODY: u32 = u32::MAX;

/// What a service's scheduler looks up; empty for one that looks at the list. `maglev` is the size of mh's table, a prime.
#[must_use]
pub fn hash_table(service: &VirtualService, maglev: u32) -> Vec<u32> {
    match service.spec.scheduler {
        Scheduler::Sh => by_weight(&service.dests),
        Scheduler::Mh => permutations(&service.dests, maglev),
        Scheduler::Rr
        | Scheduler::Wlc
        | Scheduler::Lblc
        | Scheduler::Wrr
        | Scheduler::Lc
        | Scheduler::Lblcr
        | Scheduler::Dh
        | Scheduler::Sed
        | Scheduler::Nq
        | Scheduler::Fo
        | Scheduler::Ovf
        | Scheduler::Twos
        | Scheduler::None => Vec::new(),
    }
}

/// sh: each real server as often in a row as it weighs, over and over. One of weight 0 takes a bucket all the same.
fn by_weight(dests: &[RealServer]) -> Vec<u32> {
    let turn = |d: &RealServer| std::iter::repeat_n(d.id, d.spec.weight.max(1) as usize);
    let mut table: Vec<u32> = Vec::new();
    if !dests.is_empty() {
        let turns = dests.iter().cycle().flat_map(turn);
        table.extend(turns.take(BUCKETS as usize));
    }
    table.resize(BUCKETS as usize, NOBODY);
    table
}

/// One real server on its way through mh's table.
struct Walker {
    id: u32,
    /// Slots it takes in a row.
    turns: u32,
    at: u32,
    skip: u32,
}

/// mh: the real servers in turn take the next free slots in an order of their own (Eisenbud et al., "Maglev", NSDI 2016,
/// 3.4), each by the last weight that was not 0.
fn permutations(dests: &[RealServer], size: u32) -> Vec<u32> {
    let mut table = vec![NOBODY; size as usize];
    let mut walkers = walkers(dests, size);
    if walkers.is_empty() {
        return table;
    }
    let mut free = size;
    loop {
        for walker in &mut walkers {
            for _ in 0..walker.turns {
                while table[walker.at as usize] != NOBODY {
                    walker.at = (walker.at + walker.skip) % size;
                }
                table[walker.at as usize] = walker.id;
                free -= 1;
                if free == 0 {
                    return table;
                }
            }
        }
    }
}

fn walkers(dests: &[RealServer], size: u32) -> Vec<Walker> {
    // Half the bits of the table's size: more bits of weight only make the table coarser.
    let precision = (u32::BITS - size.leading_zeros()) / 2;
    let weights = || dests.iter().map(|d| d.last_weight).filter(|w| *w != 0);
    let divisor = weights().fold(0, gcd).max(1);
    let largest = weights().max().unwrap_or(0) / divisor;
    let shift = (u32::BITS - largest.leading_zeros()).saturating_sub(precision);
    let walker = |d: &RealServer| {
        let hash = u32::from(d.key.port).wrapping_add(fold(d.key.addr));
        Walker {
            id: d.id,
            turns: ((d.last_weight / divisor) >> shift).max(1),
            at: siphash13(hash, MAGLEV_OFFSET) % size,
            skip: siphash13(hash, MAGLEV_SKIP) % (size - 1) + 1,
        }
    };
    let with_weight = dests.iter().filter(|d| d.last_weight != 0);
    with_weight.map(walker).collect()
}

/// An address as a number.
fn fold(addr: Addr) -> u32 {
    if addr.is_v4() {
        addr.low4().fold()
    } else {
        addr.fold()
    }
}

#[cfg(test)]
mod tests {
    use ipvs_common::ForwardingMethod;

    use super::*;
    use crate::model::{DestKey, DestSpec};

    /// Slots of a light real server beside one that weighs 200 times as much.
    fn light(size: u32) -> usize {
        let dests = [(0, 200), (1, 1)].map(|(id, weight)| RealServer {
            id,
            key: DestKey {
                addr: Addr::v4([10, 0, 1, id as u8 + 1]),
                port: 80,
            },
            spec: DestSpec::new(ForwardingMethod::Droute, weight),
            last_weight: weight,
        });
        let table = permutations(&dests, size);
        table.iter().filter(|id| **id == 1).count()
    }

    #[test]
    fn larger_tables_tell_weights_apart_more_finely() {
        // 4, 6 and 8 bits of 200 are left: 12, 50 and 200 turns to one.
        assert_eq!(light(251), 251 / 13);
        assert!(light(4093).abs_diff(4093 / 51) <= 1);
        assert!(light(131_071).abs_diff(131_071 / 201) <= 1);
    }
}
