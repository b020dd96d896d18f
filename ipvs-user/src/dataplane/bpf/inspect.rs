//! A look at tables, and a hand in them, that the daemon itself has no use for. Tests compare them with those of the host.

use ipvs_common::{Conn, FlowKey, LblcEntry, LblcKey, maps as names};

use super::{BpfDataplane, Result, batch, failed};

impl BpfDataplane {
    /// Entries of established connections alone.
    pub fn established(&self) -> Result<Vec<(FlowKey, Conn)>> {
        let entries = batch::entries(&self.maps.conns);
        entries.map_err(failed(names::CONNS, "read", "all"))
    }

    /// Entries of half-open connections alone.
    pub fn half_open(&self) -> Result<Vec<(FlowKey, Conn)>> {
        let entries = batch::entries(&self.maps.half_open);
        entries.map_err(failed(names::HALF_OPEN, "read", "all"))
    }

    /// Enters established connections as they are, faster than packets could. Their real servers do not count them.
    pub fn enter(&mut self, keys: &[FlowKey], conns: &[Conn]) -> Result<()> {
        let put = batch::put(&self.maps.conns, keys, conns);
        put.map_err(failed(names::CONNS, "update", "many"))
    }

    /// lblc's cache.
    pub fn lblc(&self) -> Result<Vec<(LblcKey, LblcEntry)>> {
        let entries = batch::entries(&self.maps.lblc);
        entries.map_err(failed(names::LBLC, "read", "all"))
    }
}
