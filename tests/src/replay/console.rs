//! A director with its API on a socket, and the command line that talks to it: commands take the same way as in production.

use std::{
    env, fs,
    net::IpAddr,
    path::{Path, PathBuf},
    process,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use ipvs_common::Addr;
use ipvs_user::{
    api::{
        client::Client,
        server::{self, Handle},
    },
    config::Access,
    dataplane::Dataplane,
    director::Director,
    ipvsadm::{self, Outcome},
    proc,
};
use tokio::runtime::{Builder, Runtime};

use super::names::Recorded;
use crate::trace::Network;

pub struct Console {
    runtime: Runtime,
    director: Arc<Mutex<Director>>,
    socket: PathBuf,
}

impl Console {
    pub fn new(dataplane: Box<dyn Dataplane>, network: &Network) -> Result<Self> {
        let network = network.clone();
        let source = move |to: Addr| {
            Some(match to.ip() {
                IpAddr::V4(to) => network.source(to).into(),
                IpAddr::V6(to) => IpAddr::V6(network.source6(to)).into(),
            })
        };
        let director = Director::new(dataplane, Box::new(source))?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let socket = fresh_socket();
        let handle = Handle::new(director);
        let director = Arc::clone(&handle.director);
        let listener =
            runtime.block_on(async { server::bind(&socket, &Access::default())?.start() });
        let listener = listener.with_context(|| socket.display().to_string())?;
        runtime.spawn(server::serve(
            listener,
            server::router(handle),
            std::future::pending(),
        ));
        Ok(Self {
            runtime,
            director,
            socket,
        })
    }

    /// Runs a line that starts with `ipvsadm`.
    pub fn run(&self, line: &str) -> Result<Outcome> {
        self.run_with(line, "")
    }

    /// The same with something on its standard input.
    pub fn run_with(&self, line: &str, input: &str) -> Result<Outcome> {
        let mut words = line.split_whitespace().map(str::to_owned);
        let program = words.next().filter(|w| w == "ipvsadm");
        let program = program.with_context(|| format!("not a line of ipvsadm: {line}"))?;
        let args: Vec<_> = words.collect();
        let client = Client::new(&self.socket);
        let mut input = input.as_bytes();
        let run = ipvsadm::run(&program, &args, &client, &Recorded, &mut input);
        Ok(self.runtime.block_on(run))
    }

    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Serves the socket while somebody who knows nothing of its runtime waits for an answer.
    pub fn meanwhile<T: Send>(&self, wait: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let waiting = scope.spawn(wait);
            self.runtime.block_on(async {
                while !waiting.is_finished() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
            match waiting.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// What ip_vs would have in a file under `/proc/net`.
    pub fn proc(&self, file: proc::File) -> Result<String> {
        let client = Client::new(&self.socket);
        Ok(self.runtime.block_on(proc::text(&client, file))?)
    }

    pub fn director(&self) -> MutexGuard<'_, Director> {
        self.director.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // It may be gone already; then so much the better.
        let _ = fs::remove_file(&self.socket);
    }
}

fn fresh_socket() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    env::temp_dir().join(format!("ipvs-tests-{}-{n}.sock", process::id()))
}
