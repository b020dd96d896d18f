//! Match rules beside the rest of the configuration.

use ipvs_common::ServiceKey;

use super::Director;
use crate::model::MatchRule;

impl Director {
    /// Why a rule does nothing just now, if so.
    #[must_use]
    pub fn why_idle(&self, rule: &MatchRule) -> Option<String> {
        let MatchRule { conditions, mark } = rule;
        if let Some(name) = &conditions.interface
            && self.dataplane.link(name).is_none()
        {
            return Some(format!("there is no interface {name}"));
        }
        let (service, name) = if conditions.to.is_v4() {
            (ServiceKey::fwmark(*mark), "fwmark")
        } else {
            (ServiceKey::fwmark6(*mark), "fwmark6")
        };
        let idle = self.model.service(&service).is_none();
        idle.then(|| format!("there is no service {name} {mark}"))
    }

    /// Rules of interfaces that came or went. What cannot be written now is tried again with the next tick.
    pub(super) fn refresh_matches(&mut self) {
        let refreshed = self
            .tables
            .refresh_matches(self.dataplane.as_mut(), &self.model);
        if let Err(e) = refreshed {
            tracing::warn!("match rules of interfaces: {e}");
        }
    }
}
