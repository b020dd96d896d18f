//! Walks over the tables of one family.

use ipvs_common::{Conn, ConnFlags, FlowKey};
use ipvs_datapath::{
    conn::Table,
    expire,
    host::{HostTables, Width},
};

use crate::dataplane::{Seen, Stop, Task};

pub(super) fn walk_connections<A: Width>(
    t: &mut HostTables,
    table: Table,
    task: &mut Task<'_>,
    at: u32,
    stop: Stop,
) {
    let now = t.clock;
    let flows = match table {
        Table::HalfOpen => &A::flows(t).half_open,
        Table::Established => &A::flows(t).conns,
    };
    let in_part = |key: &FlowKey<A>| match stop {
        Stop::Part(parts) => spread(key) % parts == at % parts,
        Stop::Never | Stop::After(_) => true,
    };
    let mut found = |key: &FlowKey<A>, conn: &Conn<A>| match task {
        Task::Expire => conn.expires <= now,
        Task::ExpireAndShow(see) => {
            let shown = table == Table::Established && conn.status.flags & ConnFlags::REPLY == 0;
            if shown && conn.expires > now {
                see(Seen::Connection(&key.wide(), &conn.wide()));
            }
            conn.expires <= now
        }
        Task::EndOf(dests) => dests.contains(&conn.dest),
        Task::Drop(pick) => {
            conn.status.flags & ConnFlags::REPLY == 0 && pick(&key.wide(), &conn.wide())
        }
    };
    let flows = flows.iter().filter(|(key, _)| in_part(key));
    let found = flows.filter(|(key, conn)| found(key, conn));
    let found: Vec<_> = found.map(|(key, _)| *key).collect();
    let t = &mut t.of::<A>();
    for key in &found {
        match task {
            Task::Expire | Task::ExpireAndShow(_) => expire::connection(t, table, key),
            Task::EndOf(_) => expire::gone(t, table, key),
            Task::Drop(_) => expire::dropped(t, table, key),
        };
    }
}

pub(super) fn walk_templates<A: Width>(t: &mut HostTables, task: &mut Task<'_>) {
    let now = t.clock;
    let found = A::flows(t)
        .templates
        .iter()
        .filter(|(key, template)| match task {
            Task::Expire => template.expires <= now,
            Task::ExpireAndShow(see) => {
                see(Seen::Template(&key.wide(), template));
                template.expires <= now
            }
            Task::EndOf(dests) => dests.contains(&template.dest),
            Task::Drop(_) => false,
        });
    let found: Vec<_> = found.map(|(key, _)| *key).collect();
    let t = &mut t.of::<A>();
    for key in &found {
        match task {
            Task::Expire | Task::ExpireAndShow(_) => expire::template(t, key),
            Task::EndOf(_) => expire::template_of_gone(t, key),
            Task::Drop(_) => false,
        };
    }
}

/// A number that has nothing to do with the order of keys.
fn spread<A: Width>(key: &FlowKey<A>) -> u32 {
    let bytes = bytemuck::bytes_of(key);
    let hash = bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    hash >> 16
}
