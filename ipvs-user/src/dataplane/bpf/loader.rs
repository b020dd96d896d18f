//! Loads the object: once for the control programs, and once for each interface, always over the same maps.
//!
//! aya makes new maps with each load unless they are pinned, so all shared maps are pinned: in a private file system, or where
//! the next process finds them. Knows neither which interfaces there are nor what the maps hold.

use std::{
    collections::BTreeMap,
    num::NonZero,
    panic::resume_unwind,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, ScopedJoinHandle},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{HashMap, IterableMap as _, Map, MapData, MapError},
    programs::Xdp,
};
use ipvs_common::{
    Iface,
    maps::{self, Capacities},
};

use super::{again::InForce, attach::Stages, bpffs::Bpffs, error::LoadError, pins::Instance};
use crate::ledger::{Key, Value};

/// Map of aya-log; only the talking build has it.
pub(super) const LOG_MAP: &str = "AYA_LOGS";

/// Every map that is made once. The object's own constants (`.rodata`) are not among them: they differ between loads.
pub(super) const SHARED: [&str; 41] = [
    maps::SERVICES,
    maps::DEST_LISTS,
    maps::HASH_TABLES,
    maps::DESTS,
    maps::DEST_STATES,
    maps::DEST_STATS,
    maps::SCHED_STATES,
    maps::LBLC,
    maps::LBLCR,
    maps::LBLCR_BLANK,
    maps::TEMPLATES,
    maps::CONNS,
    maps::HALF_OPEN,
    maps::HALF_OPEN_RING,
    maps::TEMPLATES6,
    maps::CONNS6,
    maps::HALF_OPEN6,
    maps::HALF_OPEN_RING6,
    maps::NEWBORN6,
    maps::HEADS,
    maps::SETTINGS,
    maps::EGRESS,
    maps::REASONS,
    maps::SCRATCH,
    maps::PUNT,
    maps::SYNC_NOTES,
    maps::NEWBORN,
    maps::ASKED,
    maps::ASKED6,
    maps::MASQ_REALS,
    maps::MATCHES,
    maps::MATCH_SLOTS,
    maps::CLOCK,
    maps::ICMP_BUDGET,
    maps::ICMP_PEERS,
    maps::INBOUND,
    maps::VLANS,
    maps::TAGGED_WAY,
    maps::FRAGMENTS,
    maps::FRAGMENTS6,
    LOG_MAP,
];

/// Where the datapath takes its time from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// The kernel's ticks.
    Kernel,
    /// The value in the `CLOCK` map (tests in virtual time).
    Manual,
}

/// Makes further programs over the maps of one datapath.
#[derive(Clone)]
pub struct Loader(Arc<Parts>);

struct Parts {
    object: Vec<u8>,
    capacities: Capacities,
    clock: Clock,
    /// Where the maps are pinned.
    bpffs: Bpffs,
    /// Where links are pinned; `None`: they end with the process.
    instance: Option<Arc<Instance>>,
    in_force: InForce,
    /// Made for the first interface.
    stages: Mutex<Option<Arc<Stages>>>,
}

/// Where the maps of a datapath are.
pub(super) enum Place {
    /// In this process alone.
    Private,
    /// Among the pins of an instance, in the generation of this name.
    Pinned(Arc<Instance>, String),
}

impl Loader {
    pub(super) fn new(
        object: &[u8],
        capacities: Capacities,
        clock: Clock,
        place: Place,
    ) -> Result<Self, LoadError> {
        if object.is_empty() {
            return Err(LoadError::NoObject);
        }
        let (bpffs, instance) = match place {
            Place::Private => (Bpffs::mount().map_err(LoadError::Bpffs)?, None),
            Place::Pinned(instance, generation) => {
                (instance.generation(&generation)?, Some(instance))
            }
        };
        Ok(Self(Arc::new(Parts {
            // A copy, because the parser wants it aligned, which a file within a program need not be.
            object: object.to_vec(),
            capacities,
            clock,
            bpffs,
            instance,
            in_force: InForce::default(),
            stages: Mutex::new(None),
        })))
    }

    pub(super) fn instance(&self) -> Option<&Instance> {
        self.0.instance.as_deref()
    }

    /// Interfaces that links are pinned for.
    pub fn pinned(&self) -> Result<Vec<String>, LoadError> {
        let pinned = self.instance().map(Instance::interfaces).transpose()?;
        Ok(pinned.unwrap_or_default())
    }

