//! What another director tells of, and what there is of it.

use ipvs_common::{Addr, Conn, Entry, Flow, FlowKey, Synced, Template, TemplateKey, Tie};
use ipvs_datapath::{conn::synced, host::HostTables};

pub(super) fn enter(t: &mut HostTables, told: &[(Flow, Synced)]) -> u32 {
    let entered = told.iter().map(|(key, s)| {
        if key.is_v4() {
            synced::enter(&mut t.of::<[u8; 4]>(), &FlowKey::narrow(key), s)
        } else {
            synced::enter(&mut t.of::<Addr>(), key, s)
        }
    });
    entered.map(u32::from).sum()
}

pub(super) fn tie(t: &mut HostTables, told: &[(Tie, Synced)]) -> u32 {
    let entered = told.iter().map(|(key, s)| {
        if key.is_v4() {
            synced::tie(&mut t.of::<[u8; 4]>(), &TemplateKey::narrow(key), s)
        } else {
            synced::tie(&mut t.of::<Addr>(), key, s)
        }
    });
    entered.map(u32::from).sum()
}

pub(super) fn established(t: &HostTables, key: &Flow) -> Option<Entry> {
    if key.is_v4() {
        t.four.conns.get(&FlowKey::narrow(key)).map(Conn::wide)
    } else {
        t.six.conns.get(key).copied()
    }
}

pub(super) fn template(t: &HostTables, key: &Tie) -> Option<Template> {
    if key.is_v4() {
        t.four.templates.get(&TemplateKey::narrow(key)).copied()
    } else {
        t.six.templates.get(key).copied()
    }
}
