//! Daemons over the same tables, one after the other, and the file by which they remember.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{TestDaemon, desk::FILE};
use crate::{
    api::{
        desk::{Desk, Store},
        wire::ApplyQuery,
    },
    config::{self, Config},
    director::Director,
};

/// The real server whose weight the changes change.
const REAL: &str = "10.0.1.2:80";

pub(super) fn within(seconds: u32) -> ApplyQuery {
    ApplyQuery {
        confirm: Some(seconds),
        ..ApplyQuery::default()
    }
}

pub(super) fn weighing(weight: u32) -> String {
    FILE.replace("weight = 2", &format!("weight = {weight}"))
}

/// Where daemons remember, one after the other.
pub(super) struct State(PathBuf);

impl State {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ipvsd-state-{}-{n}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn desk(&self, file: Option<&str>) -> Desk {
        self.desk_of("default", file)
    }

    pub(super) fn desk_of(&self, instance: &str, file: Option<&str>) -> Desk {
        let config = file.map_or_else(Config::empty, |f| config::parse("f", f).unwrap());
        let store = Store::at(Some(&self.0), "unused".as_ref(), instance);
        Desk::new(config, file.map(|_| "f".into()), store)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.0
    }

    pub(super) fn file(&self) -> PathBuf {
        self.0.join("applied.json")
    }

    pub(super) fn record(&self) -> Value {
        serde_json::from_slice(&fs::read(self.file()).unwrap()).unwrap()
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl TestDaemon {
    /// A daemon that remembers there, and what a start with this file makes of the tables.
    pub(super) async fn begin(&self, state: &State, file: Option<&str>, adopted: bool) {
        self.begin_with(state.desk(file), adopted).await;
    }

    pub(super) async fn begin_with(&self, mut desk: Desk, adopted: bool) {
        self.direct(|director| {
            let recalled = desk.recall(director, adopted);
            desk.begin(director, recalled).unwrap();
        });
        desk.begun();
        *self.handle.desk.lock().await = desk;
    }

    fn direct(&self, job: impl FnOnce(&mut Director)) {
        job(&mut self.director.lock().unwrap());
    }

    /// Ends as if it had been killed: nobody takes anything back.
    pub(super) async fn dies(&self) {
        *self.handle.desk.lock().await = Desk::default();
    }

    /// Once whoever is at work is done.
    pub(super) async fn waits(&self) -> bool {
        drop(self.handle.desk.lock().await);
        self.client.status().await.unwrap().waiting.is_some()
    }

    pub(super) async fn weighs(&self) -> Option<u32> {
        self.weight(0, REAL).await
    }

    pub(super) async fn comes_to_weigh(&self, weight: u32) {
        let start = Instant::now();
        while self.weighs().await != Some(weight) {
            assert!(start.elapsed() < Duration::from_secs(20), "not {weight}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
