//! What the rest of the daemon may ask of a datapath, whichever it is: the kernel's maps, or the same tables on the host.
//!
//! Here connections of both families have one form, whose addresses have room for either. No packet carries an IPv4 address in
//! that form (they are left to the stack), so the two cannot be taken for each other.
//!
//! Knows the shared map types; knows nothing of aya, of the model, or of how a table is stored.

pub mod bpf;
pub mod host;
pub mod unpack;
mod walk;

pub use walk::{Cache, Pick, Place, See, Seen, Stop, Task};

use std::collections::BTreeSet;

use ipvs_common::{
    Dest, DestState, Entry, Flow, LblcKey, ListSlot, MatchKey, MatchNode, MatchSlot, Note,
    SchedState, Service, ServiceKey, Settings, Stats, Synced, Template, Tie, maps::Capacities,
};
use ipvs_datapath::conn::expected::Expected;

use crate::{carries::Carries, ledger};

/// A table refused an operation.
#[derive(Debug, thiserror::Error)]
#[error("map {map}: {operation} {key}: {source}")]
pub struct TableError {
    /// Name of the map ([`ipvs_common::maps`]).
    pub map: &'static str,
    /// "update", "delete", "lookup", …
    pub operation: &'static str,
    /// The key, for a person.
    pub key: String,
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

pub type Result<T> = std::result::Result<T, TableError>;

/// The tables of a running datapath.
pub trait Dataplane: Send {
    fn capacities(&self) -> Capacities;
    /// What its packets can be told.
    fn carries(&self) -> Carries {
        Carries::DATAPATH
    }

    /// Ticks in a second of the clock that deadlines are in.
    fn hz(&self) -> u32;
    /// The clock, in ticks.
    fn now(&self) -> Result<u64>;

    fn put_settings(&mut self, settings: &Settings) -> Result<()>;

    fn put_service(&mut self, key: &ServiceKey, service: &Service) -> Result<()>;
    /// Removing what is not there is no error.
    fn remove_service(&mut self, key: &ServiceKey) -> Result<()>;
    /// Enters a masqueraded real server that is told of packets in no connection, under its address and port.
    fn put_masq_real(&mut self, key: &ServiceKey, dest: u32) -> Result<()>;
    /// Removing what is not there is no error.
    fn remove_masq_real(&mut self, key: &ServiceKey) -> Result<()>;
    fn masq_reals(&self) -> Result<Vec<(ServiceKey, u32)>>;
    /// Writes prefixes of match rules, of a set that the settings do not name (yet).
    fn put_match_nodes(&mut self, nodes: &[(MatchKey, MatchNode)]) -> Result<()>;
    /// Removing what is not there is no error.
    fn remove_match_nodes(&mut self, keys: &[MatchKey]) -> Result<()>;
    /// Those of every set.
    fn match_nodes(&self) -> Result<Vec<(MatchKey, MatchNode)>>;
    /// Writes port ranges that no prefix refers to (yet).
    fn write_match_slots(&mut self, base: u32, slots: &[MatchSlot]) -> Result<()>;
    fn read_match_slots(&self, base: u32, len: u32) -> Result<Vec<MatchSlot>>;
    /// Index of the interface of this name, if there is one now.
    fn link(&self, name: &str) -> Option<u32>;
    /// Writes a list that no service refers to (yet).
    fn write_list(&mut self, base: u32, list: &[ListSlot]) -> Result<()>;
    /// The same for the slots of a hash table, from an even slot on.
    fn write_table(&mut self, base: u32, dests: &[u32]) -> Result<()>;
    fn put_dest(&mut self, id: u32, dest: &Dest) -> Result<()>;
    /// Prepares an index for another real server: state and statistics to zero.
    fn clear_dest(&mut self, id: u32) -> Result<()>;
    fn dest_state(&self, id: u32) -> Result<DestState>;
    /// Sum over all CPUs.
    fn dest_stats(&self, id: u32) -> Result<Stats>;
    /// The same of the indices from 0 on, so many, in one go.
    fn all_dest_stats(&self, count: u32) -> Result<Vec<Stats>>;
    fn sched_state(&self, service: u32) -> Result<SchedState>;
    fn put_sched_state(&mut self, service: u32, state: &SchedState) -> Result<()>;
    /// Drops a service's entries from the caches of lblc and lblcr.
    fn clear_caches(&mut self, service: u32) -> Result<()>;
    /// Drops the entries of these caches that point at one of these real servers, whose indices are about to go to others.
    fn clear_caches_of(&mut self, dests: &BTreeSet<u32>) -> Result<()>;
    /// Every entry of a cache, with the time of its last use in ticks.
    fn cached(&self, cache: Cache) -> Result<Vec<(LblcKey, u64)>>;
    /// Drops entries of a cache; those that are not there are no error.
    fn remove_cached(&mut self, cache: Cache, keys: &[LblcKey]) -> Result<()>;
    /// Takes the overload mark off a real server whose upper threshold was lifted. The counts beside the mark belong to the
    /// packets: none that they make meanwhile may get lost.
    fn clear_overload(&mut self, id: u32) -> Result<()>;

