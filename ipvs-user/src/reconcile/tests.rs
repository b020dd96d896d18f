//! Random changes over a dataplane that checks every step, and fails at any of them.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use ipvs_common::{
    Addr, Dest, DestFlags, DestState, Entry, Flow, ForwardingMethod, LblcKey, ListSlot, MatchKey,
    MatchNode, MatchSlot, Note, SchedState, Scheduler, Service, ServiceKey, Settings, Stats,
    Synced, Template, Tie, maps::Capacities,
};
use ipvs_datapath::{conn::expected::Expected, host::HostTables};
use proptest::prelude::*;

use crate::{
    dataplane::{Cache, Dataplane, Place, Result, Stop, TableError, Task, host::HostDataplane},
    director::Director,
    ledger::{Key, Value},
    model::{Command, DestKey, DestSpec, ServiceSpec, tests::any_command},
    plan,
};

mod crash;

const CAPACITIES: Capacities = Capacities {
    services: 3,
    dests: 12,
    list_slots: 4096,
    table_slots: 1 << 15,
    conns: 8,
    half_open: 8,
    conns6: 8,
    half_open6: 8,
    templates6: 8,
    templates: 8,
    lblc: 8,
    lblcr: 8,
    maglev: 251,
    match_slots: 4096,
};

/// Looks after each write whether a packet at this moment would find everything it is pointed at.
struct Watched {
    inner: HostDataplane,
    tables: Arc<Mutex<HostTables>>,
    /// Writes until one fails.
    fuse: Fuse,
    /// With the first one that fails all others do: the process is no more.
    dies: bool,
}

