//! Where the desk stands: one at a time works at it, and what waits to be confirmed is seen without a wait for that.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Mutex as AsyncMutex, MutexGuard};

use super::{Desk, pending::Notice};
use crate::api::wire;

#[derive(Clone, Default)]
pub struct Place {
    desk: Arc<AsyncMutex<Desk>>,
    notice: Arc<Mutex<Option<Notice>>>,
}

/// Whoever works at the desk. What waits afterwards is told when this goes.
pub struct AtDesk<'a> {
    desk: MutexGuard<'a, Desk>,
    notice: &'a Mutex<Option<Notice>>,
}

impl Place {
    #[must_use]
    pub fn new(desk: Desk) -> Self {
        Self {
            notice: Arc::new(Mutex::new(desk.notice())),
            desk: Arc::new(AsyncMutex::new(desk)),
        }
    }

    pub async fn lock(&self) -> AtDesk<'_> {
        AtDesk {
            desk: self.desk.lock().await,
            notice: &self.notice,
        }
    }

    /// What waits to be confirmed.
    #[must_use]
    pub fn waiting(&self) -> Option<wire::Waiting> {
        let notice = self.notice.lock().unwrap_or_else(PoisonError::into_inner);
        notice.as_ref().map(Notice::told)
    }
}

impl Deref for AtDesk<'_> {
    type Target = Desk;

    fn deref(&self) -> &Desk {
        &self.desk
    }
}

impl DerefMut for AtDesk<'_> {
    fn deref_mut(&mut self) -> &mut Desk {
        &mut self.desk
    }
}

impl Drop for AtDesk<'_> {
    fn drop(&mut self) {
        let mut notice = self.notice.lock().unwrap_or_else(PoisonError::into_inner);
        *notice = self.desk.notice();
    }
}
