//! The ageing of tables in the kernel: their memory, walks in parts, and four million connections. Needs root.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::Result;
use aya::util::KernelVersion;
use ipvs_common::{
    Conn, ConnFlags, Dest, DestFlags, Entry, Event, Flow, Settings, State,
    maps::{self, Capacities},
};
use ipvs_tests::bench::ageing::entries;
use ipvs_user::dataplane::{
    Dataplane as _, Place, Stop, Task,
    bpf::{BpfDataplane, Clock, OBJECT},
};

const NOW: u64 = 1_000_000;
/// In manual time.
const HZ: u64 = 1000;
/// One read of the table, and then a pause.
const STEP: Stop = Stop::After(Duration::ZERO);

fn load(capacities: Capacities) -> Result<BpfDataplane> {
    let mut dataplane = BpfDataplane::load_with(OBJECT, capacities, Clock::Manual)?;
    dataplane.set_clock(NOW)?;
    let settings = Settings::with_hz(dataplane.hz());
    dataplane.put_settings(&settings)?;
    Ok(dataplane)
}

fn fill(
    dataplane: &mut BpfDataplane,
    connections: u32,
    masq: bool,
    change: impl Fn(&mut Conn),
) -> Result<()> {
    let mut start = 0;
    while start < connections {
        let end = connections.min(start + 8192);
        let (keys, mut conns) = entries(start..end, masq, |n| NOW + u64::from(n % 2) * HZ + HZ);
        conns.iter_mut().for_each(&change);
        dataplane.enter(&keys, &conns)?;
        start = end;
    }
    Ok(())
}

fn count(dataplane: &BpfDataplane, event: Event) -> Result<u64> {
    Ok(dataplane.reasons()?[event.slot() as usize])
}

#[test]
fn the_kernel_charges_what_was_expected() {
    // Before 6.4 a map tells its largest contents, whatever it takes.
    let kernel = KernelVersion::current().unwrap();
    if kernel < KernelVersion::new(6, 4, 0) {
        return;
    }
    for capacities in [Capacities::SMALL, Capacities::DEFAULT] {
        let dataplane = load(capacities).unwrap();
        let need = dataplane.need();
        let (mut charged, mut expected) = (0, 0);
        for (name, bytes) in dataplane.memory() {
            // The one that grows with its entries.
            if name == maps::SERVICES {
                continue;
            }
            let (_, estimate) = *need.maps.iter().find(|(n, _)| *n == name).unwrap();
            // What the kernel keeps of each map itself weighs on small ones.
            let slack = bytes / 50 + 16384;
            assert!(
                bytes.abs_diff(estimate) <= slack,
                "{name}: {bytes}, not {estimate}"
            );
            (charged, expected) = (charged + bytes, expected + estimate);
        }
        assert!(
            charged.abs_diff(expected) <= charged / 50,
            "{charged}, not {expected}"
        );
    }
}

