//! `[director]`: table sizes, timeouts, the rate of ICMP errors.

use ipvs_common::maps::Capacities;

use super::{Timeouts, problems::Problems, section::Section};
use crate::timeouts::MAX_SECONDS;

/// Largest table of anything.
const MAX_ENTRIES: u32 = 1 << 26;

/// Index of the smallest table of mh: the power of two above its size.
const FIRST_MH_INDEX: u32 = 8;
/// The largest primes below powers of two.
const MH_SIZES: [u32; 10] = [
    251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131_071,
];

pub(super) struct Director {
    pub(super) capacities: Capacities,
    pub(super) timeouts: Timeouts,
    pub(super) icmp_rate: Option<u32>,
}

pub(super) fn read(root: &Section<'_>, problems: &mut Problems<'_>) -> Director {
    let Some(section) = root.section("director", "[director]", problems) else {
        return Director {
            capacities: Capacities::DEFAULT,
            timeouts: Timeouts::default(),
            icmp_rate: None,
        };
    };
    section.only_known(
        &[
            "services",
            "real_servers",
            "list_slots",
            "table_slots",
            "mh_table_index",
            "connections",
            "half_open",
            "templates",
            "connections6",
            "half_open6",
            "templates6",
            "lblc",
            "lblcr",
            "match_slots",
            "icmp_rate",
            "timeouts",
        ],
        problems,
    );
    Director {
        capacities: capacities(&section, problems),
        timeouts: timeouts(&section, problems),
        icmp_rate: section
            .integer("icmp_rate", 0..=u32::MAX, problems)
            .map(|f| f.value),
    }
}

fn capacities(section: &Section<'_>, problems: &mut Problems<'_>) -> Capacities {
    let mut size = |key: &str, default: u32| {
        let found = section.integer(key, 1..=MAX_ENTRIES, problems);
        found.map_or(default, |f| f.value)
    };
    let default = Capacities::DEFAULT;
    let capacities = Capacities {
        services: size("services", default.services),
        dests: size("real_servers", default.dests),
        list_slots: size("list_slots", default.list_slots),
        table_slots: size("table_slots", default.table_slots),
        conns: size("connections", default.conns),
        half_open: size("half_open", default.half_open),
        templates: size("templates", default.templates),
        conns6: size("connections6", default.conns6),
        half_open6: size("half_open6", default.half_open6),
        templates6: size("templates6", default.templates6),
        lblc: size("lblc", default.lblc),
        lblcr: size("lblcr", default.lblcr),
        match_slots: size("match_slots", default.match_slots),
        maglev: maglev(section, problems),
    };
    for (key, size) in [
        ("half_open", capacities.half_open),
        ("half_open6", capacities.half_open6),
    ] {
        if let (false, Some(value)) = (size.is_power_of_two(), section.get(key)) {
            let near = size.next_power_of_two();
            let message = format!("{key} = {size} is no power of two");
            problems.report(value.span(), message, format!("write {key} = {near}"));
        }
    }
    capacities
}

/// Size of mh's tables by its index, as ip_vs is configured with.
fn maglev(section: &Section<'_>, problems: &mut Problems<'_>) -> u32 {
    let last = FIRST_MH_INDEX + MH_SIZES.len() as u32 - 1;
    let found = section.integer("mh_table_index", FIRST_MH_INDEX..=last, problems);
    let size = found.and_then(|f| MH_SIZES.get((f.value - FIRST_MH_INDEX) as usize));
    size.copied().unwrap_or(Capacities::DEFAULT.maglev)
}

fn timeouts(section: &Section<'_>, problems: &mut Problems<'_>) -> Timeouts {
    let Some(section) = section.section("timeouts", "[director.timeouts]", problems) else {
        return Timeouts::default();
    };
    section.only_known(&["tcp", "tcp_fin", "udp"], problems);
    let mut seconds = |key| {
        let found = section.integer(key, 1..=MAX_SECONDS, problems);
        found.map(|f| f.value)
    };
    Timeouts {
        tcp: seconds("tcp"),
        tcp_fin: seconds("tcp_fin"),
        udp: seconds("udp"),
    }
}
