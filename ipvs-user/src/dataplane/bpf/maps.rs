//! The maps of the datapath with their types, as the daemon uses them.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::{
    Ebpf,
    maps::{
        Array, HashMap, IterableMap as _, LpmTrie, Map, MapData, MapError, MapFd, PerCpuArray,
        RingBuf,
    },
};
use ipvs_common::{
    Addr, Dest, DestState, LblcEntry, LblcKey, LblcrEntry, ListSlot, MatchNode, MatchPlace,
    MatchSlot, SchedState, Service, ServiceKey, Settings, Stats, maps,
};

use super::{bpffs::Bpffs, error::LoadError, family::Flows};

pub(super) struct Maps {
    pub(super) services: HashMap<MapData, ServiceKey, Service>,
    pub(super) masq_reals: HashMap<MapData, ServiceKey, u32>,
    pub(super) matches: LpmTrie<MapData, MatchPlace, MatchNode>,
    pub(super) match_slots: Array<MapData, MatchSlot>,
    pub(super) dest_lists: Array<MapData, ListSlot>,
    pub(super) hash_tables: Array<MapData, [u32; 2]>,
    pub(super) dests: Array<MapData, Dest>,
    pub(super) dest_states: Array<MapData, DestState>,
    pub(super) dest_stats: PerCpuArray<MapData, Stats>,
    pub(super) sched_states: Array<MapData, SchedState>,
    pub(super) lblc: HashMap<MapData, LblcKey, LblcEntry>,
    pub(super) lblcr: HashMap<MapData, LblcKey, LblcrEntry>,
    pub(super) four: Flows<[u8; 4]>,
    pub(super) six: Flows<Addr>,
    pub(super) settings: Array<MapData, Settings>,
    pub(super) reasons: PerCpuArray<MapData, u64>,
    pub(super) clock: Array<MapData, u64>,
    pub(super) sync_notes: RingBuf<MapData>,
}

impl Maps {
    /// Takes the maps out of a load, whose own programs must be in the kernel already.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, LoadError> {
        Ok(Self {
            services: take(ebpf, maps::SERVICES)?,
            masq_reals: take(ebpf, maps::MASQ_REALS)?,
            matches: take(ebpf, maps::MATCHES)?,
            match_slots: take(ebpf, maps::MATCH_SLOTS)?,
            dest_lists: take(ebpf, maps::DEST_LISTS)?,
            hash_tables: take(ebpf, maps::HASH_TABLES)?,
            dests: take(ebpf, maps::DESTS)?,
            dest_states: take(ebpf, maps::DEST_STATES)?,
            dest_stats: take(ebpf, maps::DEST_STATS)?,
            sched_states: take(ebpf, maps::SCHED_STATES)?,
            lblc: take(ebpf, maps::LBLC)?,
            lblcr: take(ebpf, maps::LBLCR)?,
            four: Flows::take(ebpf)?,
            six: Flows::take(ebpf)?,
            settings: take(ebpf, maps::SETTINGS)?,
            reasons: take(ebpf, maps::REASONS)?,
            clock: take(ebpf, maps::CLOCK)?,
            sync_notes: take(ebpf, maps::SYNC_NOTES)?,
        })
    }

    /// Bytes of kernel memory of the large tables, by name.
    pub(super) fn memory(&self) -> Vec<(&'static str, u64)> {
        let large = [
            (maps::SERVICES, self.services.map()),
            (maps::DEST_LISTS, self.dest_lists.map()),
            (maps::HASH_TABLES, self.hash_tables.map()),
            (maps::DESTS, self.dests.map()),
            (maps::DEST_STATES, self.dest_states.map()),
            (maps::DEST_STATS, self.dest_stats.map()),
            (maps::MATCH_SLOTS, self.match_slots.map()),
            (maps::LBLC, self.lblc.map()),
            (maps::LBLCR, self.lblcr.map()),
        ];
        let flows = self.four.each().into_iter().chain(self.six.each());
        large
            .into_iter()
            .chain(flows)
            .filter_map(|(name, map)| Some((name, charged(map.fd())?)))
            .collect()
    }
}

/// Takes a map out of a load with its type; the sizes of key and value are compared.
pub(super) fn take<M>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, LoadError>
where
    M: TryFrom<Map, Error = MapError>,
{
    let map = ebpf.take_map(name).ok_or(LoadError::NoMap(name))?;
    M::try_from(map).map_err(|source| LoadError::Map { name, source })
}

/// Opens a pinned map with its type; the sizes of key and value are compared.
pub(super) fn pinned<M>(dir: &Bpffs, name: &'static str) -> Result<M, LoadError>
where
    M: TryFrom<Map, Error = MapError>,
{
    let failed = |source| LoadError::Map { name, source };
    let map = MapData::from_pin(dir.path(name)).map_err(failed)?;
    let map = Map::from_map_data(map).map_err(failed)?;
    M::try_from(map).map_err(failed)
}

/// What the kernel accounts for a map.
fn charged(fd: &MapFd) -> Option<u64> {
    let about = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
    let about = fs::read_to_string(about).ok()?;
    let line = about.lines().find_map(|l| l.strip_prefix("memlock:"))?;
    line.trim().parse().ok()
}