#[test]
fn what_the_machine_cannot_hold_is_refused_before_it_is_made() {
    let start = Instant::now();
    let refused = load(Capacities {
        conns: 1 << 30,
        ..Capacities::DEFAULT
    });
    let refusal = refused.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(refusal.contains("lower `connections`"), "{refusal}");
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_walk_in_parts_finds_everything_that_is_due() {
    for masq in [false, true] {
        let mut dataplane = load(Capacities::SMALL).unwrap();
        fill(&mut dataplane, 20_000, masq, |_| {}).unwrap();
        dataplane.set_clock(NOW + HZ).unwrap();
        let (mut place, mut parts) = (Place::default(), 1);
        while !dataplane.walk(Task::Expire, &mut place, STEP).unwrap() {
            parts += 1;
        }
        assert!(parts > 20, "{parts} parts");
        assert_eq!(count(&dataplane, Event::Expired).unwrap(), 10_000);
        let left = dataplane.established().unwrap();
        assert_eq!(left.len(), if masq { 20_000 } else { 10_000 });
        assert!(left.iter().all(|(_, c)| c.expires > NOW + HZ));
    }
}

#[test]
fn a_reply_entry_that_lost_its_other_half_ends_in_a_later_walk() {
    let mut dataplane = load(Capacities::SMALL).unwrap();
    let (keys, conns) = entries(0..1, true, |_| NOW);
    dataplane.enter(&keys[1..], &conns[1..]).unwrap();
    let mut place = Place::default();
    for _ in 0..16 {
        while !dataplane.walk(Task::Expire, &mut place, STEP).unwrap() {}
    }
    assert!(dataplane.established().unwrap().is_empty());
}

#[test]
fn connections_of_deleted_real_servers_end_and_no_others() {
    let mut dataplane = load(Capacities::SMALL).unwrap();
    let there = Dest {
        flags: DestFlags::AVAILABLE,
        ..Dest::default()
    };
    dataplane.put_dest(0, &there).unwrap();
    dataplane.put_dest(1, &Dest::default()).unwrap();
    fill(&mut dataplane, 1000, true, |conn| conn.dest = conn.seq % 3).unwrap();
    // Of those asked for, one is there; and a third is gone, but nobody asked for it.
    dataplane
        .end_connections_of(&BTreeSet::from([0, 1]))
        .unwrap();
    assert_eq!(count(&dataplane, Event::DestGoneEnded).unwrap(), 333);
    let left = dataplane.established().unwrap();
    assert_eq!(left.len(), 2 * 667);
    assert!(left.iter().all(|(_, c)| c.dest != 1));
}

#[test]
fn the_defence_takes_one_part_of_the_table_after_the_other() {
    let mut dataplane = load(Capacities::SMALL).unwrap();
    let opening = |conn: &mut Conn| conn.status.state = State::SynRecv as u8;
    fill(&mut dataplane, 20_000, false, opening).unwrap();
    let (mut place, mut dropped, mut most) = (Place::default(), 0, 0);
    for _ in 0..64 {
        let mut pick = |_: &Flow, conn: &Entry| conn.status.flags & ConnFlags::REPLY == 0;
        let task = Task::Drop(&mut pick);
        dataplane.walk(task, &mut place, Stop::Part(32)).unwrap();
        let now = count(&dataplane, Event::DroppedEntry).unwrap();
        most = most.max(now - dropped);
        dropped = now;
    }
    assert_eq!(dropped, 20_000);
    assert!(most < 2 * 20_000 / 32 + 512, "{most} at once");
}

#[test]
fn the_defence_spares_what_was_used_a_moment_ago() {
    let mut dataplane = load(Capacities::SMALL).unwrap();
    let idle = |conn: &mut Conn| {
        conn.expires = NOW + 900 * HZ - if conn.seq < 50 { 30 } else { 70 } * HZ;
    };
    fill(&mut dataplane, 100, true, idle).unwrap();
    let mut pick = |_: &Flow, _: &Entry| true;
    let task = Task::Drop(&mut pick);
    dataplane
        .walk(task, &mut Place::default(), Stop::Never)
        .unwrap();
    assert_eq!(count(&dataplane, Event::DroppedEntry).unwrap(), 50);
    assert_eq!(dataplane.established().unwrap().len(), 100);
}

#[test]
fn four_million_connections_fit_and_age() {
    const CONNECTIONS: u32 = 4 << 20;
    const SLICE: Duration = Duration::from_millis(10);
    let start = Instant::now();
    let mut dataplane = load(Capacities {
        conns: CONNECTIONS,
        ..Capacities::DEFAULT
    })
    .unwrap();
    fill(&mut dataplane, CONNECTIONS, true, |_| {}).unwrap();
    let mut place = Place::default();
    let mut longest = Duration::ZERO;
    for (clock, ended) in [
        (NOW, 0),
        (NOW + HZ, CONNECTIONS / 2),
        (NOW + 2 * HZ, CONNECTIONS),
    ] {
        dataplane.set_clock(clock).unwrap();
        loop {
            let slice = Instant::now();
            let around = dataplane.walk(Task::Expire, &mut place, Stop::After(SLICE));
            longest = longest.max(slice.elapsed());
            if around.unwrap() {
                break;
            }
        }
        assert_eq!(count(&dataplane, Event::Expired).unwrap(), u64::from(ended));
    }
    assert!(dataplane.established().unwrap().is_empty());
    println!("longest slice {longest:?}, {:?} in all", start.elapsed());
    // A busy machine may take its time; a walk that does not stop would take many seconds.
    assert!(longest < Duration::from_secs(1), "{longest:?}");
}
