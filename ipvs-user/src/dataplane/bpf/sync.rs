//! Backup directors: the notes of the programs, single entries of the tables, and what another director told of.

use aya::maps::{HashMap, MapData, MapError};
use ipvs_common::{Conn, FlowKey, SyncNote, Synced, Template, TemplateKey, maps as names};
use ipvs_datapath::expire::Batch;

use super::{BpfDataplane, Result, failed};

impl BpfDataplane {
    pub(super) fn notes(&mut self, most: usize) -> Vec<SyncNote> {
        let ring = &mut self.maps.sync_notes;
        let mut notes = Vec::new();
        while notes.len() < most
            && let Some(record) = ring.next()
        {
            // Whatever is not as long as a note was not written by the programs of this load.
            notes.extend(bytemuck::try_pod_read_unaligned::<SyncNote>(&record));
        }
        notes
    }

    pub(super) fn one_conn(&self, key: &FlowKey) -> Result<Option<Conn>> {
        let found = one(&self.maps.conns, key);
        found.map_err(failed(names::CONNS, "lookup", "one"))
    }

    pub(super) fn one_template(&self, key: &TemplateKey) -> Result<Option<Template>> {
        let found = one(&self.maps.templates, key);
        found.map_err(failed(names::TEMPLATES, "lookup", "one"))
    }

    pub(super) fn enter_conns(&self, told: &[(FlowKey, Synced)]) -> Result<u32> {
        let entered = self.control.enter(Batch::SYNC_CONNECTIONS, told);
        entered.map_err(failed(
            names::CONNS,
            "enter",
            format!("{} entries", told.len()),
        ))
    }

    pub(super) fn enter_templates(&self, told: &[(TemplateKey, Synced)]) -> Result<u32> {
        let entered = self.control.enter(Batch::SYNC_TEMPLATES, told);
        entered.map_err(failed(
            names::TEMPLATES,
            "enter",
            format!("{} entries", told.len()),
        ))
    }
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