    /// Enters an announced connection, whose client's port is not known: the key has 0 there. False: there is no room, or no
    /// such real server.
    fn expect(&mut self, key: &Flow, expected: &Expected) -> Result<bool>;
    /// What changed since the last call, at most so many notes, for the backup director.
    fn sync_notes(&mut self, most: usize) -> Vec<Note>;
    /// One direction of an established connection.
    fn find_established(&self, key: &Flow) -> Result<Option<Entry>>;
    fn find_template(&self, key: &Tie) -> Result<Option<Template>>;
    /// Enters connections that another director told of, or brings them up to date; returns how many.
    fn sync_connections(&mut self, told: &[(Flow, Synced)]) -> Result<u32>;
    /// The same of templates.
    fn sync_templates(&mut self, told: &[(Tie, Synced)]) -> Result<u32>;
    /// Every connection entry, half-open ones included, both directions of a masqueraded one.
    fn conns(&self) -> Result<Vec<(Flow, Entry)>>;
    fn templates(&self) -> Result<Vec<(Tie, Template)>>;
    /// Counter map, summed over all CPUs, by slot ([`ipvs_common::reason`]).
    fn reasons(&self) -> Result<Vec<u64>>;

    /// Settings as they are in force.
    fn settings(&self) -> Result<Settings>;
    /// Services as packets find them.
    fn services(&self) -> Result<Vec<(ServiceKey, Service)>>;
    fn read_list(&self, base: u32, len: u32) -> Result<Vec<ListSlot>>;
    /// Slots of a hash table, from an even one on.
    fn read_table(&self, base: u32, len: u32) -> Result<Vec<u32>>;
    fn dest(&self, id: u32) -> Result<Dest>;

    /// What was noted beside the tables ([`crate::ledger`]), in no order.
    fn ledger(&self) -> Result<Vec<(ledger::Key, ledger::Value)>>;
    /// Each entry is written whole or not at all; all of them, only if it succeeds.
    fn put_ledger(&mut self, entries: &[(ledger::Key, ledger::Value)]) -> Result<()>;
    /// Removing what is not there is no error.
    fn remove_ledger(&mut self, keys: &[ledger::Key]) -> Result<()>;

    /// Goes on with a walk over the half-open, the connection and the template table, in this order: connections before
    /// templates, which live as long as their children. True: it came to its end, and `place` is at the beginning again.
    fn walk(&mut self, task: Task<'_>, place: &mut Place, stop: Stop) -> Result<bool>;

    /// Ends what is past its deadline in all of these tables.
    fn expire(&mut self) -> Result<()> {
        self.walk(Task::Expire, &mut Place::default(), Stop::Never)?;
        Ok(())
    }

    /// Ends what leads to these real servers, as far as they are deleted.
    fn end_connections_of(&mut self, dests: &BTreeSet<u32>) -> Result<()> {
        self.walk(Task::EndOf(dests), &mut Place::default(), Stop::Never)?;
        Ok(())
    }
}
