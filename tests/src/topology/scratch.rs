//! A directory for sockets and logs that is removed at the end, also when the process is interrupted.

use std::{
    env, fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process,
    sync::{
        Mutex, Once, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};

/// The number of the process follows.
pub(super) const PREFIX: &str = "ipvs-netns-";

/// The directories there are, for the case of an interruption.
static ALIVE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        clean_up_on_interrupt("");
        sweep();
        let count = COUNT.fetch_add(1, Ordering::SeqCst);
        let path = env::temp_dir().join(format!("{PREFIX}{}-{count}", process::id()));
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("making {}", path.display()))?;
        alive(|all| all.push(path.clone()));
        Ok(Self(path))
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
        alive(|all| all.retain(|path| *path != self.0));
    }
}

/// Removes what processes left that had no chance to.
fn sweep() {
    for entry in fs::read_dir(env::temp_dir())
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name();
        let name = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let owner = name.and_then(|name| name.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn alive(change: impl FnOnce(&mut Vec<PathBuf>)) {
    change(&mut ALIVE.lock().unwrap_or_else(PoisonError::into_inner));
}

/// From now on SIGINT, SIGTERM and SIGHUP remove what is there, say `last_words` and end the process. Only the first call
/// counts. Processes and namespaces go with this process by themselves.
pub fn clean_up_on_interrupt(last_words: &'static str) {
    static HANDLER: Once = Once::new();
    HANDLER.call_once(|| {
        thread::spawn(|| wait_and_end(last_words));
    });
}

fn wait_and_end(last_words: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(number) = runtime.map(|r| r.block_on(interrupted())) else {
        return;
    };
    alive(|all| {
        for path in all.iter() {
            let _ = fs::remove_dir_all(path);
        }
        eprint!("{last_words}");
        process::exit(128 + number);
    });
}

async fn interrupted() -> i32 {
    let [interrupt, terminate, hangup] = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    tokio::select! {
        () = once(interrupt) => interrupt.as_raw_value(),
        () = once(terminate) => terminate.as_raw_value(),
        () = once(hangup) => hangup.as_raw_value(),
    }
}

async fn once(kind: SignalKind) {
    match signal(kind) {
        Ok(mut signals) => _ = signals.recv().await,
        Err(_) => std::future::pending().await,
    }
}
