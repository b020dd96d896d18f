//! dh, sh and mh with tables that are filled anew for every choice.

use std::{
    hash::{DefaultHasher, Hasher as _},
    net::{Ipv4Addr, SocketAddrV4},
};

use ipvs_common::{
    ServiceFlags,
    hash::{MAGLEV_OFFSET, MAGLEV_SKIP, siphash13},
    maps::Capacities,
};

use super::reals::Reals;

const BUCKETS: usize = 256;
const SLOTS: u64 = Capacities::SMALL.maglev as u64;
/// 2^32 over the golden ratio, as the kernel rounds it.
const GOLDEN: u64 = 0x61c8_8647;

/// The bucket of a number: the upper byte of 32 bits.
const fn bucket(v: u32) -> usize {
    (v as u64 * GOLDEN % (1 << 32) / (1 << 24)) as usize
}

fn if_usable(reals: &Reals, real: usize) -> Option<usize> {
    reals.all[real].usable().then_some(real)
}

pub(crate) fn dh(reals: &Reals, to: Ipv4Addr) -> Option<usize> {
    let table: Vec<_> = reals.list.iter().cycle().take(BUCKETS).collect();
    if_usable(reals, **table.get(bucket(to.to_bits()))?)
}

/// What of a client is hashed.
fn number(client: SocketAddrV4, flags: u8) -> u32 {
    let port = if flags & ServiceFlags::PORT == 0 {
        0
    } else {
        u32::from(client.port())
    };
    client.ip().to_bits().wrapping_add(port)
}

pub(crate) fn sh(reals: &Reals, client: SocketAddrV4, flags: u8) -> Option<usize> {
    let turn = |n: &usize| vec![*n; reals.all[*n].spec.weight.max(1) as usize];
    let table: Vec<_> = reals
        .list
        .iter()
        .cycle()
        .flat_map(turn)
        .take(BUCKETS)
        .collect();
    let first = bucket(number(client, flags));
    let tries = if flags & ServiceFlags::FALLBACK == 0 {
        vec![first]
    } else {
        let next = |offset| (first + (offset + first) % BUCKETS) % BUCKETS;
        [first].into_iter().chain((0..BUCKETS).map(next)).collect()
    };
    let chosen = tries.into_iter().map(|at| table.get(at).copied());
    chosen.flatten().find_map(|n| if_usable(reals, n))
}

fn offset(v: u32) -> u64 {
    u64::from(siphash13(v, MAGLEV_OFFSET)) % SLOTS
}

/// mh's table; nobody where there are no weights.
pub(crate) fn slots(reals: &Reals) -> Vec<Option<usize>> {
    let weights: Vec<_> = reals
        .list
        .iter()
        .map(|n| (*n, reals.all[*n].last_weight))
        .collect();
    let weights: Vec<_> = weights.into_iter().filter(|(_, w)| *w != 0).collect();
    let mut table = vec![None; SLOTS as usize];
    let Some(most) = weights.iter().map(|(_, w)| *w).max() else {
        return table;
    };
    let common = (1..=most)
        .rev()
        .find(|d| weights.iter().all(|(_, w)| w % d == 0));
    let common = common.unwrap_or(1);
    // Turns of six bits at most.
    let mut halvings = 0;
    while most / common >> halvings >= 64 {
        halvings += 1;
    }
    let mut tried = vec![0; weights.len()];
    let mut left = SLOTS;
    loop {
        for (place, (n, weight)) in weights.iter().enumerate() {
            let addr = reals.all[*n].addr;
            let v = addr.ip().to_bits().wrapping_add(u32::from(addr.port()));
            let skip = u64::from(siphash13(v, MAGLEV_SKIP)) % (SLOTS - 1) + 1;
            for _ in 0..(weight / common >> halvings).max(1) {
                let slot = loop {
                    let at = (offset(v) + tried[place] * skip) % SLOTS;
                    tried[place] += 1;
                    if table[at as usize].is_none() {
                        break at;
                    }
                };
                table[slot as usize] = Some(*n);
                left -= 1;
                if left == 0 {
                    return table;
                }
            }
        }
    }
}

pub(crate) fn mh(reals: &Reals, client: SocketAddrV4, flags: u8) -> Option<usize> {
    let table = slots(reals);
    let client = number(client, flags);
    let first = offset(client);
    let usable = |at: u64| table[at as usize].and_then(|n| if_usable(reals, n));
    if flags & ServiceFlags::FALLBACK == 0 {
        return usable(first);
    }
    let again = |i| offset(((i + first) % SLOTS) as u32 + client);
    usable(first).or_else(|| (0..SLOTS).map(again).find_map(usable))
}

/// The standard library's hasher is the same function, under a key of zeros.
#[test]
fn siphash_is_what_others_take_for_it() {
    for word in [0, 1, 0x0a00_010a, 0xdead_beef, u32::MAX] {
        let mut hasher = DefaultHasher::new();
        hasher.write(&word.to_le_bytes());
        assert_eq!(siphash13(word, 0), hasher.finish() as u32, "{word:#x}");
    }
}