    /// The ledger beside the maps, which no program knows.
    pub(super) fn ledger(&self) -> Result<HashMap<MapData, Key, Value>, LoadError> {
        let failed = |source| LoadError::Map {
            name: maps::LEDGER,
            source,
        };
        let path = self.0.bpffs.path(maps::LEDGER);
        if path.exists() {
            let map = MapData::from_pin(path).map_err(failed)?;
            return HashMap::try_from(Map::HashMap(map)).map_err(failed);
        }
        let entries = self.capacities().entries(maps::LEDGER).unwrap_or(1);
        let ledger = HashMap::create(entries, maps::ON_DEMAND).map_err(failed)?;
        let pinned = ledger.map().pin(path);
        pinned.map_err(|error| {
            failed(MapError::PinError {
                name: Some(maps::LEDGER.to_owned()),
                error,
            })
        })?;
        Ok(ledger)
    }

    /// The programs in force.
    pub(super) fn in_force(&self) -> InForce {
        self.0.in_force.clone()
    }

    /// The stages that all interfaces share.
    pub(super) fn stages(&self) -> Result<Arc<Stages>, LoadError> {
        let mut stages = self.0.stages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stages) = &*stages {
            return Ok(Arc::clone(stages));
        }
        let made = Arc::new(Stages::load(self)?);
        *stages = Some(Arc::clone(&made));
        Ok(made)
    }

    pub(super) fn capacities(&self) -> Capacities {
        self.0.capacities
    }

    /// Fills in the fields that are the same for all interfaces.
    #[must_use]
    pub fn constants(&self, iface: Iface) -> Iface {
        let parts = &*self.0;
        Iface {
            half_open_mask: parts.capacities.half_open.wrapping_sub(1),
            half_open6_mask: parts.capacities.half_open6.wrapping_sub(1),
            test_clock: u32::from(parts.clock == Clock::Manual),
            ..iface
        }
    }

    /// One more load with these constants, filled in.
    pub(super) fn load(&self, iface: Iface) -> Result<(Ebpf, Iface), LoadError> {
        let (parts, iface) = (&*self.0, self.constants(iface));
        let mut loader = EbpfLoader::new();
        loader.override_global(maps::IFACE, &iface, true);
        for name in SHARED {
            loader.map_pin_path(name, parts.bpffs.path(name));
            if let Some(entries) = parts.capacities.entries(name) {
                loader.map_max_entries(name, entries);
            }
        }
        Ok((loader.load(&parts.object)?, iface))
    }
}

/// Loads programs of the object into the kernel, as many at a time as there are CPUs: the verifier works on one for each.
pub(super) fn load_programs(ebpf: &mut Ebpf, names: &[&'static str]) -> Result<(), LoadError> {
    let xdp = |(name, program)| Some((name, <&mut Xdp>::try_from(program).ok()?));
    let mut found: BTreeMap<_, _> = ebpf.programs_mut().filter_map(xdp).collect();
    let take = |name: &&'static str| match found.remove(*name) {
        Some(program) => Ok((*name, program)),
        None => Err(LoadError::NoProgram(name)),
    };
    let mut waiting = names.iter().map(take).collect::<Result<Vec<_>, _>>()?;
    waiting.sort_by_key(|(name, _)| LONGEST.contains(name));
    load_waiting(waiting)
}

/// What the verifier takes longest for: begun last, one CPU would work on it alone in the end.
const LONGEST: [&str; 4] = ["ipvs_open", "ipvs6_open", "ipvs_asked", "ipvs_slow"];

/// Loads from the last to the first. After a refusal no other one is begun.
fn load_waiting(programs: Vec<(&'static str, &mut Xdp)>) -> Result<(), LoadError> {
    let helpers = thread::available_parallelism().map_or(1, NonZero::get);
    let helpers = helpers.min(programs.len()).saturating_sub(1);
    let waiting = Mutex::new(programs);
    let locked = || waiting.lock().unwrap_or_else(PoisonError::into_inner);
    let work = || {
        loop {
            // A statement of its own, or the lock would be held during the load.
            let next = locked().pop();
            let Some((name, program)) = next else {
                return Ok(());
            };
            if let Err(source) = program.load() {
                locked().clear();
                return Err(LoadError::Program { name, source });
            }
        }
    };
    thread::scope(|scope| {
        // With fewer threads than wished it only takes longer.
        let helper = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
        let helpers: Vec<_> = (0..helpers).filter_map(helper).collect();
        let own = work();
        let join =
            |helper: ScopedJoinHandle<'_, _>| helper.join().unwrap_or_else(|e| resume_unwind(e));
        helpers.into_iter().map(join).fold(own, Result::and)
    })
}

/// A program of the object; it must have been loaded.
pub(super) fn program<'a>(ebpf: &'a Ebpf, name: &'static str) -> Result<&'a Xdp, LoadError> {
    ebpf.program(name)
        .and_then(|p| <&Xdp>::try_from(p).ok())
        .ok_or(LoadError::NoProgram(name))
}
