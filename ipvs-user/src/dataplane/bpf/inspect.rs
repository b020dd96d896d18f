//! A look at whole tables; some of it, and a hand in them, is for tests alone, which compare them with those of the host.

use std::collections::HashMap as Map;

use aya::maps::{HashMap, MapData};
use ipvs_common::{
    Conn, Entry, Flow, FlowKey, LblcEntry, LblcKey, LblcrEntry, Template, Tie, maps as names,
};

use super::{BpfDataplane, Result, batch, failed, family::Family};

impl BpfDataplane {
    /// Entries of established connections alone, of both families.
    pub fn established(&self) -> Result<Vec<(Flow, Entry)>> {
        let mut entries = wide(&self.maps.four.conns, names::CONNS)?;
        entries.extend(wide(&self.maps.six.conns, names::CONNS6)?);
        Ok(entries)
    }

    /// Entries of half-open connections alone.
    pub fn half_open(&self) -> Result<Vec<(Flow, Entry)>> {
        let mut entries = wide(&self.maps.four.half_open, names::HALF_OPEN)?;
        entries.extend(wide(&self.maps.six.half_open, names::HALF_OPEN6)?);
        Ok(entries)
    }

    /// Every entry of one family's connections.
    pub(super) fn conns_of<A: Family>(&self) -> Result<Vec<(Flow, Entry)>> {
        let flows = A::flows(&self.maps);
        // In this order, because that is the way an entry moves: met twice it counts once, but none is missed.
        let mut half_open: Map<_, _> = wide(&flows.half_open, A::HALF_OPEN)?.into_iter().collect();
        let mut conns = wide(&flows.conns, A::CONNS)?;
        if !half_open.is_empty() {
            for (key, _) in &conns {
                half_open.remove(key);
            }
        }
        conns.extend(half_open);
        Ok(conns)
    }

    pub(super) fn templates_of<A: Family>(&self) -> Result<Vec<(Tie, Template)>> {
        let templates = batch::entries(&A::flows(&self.maps).templates);
        let templates = templates.map_err(failed(A::TEMPLATES, "read", "all"))?;
        Ok(templates.iter().map(|(k, t)| (k.wide(), *t)).collect())
    }

    /// Enters established connections as they are, faster than packets could. Their real servers do not count them.
    pub fn enter(&mut self, keys: &[FlowKey], conns: &[Conn]) -> Result<()> {
        let put = batch::put(&self.maps.four.conns, keys, conns);
        put.map_err(failed(names::CONNS, "update", "many"))
    }

    /// lblc's cache.
    pub fn lblc(&self) -> Result<Vec<(LblcKey, LblcEntry)>> {
        let entries = batch::entries(&self.maps.lblc);
        entries.map_err(failed(names::LBLC, "read", "all"))
    }

    /// lblcr's.
    pub fn lblcr(&self) -> Result<Vec<(LblcKey, LblcrEntry)>> {
        let entries = batch::entries(&self.maps.lblcr);
        entries.map_err(failed(names::LBLCR, "read", "all"))
    }
}

/// All of a table, in the form that has room for both families.
fn wide<A: Family>(
    map: &HashMap<MapData, FlowKey<A>, Conn<A>>,
    name: &'static str,
) -> Result<Vec<(Flow, Entry)>> {
    let entries = batch::entries(map).map_err(failed(name, "read", "all"))?;
    Ok(entries.iter().map(|(k, c)| (k.wide(), c.wide())).collect())
}
