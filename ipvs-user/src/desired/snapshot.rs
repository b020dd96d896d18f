//! What is, in the form of a configuration: to be shown, and to be gone back to.

use std::sync::Arc;

use super::settings;
use crate::{
    config::{Config, ServiceConfig},
    director::Director,
    model::VirtualService,
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
        services: running.model().services().map(service).collect(),
        api: rest.api.clone(),
        interfaces: rest.interfaces.clone(),
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
