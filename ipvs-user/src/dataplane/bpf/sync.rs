//! Backup directors: the notes of the programs, single entries of the tables, and what another director told of.

use aya::maps::{HashMap, MapData, MapError};
use bytemuck::Pod;
use ipvs_common::{
    Addr, Entry, Flow, FlowKey, Note, SyncNote, Synced, Template, TemplateKey, Tie,
    maps::{self as names},
};
use ipvs_datapath::expire::Batch;

use super::{BpfDataplane, Result, failed, family::Family};

impl BpfDataplane {
    pub(super) fn notes(&mut self, most: usize) -> Vec<Note> {
        let ring = &mut self.maps.sync_notes;
        let mut notes = Vec::new();
        while notes.len() < most
            && let Some(record) = ring.next()
        {
            notes.extend(note(&record));
        }
        notes
    }

    pub(super) fn one_conn<A: Family>(&self, key: &Flow) -> Result<Option<Entry>> {
        let found = one(&A::flows(&self.maps).conns, &FlowKey::narrow(key));
        let found = found.map_err(failed(A::CONNS, "lookup", "one"))?;
        Ok(found.map(|conn| conn.wide()))
    }

    pub(super) fn one_template<A: Family>(&self, key: &Tie) -> Result<Option<Template>> {
        let found = one(&A::flows(&self.maps).templates, &TemplateKey::narrow(key));
        found.map_err(failed(A::TEMPLATES, "lookup", "one"))
    }

    pub(super) fn enter_conns(&self, told: &[(Flow, Synced)]) -> Result<u32> {
        let (four, six): (Vec<_>, Vec<_>) = told.iter().partition(|(key, _)| key.is_v4());
        let kind = Batch::SYNC_CONNECTIONS;
        Ok(self.enter_told::<[u8; 4], _, _>(
            kind,
            names::CONNS,
            &four,
            FlowKey::<[u8; 4]>::narrow,
        )? + self.enter_told::<Addr, _, _>(
            kind,
            names::CONNS6,
            &six,
            FlowKey::<Addr>::narrow,
        )?)
    }

    pub(super) fn enter_templates(&self, told: &[(Tie, Synced)]) -> Result<u32> {
        let (four, six): (Vec<_>, Vec<_>) = told.iter().partition(|(key, _)| key.is_v4());
        let kind = Batch::SYNC_TEMPLATES;
        Ok(self.enter_told::<[u8; 4], _, _>(
            kind,
            names::TEMPLATES,
            &four,
            TemplateKey::<[u8; 4]>::narrow,
        )? + self.enter_told::<Addr, _, _>(
            kind,
            names::TEMPLATES6,
            &six,
            TemplateKey::<Addr>::narrow,
        )?)
    }

    fn enter_told<A: Family, W, K: Pod>(
        &self,
        kind: u32,
        table: &'static str,
        told: &[(W, Synced)],
        narrow: impl Fn(&W) -> K,
    ) -> Result<u32> {
        if told.is_empty() {
            return Ok(0);
        }
        let narrow: Vec<_> = told.iter().map(|(key, s)| (narrow(key), *s)).collect();
        let entered = self.control.enter::<A, _>(kind, &narrow);
        entered.map_err(failed(table, "enter", format!("{} entries", told.len())))
    }
}

/// Whatever is as long as no note was not written by the programs of this load.
fn note(record: &[u8]) -> Option<Note> {
    let four = bytemuck::try_pod_read_unaligned::<SyncNote>(record);
    four.map(|note| note.wide())
        .or_else(|_| bytemuck::try_pod_read_unaligned::<Note>(record))
        .ok()
}

fn one<K, V>(map: &HashMap<MapData, K, V>, key: &K) -> std::result::Result<Option<V>, MapError>
where
    K: aya::Pod,
    V: aya::Pod,
{
    match map.get(key, 0) {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(e) => Err(e),
    }
}
