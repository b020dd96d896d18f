//! Listings of what is not configured as services: connections, timeouts, sync daemons.

use super::super::{
    lower::{Columns, Format},
    names::{Names, Transport, address_port},
};
use crate::api::wire::{Conn, SyncDaemon, Timeouts};

pub(in super::super) fn timeouts(t: &Timeouts) -> String {
    format!(
        "Timeout (tcp tcpfin udp): {} {} {}\n",
        t.tcp, t.tcp_fin, t.udp
    )
}

/// A line for each sync daemon that runs.
pub(in super::super) fn daemons(list: &[SyncDaemon]) -> String {
    let line = |d: &SyncDaemon| {
        let (role, interface, syncid) = (d.role.name(), &d.interface, d.syncid);
        let maxlen = d
            .maxlen
            .map_or_else(String::new, |n| format!(", maxlen={n}"));
        let (group, port, ttl) = (d.group, d.port, d.ttl);
        format!(
            "{role} sync daemon (mcast={interface}, syncid={syncid}{maxlen}, group={group}, port={port}, ttl={ttl})\n"
        )
    };
    list.iter().map(line).collect()
}

/// Every connection, under a title.
pub(in super::super) fn connections(list: &[Conn], names: &dyn Names, format: Format) -> String {
    let mut text = "IPVS connection entries\n".to_owned();
    text += "pro expire state       source             virtual            destination";
    if format.columns == Columns::PersistentConn {
        text += "        pe name          pe_data";
    }
    text += "\n";
    for c in list {
        text += &connection_line(c, names, format);
    }
    text
}

fn connection_line(c: &Conn, names: &dyn Names, format: Format) -> String {
    let transport = match c.protocol.as_str() {
        "TCP" => Some(Transport::Tcp),
        "UDP" => Some(Transport::Udp),
        "SCTP" => Some(Transport::Sctp),
        _ => None,
    };
    let [client, virt, real] =
        [c.client, c.r#virtual, c.real].map(|a| address_port(names, format.numeric, a, transport));
    let expire = format!("{:02}:{:02}", c.expires / 60, c.expires % 60);
    let (protocol, state) = (&c.protocol, &c.state);
    let line = format!("{protocol:<3} {expire:<6} {state:<11} {client:<18} {virt:<18} {real}");
    match &c.engine {
        Some(e) if format.columns == Columns::PersistentConn => {
            format!(
                "{protocol:<3} {expire:<6} {state:<11} {client:<18} {virt:<18} {real:<16} {:<18} {}\n",
                e.name, e.data
            )
        }
        Some(_) | None => line + "\n",
    }
}
