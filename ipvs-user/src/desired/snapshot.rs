//! What is, in the form of a configuration: to be shown, and to be gone back to.

use std::{collections::BTreeMap, sync::Arc};

use super::settings;
use crate::{
    config::{Config, ServiceConfig},
    director::{Director, Together},
    model::{Model, VirtualService},
    timeouts::Timeouts,
};

/// The running state. What is not the director's (interfaces, the API) is as in `rest`.
#[must_use]
pub fn snapshot(running: &Director, rest: &Config) -> Config {
    let (timeouts, icmp_rate) = settings::numbers_of(running);
    Config {
        capacities: running.capacities(),
        timeouts,
        icmp_rate,
        sysctls: sysctls(running),
        matches: Arc::clone(running.model().matches()),
        services: running.model().services().map(service).collect(),
        api: rest.api.clone(),
        interfaces: rest.interfaces.clone(),
    }
}

/// What will be, once these changes are carried out over what was; `model` is that of then.
#[must_use]
pub fn foreseen(before: &Config, model: &Model, changes: &Together) -> Config {
    let mut sysctls: BTreeMap<_, _> = before.sysctls.iter().cloned().collect();
    sysctls.extend(changes.sysctls.iter().cloned());
    let (was, now) = (before.timeouts, changes.timeouts);
    Config {
        timeouts: Timeouts {
            tcp: now.tcp.or(was.tcp),
            tcp_fin: now.tcp_fin.or(was.tcp_fin),
            udp: now.udp.or(was.udp),
        },
        icmp_rate: changes.icmp_rate.or(before.icmp_rate),
        sysctls: sysctls.into_iter().collect(),
        matches: Arc::clone(model.matches()),
        services: model.services().map(service).collect(),
        ..before.clone()
    }
}

/// Those that are not at their default.
fn sysctls(running: &Director) -> Vec<(String, String)> {
    let views = running.sysctls().into_iter();
    let turned = views.map(|v| (v.name, settings::settled(v.name, &v.value), v.default));
    let turned = turned.filter(|(_, value, default)| value != default);
    turned
        .map(|(name, value, _)| (name.to_owned(), value))
        .collect()
}

fn service(service: &VirtualService) -> Arc<ServiceConfig> {
    Arc::new(ServiceConfig {
        key: service.key,
        spec: service.spec,
        reals: service
            .dests
            .iter()
            .rev()
            .map(|d| (d.key, d.spec))
            .collect(),
    })
}
