//! Zeroing of counters: whose are meant. The model has no counters itself.

use ipvs_common::ServiceKey;

use super::{
    Effect,
    error::ModelError,
    state::{Model, VirtualService},
};

impl Model {
    /// Of one service and its real servers, or of all of them and the whole. Deleted real servers keep theirs, as in ip_vs.
    pub(super) fn zero(&self, service: Option<&ServiceKey>) -> Result<Vec<Effect>, ModelError> {
        let Some(key) = service else {
            let each = self.services().map(|s| self.zeroed(s));
            return Ok(each.chain([Effect::TotalZeroed]).collect());
        };
        let service = self.service(key).ok_or(ModelError::NoService(*key))?;
        Ok(vec![self.zeroed(service)])
    }

    fn zeroed(&self, service: &VirtualService) -> Effect {
        Effect::Zeroed {
            service: service.id,
            dests: service.dests.iter().map(|d| d.id).collect(),
            gone: self.gone_of(&service.key).map(|t| t.dest.id).collect(),
        }
    }
}
