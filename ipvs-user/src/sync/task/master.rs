//! The master: asks the director every turn what there is to tell, and sends it.

use std::{
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    io,
    time::Duration,
};

use tokio::{
    task::block_in_place,
    time::{Instant, timeout_at},
};
use tracing::{debug, warn};

use super::{Shared, lock};
use crate::{
    dataplane::TableError,
    director::SyncCount,
    sync::{
        Config, Entry,
        message::{Version, Writer},
        socket::Sockets,
    },
    sysctl::Knob,
};

/// Notes of the datapath that are looked at while the director is held.
const NOTES: usize = 1024;
/// Such looks in a turn; what is left waits for the next.
const LOOKS: usize = 16;
/// Entries told again in a turn: 100,000 a second.
const AGAIN: usize = 2000;
/// How long sockets without room are waited for in a turn, all together: the next turn, and whoever asks, wait for it.
const PATIENCE: Duration = Duration::from_millis(10);

pub(super) struct Master {
    pub(super) daemon: Config,
    pub(super) sockets: Option<Sockets>,
    writers: Vec<Writer>,
    /// The last datagram could not be sent, and that was said.
    failing: bool,
}

impl Master {
    pub(super) const fn new(daemon: Config, sockets: Sockets) -> Self {
        Self {
            daemon,
            sockets: Some(sockets),
            writers: Vec::new(),
            failing: false,
        }
    }

    pub(super) async fn turn(&mut self, director: &Shared) {
        let entries = match block_in_place(|| self.entries(director)) {
            Ok(entries) => entries,
            Err(e) => {
                warn!("sync daemon: {e}");
                return;
            }
        };
        if entries.is_empty() {
            return;
        }
        let Some(sockets) = &self.sockets else {
            lock(director).count_sync(SyncCount::SendFailed, 1);
            return;
        };
        let (mut sent, mut failed) = (0, None);
        let until = Instant::now() + PATIENCE;
        for (n, datagram) in fill(&mut self.writers, &entries) {
            let send = sockets.each[n].send_to(&datagram, sockets.to[n]);
            match within(until, send).await {
                Ok(_) => sent += 1,
                Err(e) => failed = Some((failed.map_or(1, |(n, _)| n + 1), e)),
            }
        }
        let mut director = lock(director);
        director.count_sync(SyncCount::Sent, sent);
        if let Some((n, e)) = &failed {
            director.count_sync(SyncCount::SendFailed, *n);
            if self.failing {
                debug!("sync daemon: {e}");
            } else {
                warn!(
                    interface = self.daemon.interface,
                    "sync daemon cannot send: {e}"
                );
            }
        }
        self.failing = failed.is_some();
    }

    fn entries(&mut self, director: &Shared) -> Result<Vec<Entry>, TableError> {
        let mut entries = Vec::new();
        for _ in 0..LOOKS {
            match lock(director).changes_to_tell(NOTES)? {
                Some(changes) => entries.extend(changes),
                None => break,
            }
        }
        let mut director = lock(director);
        entries.extend(director.due_to_tell(AGAIN)?);
        let version = match director.knob(Knob::SyncVersion) {
            0 => Version::Zero,
            _ => Version::One,
        };
        let count = self.sockets.as_ref().map_or(0, |s| s.each.len());
        if self.writers.len() != count || self.writers.iter().any(|w| w.version() != version) {
            let maxlen = self.daemon.maxlen.unwrap_or(u16::MAX);
            let writer = Writer::new(version, self.daemon.syncid, maxlen.into());
            self.writers = vec![writer; count];
        }
        Ok(entries)
    }
}

/// What can be done at once is done, also after that time.
async fn within(
    until: Instant,
    send: impl Future<Output = io::Result<usize>>,
) -> io::Result<usize> {
    let done = timeout_at(until, send).await;
    done.unwrap_or_else(|_| Err(io::ErrorKind::WouldBlock.into()))
}

/// The datagrams that these entries make, each with the number of its socket: a connection always goes by the same one.
fn fill(writers: &mut [Writer], entries: &[Entry]) -> Vec<(usize, Vec<u8>)> {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let mut done = Vec::new();
    for entry in entries {
        let hash = hasher.hash_one((entry.proto, entry.client, entry.virt));
        let n = hash as usize % writers.len();
        done.extend(writers[n].put(entry).map(|datagram| (n, datagram)));
    }
    for (n, writer) in writers.iter_mut().enumerate() {
        done.extend(writer.take().map(|datagram| (n, datagram)));
    }
    done
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn sockets_without_room_are_waited_for_once_and_those_with_room_never() {
        let start = Instant::now();
        let until = start + PATIENCE;
        for _ in 0..100 {
            let full = within(until, pending()).await;
            assert_eq!(full.unwrap_err().kind(), io::ErrorKind::WouldBlock);
            assert_eq!(within(until, ready(Ok(7))).await.ok(), Some(7));
        }
        let took = start.elapsed();
        assert!((PATIENCE..10 * PATIENCE).contains(&took), "{took:?}");
    }
}
