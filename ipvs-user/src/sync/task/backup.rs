//! The backup: reads what came, and has the director enter it.

use tokio::task::block_in_place;
use tracing::{debug, warn};

use super::{Shared, lock};
use crate::{
    director::SyncCount,
    sync::{Config, Entry, message, socket::Sockets},
};

/// Datagrams that are entered at once.
const DATAGRAMS: usize = 64;

pub(super) struct Backup {
    pub(super) daemon: Config,
    pub(super) sockets: Option<Sockets>,
    buffer: Vec<u8>,
}

impl Backup {
    pub(super) fn new(daemon: Config, sockets: Sockets) -> Self {
        Self {
            // One byte more than awaited: a longer one shows.
            buffer: vec![0; usize::from(daemon.maxlen.unwrap_or(u16::MAX)) + 1],
            daemon,
            sockets: Some(sockets),
        }
    }

    pub(super) fn take_in(&mut self, director: &Shared) {
        let Some(sockets) = &self.sockets else {
            return;
        };
        let (mut entries, mut received, mut other, mut malformed, mut skipped) =
            (Vec::<Entry>::new(), 0, 0, 0, 0);
        sockets.drain(DATAGRAMS, &mut self.buffer, |bytes| {
            received += 1;
            match message::read(bytes) {
                Ok(datagram) if self.daemon.takes(datagram.syncid) => {
                    skipped += datagram.skipped as u64;
                    entries.extend(datagram.entries);
                }
                Ok(_) => other += 1,
                Err(e) => {
                    debug!("sync daemon: datagram of {} bytes: {e}", bytes.len());
                    malformed += 1;
                }
            }
        });
        block_in_place(|| {
            let mut director = lock(director);
            director.count_sync(SyncCount::Received, received);
            director.count_sync(SyncCount::OtherSyncid, other);
            director.count_sync(SyncCount::Malformed, malformed);
            director.count_sync(SyncCount::Skipped, skipped);
            if let Err(e) = director.take_in(&entries) {
                warn!("sync daemon: {e}");
            }
        });
    }
}