impl Watched {
    fn may_write(&self) -> Result<()> {
        let mut fuse = self.fuse.lock().unwrap();
        match &mut *fuse {
            Some(0) => {
                if !self.dies {
                    *fuse = None;
                }
                Err(TableError {
                    map: "TEST",
                    operation: "update",
                    key: String::new(),
                    source: "fuse blown".into(),
                })
            }
            Some(n) => {
                *n -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn check(&self) {
        let t = self.tables.lock().unwrap();
        for (key, service) in &t.services {
            let from = service.list_base as usize;
            for &ListSlot { dest: id, .. } in &t.lists[from..from + service.list_len as usize] {
                let dest = &t.dests[id as usize];
                assert_ne!(
                    dest.flags & DestFlags::AVAILABLE,
                    0,
                    "{key:?} lists deleted real server {id}"
                );
                assert_eq!(
                    dest.service, service.id,
                    "{key:?} lists another's real server {id}"
                );
            }
        }
    }
}

macro_rules! watched {
    ($($name:ident($($arg:ident: $t:ty),*);)*) => { $(
        fn $name(&mut self, $($arg: $t),*) -> Result<()> {
            self.may_write()?;
            self.inner.$name($($arg),*)?;
            self.check();
            Ok(())
        }
    )* };
}

macro_rules! passed_on {
    ($($name:ident($($arg:ident: $t:ty),*) -> $r:ty;)*) => { $(
        fn $name(&self, $($arg: $t),*) -> $r {
            self.inner.$name($($arg),*)
        }
    )* };
}

impl Dataplane for Watched {
    watched! {
        put_settings(settings: &Settings);
        put_service(key: &ServiceKey, service: &Service);
        remove_service(key: &ServiceKey);
        write_list(base: u32, list: &[ListSlot]);
        write_table(base: u32, dests: &[u32]);
        put_dest(id: u32, dest: &Dest);
        clear_dest(id: u32);
        put_sched_state(service: u32, state: &SchedState);
        write_match_slots(base: u32, slots: &[MatchSlot]);
        clear_caches(service: u32);
        clear_caches_of(dests: &BTreeSet<u32>);
        remove_cached(cache: Cache, keys: &[LblcKey]);
        clear_overload(id: u32);
    }

    /// A process may die between two entries.
    fn put_ledger(&mut self, entries: &[(Key, Value)]) -> Result<()> {
        let each = if self.dies { 1 } else { entries.len().max(1) };
        for entries in entries.chunks(each) {
            self.may_write()?;
            self.inner.put_ledger(entries)?;
        }
        Ok(())
    }

    fn put_match_nodes(&mut self, nodes: &[(MatchKey, MatchNode)]) -> Result<()> {
        for node in nodes {
            self.may_write()?;
            self.inner.put_match_nodes(&[*node])?;
        }
        Ok(())
    }

    fn remove_match_nodes(&mut self, keys: &[MatchKey]) -> Result<()> {
        for key in keys {
            self.may_write()?;
            self.inner.remove_match_nodes(&[*key])?;
        }
        Ok(())
    }

    fn remove_ledger(&mut self, keys: &[Key]) -> Result<()> {
        let each = if self.dies { 1 } else { keys.len().max(1) };
        for keys in keys.chunks(each) {
            self.may_write()?;
            self.inner.remove_ledger(keys)?;
        }
        Ok(())
    }

    fn put_masq_real(&mut self, key: &ServiceKey, dest: u32) -> Result<()> {
        self.inner.put_masq_real(key, dest)
    }

    fn remove_masq_real(&mut self, key: &ServiceKey) -> Result<()> {
        self.inner.remove_masq_real(key)
    }

    fn expect(&mut self, key: &Flow, expected: &Expected) -> Result<bool> {
        self.inner.expect(key, expected)
    }

    fn sync_notes(&mut self, most: usize) -> Vec<Note> {
        self.inner.sync_notes(most)
    }

    fn sync_connections(&mut self, told: &[(Flow, Synced)]) -> Result<u32> {
        self.inner.sync_connections(told)
    }

    fn sync_templates(&mut self, told: &[(Tie, Synced)]) -> Result<u32> {
        self.inner.sync_templates(told)
    }

    fn walk(&mut self, task: Task<'_>, place: &mut Place, stop: Stop) -> Result<bool> {
        self.inner.walk(task, place, stop)
    }

    passed_on! {
        capacities() -> Capacities;
        hz() -> u32;
        now() -> Result<u64>;
        dest_state(id: u32) -> Result<DestState>;
        dest_stats(id: u32) -> Result<Stats>;
        all_dest_stats(count: u32) -> Result<Vec<Stats>>;
        sched_state(service: u32) -> Result<SchedState>;
        cached(cache: Cache) -> Result<Vec<(LblcKey, u64)>>;
        find_established(key: &Flow) -> Result<Option<Entry>>;
        find_template(key: &Tie) -> Result<Option<Template>>;
        conns() -> Result<Vec<(Flow, Entry)>>;
        templates() -> Result<Vec<(Tie, Template)>>;
        reasons() -> Result<Vec<u64>>;
        settings() -> Result<Settings>;
        services() -> Result<Vec<(ServiceKey, Service)>>;
        masq_reals() -> Result<Vec<(ServiceKey, u32)>>;
        match_nodes() -> Result<Vec<(MatchKey, MatchNode)>>;
        read_match_slots(base: u32, len: u32) -> Result<Vec<MatchSlot>>;
        link(name: &str) -> Option<u32>;
        read_list(base: u32, len: u32) -> Result<Vec<ListSlot>>;
        read_table(base: u32, len: u32) -> Result<Vec<u32>>;
        dest(id: u32) -> Result<Dest>;
        ledger() -> Result<Vec<(Key, Value)>>;
    }
}

/// What packets can see: services with the real servers they list, scheduler memory, flags.
fn visible(t: &HostTables) -> impl PartialEq + std::fmt::Debug + use<> {
    let services: Vec<_> = t
        .services
        .iter()
        .map(|(key, s)| {
            let from = s.list_base as usize;
            let list = &t.lists[from..from + s.list_len as usize];
            let dests: Vec<_> = list
                .iter()
                .map(|&slot| {
                    let id = slot.dest as usize;
                    (slot, t.dests[id], t.dest_states[id])
                })
                .collect();
            (*key, *s, dests, t.sched_states[s.id as usize])
        })
        .collect();
    let retired: Vec<_> = t.dests.iter().map(|d| d.flags).collect();
    (services, retired, t.settings, rules_in_force(t))
}

/// Prefixes with their port ranges, whatever number and place they have.
fn rules_in_force(t: &HostTables) -> Vec<(MatchKey, [Vec<MatchSlot>; 2])> {
    let set = t.settings.match_set;
    let ours = t.matches.iter();
    let ours = ours.filter(|(key, _)| set != 0 && key.place.set() == set);
    let run = |base, len| t.match_slots[base as usize..(base + len) as usize].to_vec();
    let each = ours.map(|(key, n)| {
        let mut key = *key;
        key.place.domain &= 0xffff;
        (
            key,
            [run(n.tcp_base, n.tcp_len), run(n.udp_base, n.udp_len)],
        )
    });
    each.collect()
}

type Fuse = Arc<Mutex<Option<u32>>>;

#[expect(
    clippy::unnecessary_wraps,
    reason = "the signature of a source is given"
)]
fn source(to: Addr) -> Option<Addr> {
    Some(Addr::v4([10, 0, 0, 254 - (to.low4()[3] % 2)]))
}

fn watched_director() -> (Director, Arc<Mutex<HostTables>>, Fuse) {
    let tables = Arc::new(Mutex::new(HostTables::new(CAPACITIES, 100)));
    let fuse = Fuse::default();
    let watched = Watched {
        inner: HostDataplane::new(Arc::clone(&tables)),
        tables: Arc::clone(&tables),
        fuse: Arc::clone(&fuse),
        dies: false,
    };
    let director = Director::new(Box::new(watched), Box::new(source)).unwrap();
    (director, tables, fuse)
}

/// The tables hold what the model says.
fn check_against_model(d: &Director, t: &HostTables) {
    assert_eq!(t.services.len(), d.model().services().count());
    for s in d.model().services() {
        let stored = t.services[&s.key];
        let from = stored.list_base as usize;
        let list = &t.lists[from..from + stored.list_len as usize];
        let slots = s.dests.iter().map(|d| ListSlot {
            dest: d.id,
            weight: d.spec.weight,
        });
        assert!(list.iter().copied().eq(slots));
        for (position, real) in (0..).zip(&s.dests) {
            let dest = &t.dests[real.id as usize];
            assert_eq!((dest.position, dest.weight), (position, real.spec.weight));
        }
    }
    let rules = d.model().matches();
    let planned = plan::matches(rules, 1, &|name| t.links.get(name).copied());
    let fresh = HostTables {
        settings: Settings {
            match_set: u32::from(!rules.is_empty()),
            ..t.settings
        },
        matches: planned.nodes.into_iter().collect(),
        match_slots: planned.slots,
        ..t.clone()
    };
    assert_eq!(rules_in_force(t), rules_in_force(&fresh));
    for (_, gone) in d.model().trash() {
        let flags = t.dests[gone.dest.id as usize].flags;
        assert_eq!(flags & DestFlags::AVAILABLE, 0);
    }
}

/// Commands and, for some of them, the write that fails.
fn batches() -> impl Strategy<Value = Vec<(Vec<Command>, Option<u32>)>> {
    let commands = proptest::collection::vec(any_command(), 1..6);
    proptest::collection::vec((commands, proptest::option::weighted(0.3, 0..12u32)), 1..25)
}

proptest! {
    #[test]
    fn every_change_is_whole_or_not_at_all(batches in batches()) {
        let (mut director, tables, fuse) = watched_director();
        for (commands, fail_at) in batches {
            // A batch must stay possible: leave out what the rules refuse.
            let mut model = director.model().clone();
            let commands: Vec<_> = commands.into_iter().filter(|c| model.apply(c).is_ok()).collect();
            let before = visible(&tables.lock().unwrap());
            let known = director.model().clone();
            *fuse.lock().unwrap() = fail_at;
            let done = director.execute_all(&commands);
            let blown = fail_at.is_some() && fuse.lock().unwrap().take().is_none();
            prop_assert_eq!(done.is_err(), blown);
            if done.is_err() {
                prop_assert_eq!(director.model(), &known);
                prop_assert_eq!(visible(&tables.lock().unwrap()), before);
            }
            check_against_model(&director, &tables.lock().unwrap());
            tables.lock().unwrap().clock += 40;
        }
    }
}

#[test]
fn a_list_that_fits_nowhere_changes_nothing() {
    let (mut director, tables, _) = watched_director();
    let service = ServiceKey::fwmark(1);
    let dest = |n: u8| DestKey {
        addr: Addr::v4([10, 0, 0, n]),
        port: 0,
    };
    let add = |n| Command::AddDest {
        service,
        dest: dest(n),
        spec: DestSpec::new(ForwardingMethod::Masq, 1),
    };
    let replace = |n, by| {
        let dest = dest(n);
        [Command::DeleteDest { service, dest }, add(by)]
    };
    let spec = ServiceSpec::new(Scheduler::Rr);
    let new = Command::AddService { service, spec };
    director.execute_all(&[new, add(1)]).unwrap();

    // Every change takes a new list; while the clock stands, none of the old ones is free again.
    let mut rounds = (0..CAPACITIES.list_slots).map(|round| match round % 2 {
        0 => replace(1, 2),
        _ => replace(2, 1),
    });
    let refused = rounds.find_map(|r| Some((director.execute_all(&r).err()?, r)));
    let (error, round) = refused.unwrap();
    assert!(error.to_string().contains("1 slots in a row"), "{error}");
    check_against_model(&director, &tables.lock().unwrap());

    tables.lock().unwrap().clock += 101;
    director.execute_all(&round).unwrap();
}

#[test]
fn a_full_table_takes_a_service_in_the_place_of_another() {
    let (mut director, tables, _) = watched_director();
    let spec = ServiceSpec::new(Scheduler::Rr);
    let add = |mark| Command::AddService {
        service: ServiceKey::fwmark(mark),
        spec,
    };
    let full: Vec<_> = (1..=CAPACITIES.services).map(add).collect();
    director.execute_all(&full).unwrap();
    let service = ServiceKey::fwmark(2);
    let exchange = [Command::DeleteService { service }, add(9)];
    director.execute_all(&exchange).unwrap();
    check_against_model(&director, &tables.lock().unwrap());
}
