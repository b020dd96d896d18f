//! The tables that are left, read through their own description.

use std::{collections::BTreeMap, io};

use aya::util::nr_cpus;
use ipvs_common::{
    Conn, ConnFlags, Dest, DestState, FlowKey, LblcEntry, LblcKey, LblcrEntry, SchedState, Service,
    ServiceKey, Settings, Stats, Template, TemplateKey, maps as names,
};

use crate::{
    dataplane::bpf::{
        LoadError,
        bpffs::Bpffs,
        family::Family,
        layout::Layout,
        raw::RawMap,
        translate::{Translation, Untranslated},
    },
    ledger::{self, Key, Kind, Value},
};

/// The entries of a ledger.
pub(in super::super) type Ledger = Vec<(Key, Value)>;

/// With their keys.
pub(super) type Conns<A> = Vec<(FlowKey<A>, Conn<A>)>;

pub(super) struct Old {
    dir: Bpffs,
    layout: Layout,
    here: Layout,
    cpus: usize,
    /// Entries of each table that the layout of here cannot hold, as of its last reading.
    unfit: BTreeMap<&'static str, usize>,
}

impl Old {
    pub(super) fn open(dir: Bpffs, here: &Layout) -> Result<Self, LoadError> {
        Ok(Self {
            layout: Layout::read_from(&dir.path(""))?,
            dir,
            here: here.clone(),
            cpus: nr_cpus().map_err(|(_, e)| LoadError::States(e))?,
            unfit: BTreeMap::new(),
        })
    }

    fn map(&self, name: &'static str) -> Result<RawMap, LoadError> {
        RawMap::open(&self.dir.path(name)).map_err(failed(name))
    }

    fn translation(&self, of: &str) -> Result<Translation, LoadError> {
        Translation::new(of, &self.layout, &self.here)
            .ok_or_else(|| LoadError::Layout(format!("nothing is said of {of}")))
    }

    /// Entries that were left out, because the layout of here cannot hold them.
    pub(super) fn unfit(&self) -> usize {
        self.unfit.values().sum()
    }

    /// Keys and values of a hash map: those that the layout of here can hold.
    fn pairs<K: bytemuck::Pod, V: bytemuck::Pod>(
        &mut self,
        name: &'static str,
        key: &str,
        value: &str,
    ) -> Result<Vec<(K, V)>, LoadError> {
        let (keys, values) = (self.translation(key)?, self.translation(value)?);
        let all = self.map(name)?.all().map_err(failed(name))?;
        let pairs = all
            .iter()
            .map(|(k, v)| Ok((keys.value(k)?, values.value(v)?)));
        let (pairs, unfit) = those_that_fit(pairs).map_err(unreadable(name))?;
        self.unfit.insert(name, unfit);
        Ok(pairs)
    }

    /// Connections but those that are just leaving, which count no more.
    pub(super) fn conns<A: Family>(&mut self, name: &'static str) -> Result<Conns<A>, LoadError> {
        if !self.knows::<A>() {
            return Ok(Vec::new());
        }
        let mut conns: Conns<A> = self.pairs(name, A::FLOW_KEY, A::CONN)?;
        conns.retain(|(_, conn)| conn.status.flags & ConnFlags::LEAVING == 0);
        Ok(conns)
    }

    pub(super) fn templates<A: Family>(
        &mut self,
    ) -> Result<Vec<(TemplateKey<A>, Template)>, LoadError> {
        if !self.knows::<A>() {
            return Ok(Vec::new());
        }
        self.pairs(A::TEMPLATES, A::TEMPLATE_KEY, "Template")
    }

    /// Whether it is of a version that had tables of this family.
    fn knows<A: Family>(&self) -> bool {
        self.layout.type_of(A::CONN).is_some()
    }

    pub(super) fn lblc(&mut self) -> Result<Vec<(LblcKey, LblcEntry)>, LoadError> {
        self.pairs(names::LBLC, "LblcKey", "LblcEntry")
    }

    pub(super) fn lblcr(&mut self) -> Result<Vec<(LblcKey, LblcrEntry)>, LoadError> {
        self.pairs(names::LBLCR, "LblcKey", "LblcrEntry")
    }

    /// What the new layout knows beyond the old one stays as in `defaults`.
    pub(super) fn settings(&self, defaults: Settings) -> Result<Settings, LoadError> {
        let mut settings = defaults;
        let value = self.map(names::SETTINGS)?.at(0);
        let value = value.map_err(failed(names::SETTINGS))?;
        let translation = self.translation("Settings")?;
        let applied = translation.apply(&value, bytemuck::bytes_of_mut(&mut settings));
        applied.map_err(unreadable(names::SETTINGS))?;
        Ok(settings)
    }

    /// The number that the next half-open connection gets.
    pub(super) fn ring_head<A: Family>(&self) -> Result<u32, LoadError> {
        if !self.knows::<A>() {
            return Ok(0);
        }
        let head = self.map(names::HEADS)?.at(A::HEAD);
        let head = head.map_err(failed(names::HEADS))?;
        Ok(head.first_chunk().map_or(0, |b| u32::from_ne_bytes(*b)))
    }

    pub(super) fn sched_state(&self, service: u32) -> Result<SchedState, LoadError> {
        self.of_array(names::SCHED_STATES, "SchedState", service)
    }

    pub(super) fn dest_state(&self, dest: u32) -> Result<DestState, LoadError> {
        self.of_array(names::DEST_STATES, "DestState", dest)
    }

