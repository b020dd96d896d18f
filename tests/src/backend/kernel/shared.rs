//! The kernel's tables for two owners: the director, and the test that moves the clock and looks at them.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ipvs_common::{
    Dest, DestState, Entry, Flow, LblcKey, ListSlot, MatchKey, MatchNode, MatchSlot, Note,
    SchedState, Service, ServiceKey, Settings, Stats, Synced, Template, Tie, maps::Capacities,
};
use ipvs_datapath::conn::expected::Expected;
use ipvs_user::{
    dataplane::{Cache, Dataplane, Place, Result, Stop, Task, bpf::BpfDataplane},
    ledger::{Key, Value},
};

#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<BpfDataplane>>);

impl Shared {
    pub(super) fn new(dataplane: BpfDataplane) -> Self {
        Self(Arc::new(Mutex::new(dataplane)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, BpfDataplane> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

macro_rules! forward {
    ($(fn $name:ident(&self $(, $arg:ident: $t:ty)*) -> $r:ty;)*) => {
        $(fn $name(&self $(, $arg: $t)*) -> $r { self.lock().$name($($arg),*) })*
    };
}

macro_rules! forward_mut {
    ($(fn $name:ident(&mut self $(, $arg:ident: $t:ty)*) -> $r:ty;)*) => {
        $(fn $name(&mut self $(, $arg: $t)*) -> $r { self.lock().$name($($arg),*) })*
    };
}

impl Dataplane for Shared {
    forward! {
        fn capacities(&self) -> Capacities;
        fn hz(&self) -> u32;
        fn now(&self) -> Result<u64>;
        fn dest_state(&self, id: u32) -> Result<DestState>;
        fn dest_stats(&self, id: u32) -> Result<Stats>;
        fn all_dest_stats(&self, count: u32) -> Result<Vec<Stats>>;
        fn sched_state(&self, service: u32) -> Result<SchedState>;
        fn find_established(&self, key: &Flow) -> Result<Option<Entry>>;
        fn find_template(&self, key: &Tie) -> Result<Option<Template>>;
        fn conns(&self) -> Result<Vec<(Flow, Entry)>>;
        fn templates(&self) -> Result<Vec<(Tie, Template)>>;
        fn reasons(&self) -> Result<Vec<u64>>;
        fn settings(&self) -> Result<Settings>;
        fn services(&self) -> Result<Vec<(ServiceKey, Service)>>;
        fn masq_reals(&self) -> Result<Vec<(ServiceKey, u32)>>;
        fn match_nodes(&self) -> Result<Vec<(MatchKey, MatchNode)>>;
        fn read_match_slots(&self, base: u32, len: u32) -> Result<Vec<MatchSlot>>;
        fn link(&self, name: &str) -> Option<u32>;
        fn read_list(&self, base: u32, len: u32) -> Result<Vec<ListSlot>>;
        fn read_table(&self, base: u32, len: u32) -> Result<Vec<u32>>;
        fn dest(&self, id: u32) -> Result<Dest>;
        fn ledger(&self) -> Result<Vec<(Key, Value)>>;
        fn cached(&self, cache: Cache) -> Result<Vec<(LblcKey, u64)>>;
    }
    forward_mut! {
        fn put_settings(&mut self, settings: &Settings) -> Result<()>;
        fn put_service(&mut self, key: &ServiceKey, service: &Service) -> Result<()>;
        fn remove_service(&mut self, key: &ServiceKey) -> Result<()>;
        fn put_masq_real(&mut self, key: &ServiceKey, dest: u32) -> Result<()>;
        fn remove_masq_real(&mut self, key: &ServiceKey) -> Result<()>;
        fn put_match_nodes(&mut self, nodes: &[(MatchKey, MatchNode)]) -> Result<()>;
        fn remove_match_nodes(&mut self, keys: &[MatchKey]) -> Result<()>;
        fn write_match_slots(&mut self, base: u32, slots: &[MatchSlot]) -> Result<()>;
        fn write_list(&mut self, base: u32, list: &[ListSlot]) -> Result<()>;
        fn write_table(&mut self, base: u32, dests: &[u32]) -> Result<()>;
        fn put_dest(&mut self, id: u32, dest: &Dest) -> Result<()>;
        fn clear_dest(&mut self, id: u32) -> Result<()>;
        fn put_sched_state(&mut self, service: u32, state: &SchedState) -> Result<()>;
        fn clear_caches(&mut self, service: u32) -> Result<()>;
        fn clear_caches_of(&mut self, dests: &BTreeSet<u32>) -> Result<()>;
        fn clear_overload(&mut self, id: u32) -> Result<()>;
        fn expect(&mut self, key: &Flow, expected: &Expected) -> Result<bool>;
        fn put_ledger(&mut self, entries: &[(Key, Value)]) -> Result<()>;
        fn remove_ledger(&mut self, keys: &[Key]) -> Result<()>;
        fn sync_notes(&mut self, most: usize) -> Vec<Note>;
        fn sync_connections(&mut self, told: &[(Flow, Synced)]) -> Result<u32>;
        fn sync_templates(&mut self, told: &[(Tie, Synced)]) -> Result<u32>;
        fn remove_cached(&mut self, cache: Cache, keys: &[LblcKey]) -> Result<()>;
        fn walk(&mut self, task: Task<'_>, place: &mut Place, stop: Stop) -> Result<bool>;
    }
}
