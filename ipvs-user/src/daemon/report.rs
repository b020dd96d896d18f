//! What the tables need and take, for the log.

use ipvs_common::maps::Capacities;
use tracing::info;

use crate::dataplane::bpf::{Available, BpfDataplane, Need};

/// Before the tables are made, which may take seconds.
pub(super) fn report_need(capacities: Capacities) {
    if let Ok(need) = Need::here(capacities) {
        info!(
            connections = capacities.conns,
            "tables will take {need}; {}",
            Available::now()
        );
    }
}

pub(super) fn report_memory(dataplane: &BpfDataplane) {
    let megabytes = |bytes: u64| bytes.div_ceil(1 << 20);
    let tables = dataplane.memory();
    let total = megabytes(tables.iter().map(|(_, bytes)| bytes).sum());
    let each: Vec<_> = tables
        .iter()
        .map(|(name, bytes)| format!("{name} {} MB", megabytes(*bytes)))
        .collect();
    info!(
        "tables take {total} MB of kernel memory: {}",
        each.join(", ")
    );
}