    fn of_array<V: bytemuck::Pod>(
        &self,
        name: &'static str,
        of: &str,
        index: u32,
    ) -> Result<V, LoadError> {
        let value = self.map(name)?.at(index).map_err(failed(name))?;
        let value = self.translation(of)?.value(&value);
        value.map_err(unreadable(name))
    }

    pub(super) fn services(&mut self) -> Result<Vec<(ServiceKey, Service)>, LoadError> {
        self.pairs(names::SERVICES, "ServiceKey", "Service")
    }

    pub(super) fn dest(&self, dest: u32) -> Result<Dest, LoadError> {
        self.of_array(names::DESTS, "Dest", dest)
    }

    /// Indices of the real servers.
    pub(super) fn dests(&self) -> Result<Vec<u32>, LoadError> {
        let (settled, _) = ledger::settle(&self.ledger()?);
        Ok(ledger::dests(&settled))
    }

    pub(super) fn dest_stats(&self, dest: u32) -> Result<Stats, LoadError> {
        let each = self.map(names::DEST_STATS)?.at_each_cpu(dest, self.cpus);
        let each = each.map_err(failed(names::DEST_STATS))?;
        let translation = self.translation("Stats")?;
        let size = each.len() / self.cpus.max(1);
        let each = each.chunks_exact(size.max(1));
        let mut sum = Stats::default();
        for bytes in each {
            let counted = translation.value(bytes);
            sum = sum.plus(counted.map_err(unreadable(names::DEST_STATS))?);
        }
        Ok(sum)
    }

    /// What was counted under each name.
    pub(super) fn reasons(&self) -> Result<BTreeMap<String, u64>, LoadError> {
        let map = self.map(names::REASONS)?;
        let mut counts = BTreeMap::new();
        for (slot, name) in (0..map.entries).zip(&self.layout.reasons) {
            let each = map
                .at_each_cpu(slot, self.cpus)
                .map_err(failed(names::REASONS))?;
            let (each, _) = each.as_chunks::<8>();
            let sum: u64 = each.iter().map(|b| u64::from_ne_bytes(*b)).sum();
            if !name.is_empty() && sum != 0 {
                counts.insert(name.clone(), sum);
            }
        }
        Ok(counts)
    }

    /// The ledger, with its records in the layout of here, but without the word that counts were carried into it: those of
    /// its own tables are to be carried yet.
    pub(super) fn ledger(&self) -> Result<Ledger, LoadError> {
        let all = self.map(names::LEDGER)?.all();
        let all = all.map_err(failed(names::LEDGER))?;
        let entries = all.iter().map(|(k, v)| self.ledger_entry(k, v));
        let mut entries = entries.collect::<Result<Ledger, _>>()?;
        entries.retain(|(key, _)| *key != Key::CARRIED);
        Ok(entries)
    }

    fn ledger_entry(&self, key: &[u8], value: &[u8]) -> Result<(Key, Value), LoadError> {
        let short = || LoadError::Layout("an entry of the ledger is too short".to_owned());
        let key: Key = bytemuck::try_pod_read_unaligned(key).map_err(|_| short())?;
        let (head, old) = value.split_at_checked(Value::HEAD).ok_or_else(short)?;
        let mut new = Value::with_head(head).ok_or_else(short)?;
        let of = match key.record() {
            Some(Kind::Service) => "ServiceRecord",
            Some(Kind::Dest) => "DestRecord",
            Some(Kind::Total) => "TotalRecord",
            Some(Kind::Knob) => "KnobRecord",
            Some(Kind::Reason) => "ReasonRecord",
            Some(Kind::Match) => "MatchRecord",
            Some(Kind::Begun | Kind::Batch | Kind::Carried) | None => return Ok((key, new)),
        };
        let applied = self.translation(of)?.apply(old, &mut new.bytes);
        applied.map_err(unreadable(names::LEDGER))?;
        Ok((key, new))
    }
}

/// With how many do not. What is not as it is described is no entry at all.
fn those_that_fit<T>(
    entries: impl Iterator<Item = Result<T, Untranslated>>,
) -> Result<(Vec<T>, usize), Untranslated> {
    let (mut fit, mut unfit) = (Vec::new(), 0);
    for entry in entries {
        match entry {
            Ok(entry) => fit.push(entry),
            Err(Untranslated::Unfit { .. }) => unfit += 1,
            Err(short @ Untranslated::Short { .. }) => return Err(short),
        }
    }
    Ok((fit, unfit))
}

fn unreadable(name: &'static str) -> impl Fn(Untranslated) -> LoadError {
    move |e| LoadError::Layout(format!("map {name}: {e}"))
}

fn failed(name: &'static str) -> impl Fn(io::Error) -> LoadError {
    move |source| LoadError::Map {
        name,
        source: source.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_do_not_fit_are_left_out_and_counted_and_short_ones_are_an_error() {
        let of = || "T".to_owned();
        let unfit = Untranslated::Unfit {
            of: of(),
            field: "src".to_owned(),
            room: 4,
        };
        let entries = [Ok(1), Err(unfit.clone()), Ok(2), Err(unfit)];
        assert_eq!(those_that_fit(entries.into_iter()), Ok((vec![1, 2], 2)));
        let short = Untranslated::Short {
            of: of(),
            needed: 4,
            bytes: 2,
        };
        let entries = [Ok(1), Err(short.clone())];
        assert_eq!(those_that_fit(entries.into_iter()), Err(short));
    }
}
