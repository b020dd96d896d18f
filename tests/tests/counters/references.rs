//! Whoever refers to a real server by its index: the index must still be that one's.

use std::collections::BTreeMap;

use ipvs_common::ConnFlags;
use ipvs_datapath::{
    Ip,
    host::{Flows, HostTables},
};
use ipvs_user::director::Director;

const NOBODY: u32 = u32::MAX;

/// # Panics
/// If anything refers to an index that is free, or has gone to a real server of another service.
pub(crate) fn lead_to_the_living(tables: &HostTables, director: &Director) {
    let model = director.model();
    let trash = model.trash().map(|(_, t)| (t.dest.id, t.service));
    let live = model
        .services()
        .flat_map(|s| s.dests.iter().map(move |d| (d.id, s.id)));
    let service_of: BTreeMap<u32, u32> = trash.chain(live).collect();
    let known = |what: &str, dest: u32| {
        assert!(service_of.contains_key(&dest), "{what} leads to {dest}");
    };
    of_family(&tables.four, &known);
    of_family(&tables.six, &known);
    let of_service = |what: &str, dest: u32, service: u32| {
        assert_eq!(service_of.get(&dest), Some(&service), "{what}: {dest}");
    };
    for (key, entry) in &tables.lblc {
        of_service("lblc's cache", entry.dest, key.service);
    }
    for (key, set) in &tables.lblcr {
        for member in set.members() {
            of_service("lblcr's cache", *member, key.service);
        }
    }
    for service in tables.services.values() {
        let list = service.list_base..service.list_base + service.list_len;
        for slot in &tables.lists[list.start as usize..list.end as usize] {
            of_service("a list", slot.dest, service.id);
        }
        let table = service.table_base..service.table_base + service.table_len;
        for slot in &tables.hash_tables[table.start as usize..table.end as usize] {
            if *slot != NOBODY {
                of_service("a hash table", *slot, service.id);
            }
        }
        let last = tables.sched_states[service.id as usize].last;
        if last != 0 {
            known("a round robin", last - 1);
        }
    }
}

/// The same of one family's connections and templates.
fn of_family<A: Ip>(flows: &Flows<A>, known: &impl Fn(&str, u32)) {
    for conn in flows.conns.values().chain(flows.half_open.values()) {
        let reply = conn.status.flags & ConnFlags::REPLY != 0;
        // A reply's entry that lost its other half holds nothing.
        if !reply && conn.dest != NOBODY {
            known("a connection", conn.dest);
        }
    }
    for template in flows.templates.values().filter(|t| t.dest != NOBODY) {
        known("a template", template.dest);
    }
}
