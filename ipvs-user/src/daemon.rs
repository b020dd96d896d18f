//! `ipvsd run`: ties datapath, director, network and API together. The only place that spawns tasks.
//!
//! Decides nothing about services or packets: it passes on what the parts tell each other.

mod egress;
mod interfaces;
mod kernel;
mod options;
mod pace;
mod patience;
mod privileges;
mod socket;

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use ipvs_common::maps::Capacities;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    task::{JoinSet, block_in_place},
    time::sleep,
};
use tracing::{error, info, warn};

pub use crate::dataplane::bpf::ModePolicy;
pub use interfaces::Wanted;
pub use options::Options;
pub use pace::{Pace, Slice};

use crate::{
    api::server::{self, Handle},
    dataplane::bpf::{Available, BpfDataplane, Need, OBJECT},
    director::{Aged, Director},
    net::{
        Changes, FeatureChanges, Features, ManagedNeighbours, Netlink, Network as _, Watch,
        available_pages, source_towards, unprivileged_port,
    },
    slowpath,
};
use egress::EgressSync;
use interfaces::Interfaces;
use patience::Patience;
use socket::SocketFile;

/// Neighbours that somebody flushed are held again after this time at the latest.
const REFRESH: Duration = Duration::from_secs(10);
/// Open requests get this long to end.
const FAREWELL: Duration = Duration::from_secs(2);

/// Runs until it is told to stop. Whatever was attached or set is undone, also on an error.
pub async fn run(options: Options) -> Result<()> {
    kernel::check()?;
    privileges::check()?;
    let socket = SocketFile::bind(&options.socket)?;
    let mut daemon = Daemon::start(options).await?;
    let mut tasks = daemon.tasks.take().unwrap_or_default();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = server::serve(socket.listener, daemon.handle.clone(), async {
        let _ = stopped.await;
    });
    let server = tokio::spawn(served);
    daemon.announce(socket.file.path());
    let ended = daemon.work(&mut tasks).await;
    let _ = stop.send(());
    let _ = tokio::time::timeout(FAREWELL, server).await;
    daemon.finish().await;
    ended
}

/// A task that should never end; it ends with a reason.
type Tasks = JoinSet<Result<()>>;

struct Daemon {
    handle: Handle,
    interfaces: Interfaces,
    egress: EgressSync,
    neighbours: ManagedNeighbours<Netlink>,
    network: Netlink,
    changes: mpsc::Receiver<Changes>,
    feature_changes: Option<FeatureChanges>,
    /// Addresses of the real servers when their neighbours were last looked at, and when that was.
    held: (BTreeSet<Ipv4Addr>, Instant),
    /// The datapath was not told yet that ways changed.
    ways_stale: bool,
    /// With housekeeping, with telling of new ways, and with ageing.
    patience: [Patience; 3],
    tasks: Option<Tasks>,
    signals: [Signal; 2],
}

/// What there is to do.
enum Wake {
    Housekeeping,
    /// Commands were carried out.
    Commands,
    Changed(Changes),
    Features,
    Stop,
    Broken(anyhow::Error),
}

impl Daemon {
    async fn start(options: Options) -> Result<Self> {
        let signals = [
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        ];
        let Options {
            interfaces, config, ..
        } = options;
        report_need(config.capacities);
        let mut dataplane = block_in_place(|| BpfDataplane::load(OBJECT, config.capacities))?;
        report_memory(&dataplane);
        let loader = dataplane.loader();
        let egress = dataplane.take_egress().ok_or_else(taken)?;
        let punt = dataplane.take_punt().ok_or_else(taken)?;
        let messages = dataplane.take_messages();
        let mut director = Director::new(Box::new(dataplane), Box::new(source_towards))?;
        director.age_in_parts();
        director.set_memory_source(Box::new(|| available_pages().unwrap_or(u64::MAX)));
        director.adjust_settings(|settings| {
            let port = unprivileged_port();
            settings.unprivileged_port = port.unwrap_or(settings.unprivileged_port);
            config.adjust(settings);
        })?;
        let sysctls = config.sysctls.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        director
            .set_sysctls(sysctls)
            .context("cannot set [sysctl] of the configuration; nothing was attached")?;
        director
            .execute_all(&config.commands())
            .context("cannot carry out the configuration; nothing was attached")?;

        let network = Netlink::connect()?;
        let (changed, changes) = mpsc::channel(1);
        let mut tasks = Tasks::new();
        tasks.spawn(watch(Watch::start()?, changed));
        let slow = slowpath::run(punt, network.clone());
        tasks.spawn(async { slow.await.context("hand-over of frames failed") });
        if let Some(messages) = messages {
            tasks.spawn(async { messages.pass_on().await.context("messages of the datapath") });
        }
        let (features, feature_changes) = Features::connect().await?.unzip();
        let mut daemon = Self {
            handle: Handle::new(director),
            interfaces: Interfaces::new(loader, interfaces),
            egress: EgressSync::new(egress, features),
            neighbours: ManagedNeighbours::new(network.clone()),
            network,
            changes,
            feature_changes,
            held: (BTreeSet::new(), Instant::now()),
            ways_stale: false,
            patience: <[Patience; 3]>::default(),
            tasks: Some(tasks),
            signals,
        };
        let links = daemon.network.links().await?;
        block_in_place(|| daemon.interfaces.attach_all(&links))?;
        daemon.list_interfaces();
        daemon.refresh_egress().await;
        daemon.hold_neighbours().await;
        Ok(daemon)
    }

    /// One line when everything is in place: whoever started the daemon may wait for it.
    fn announce(&self, socket: &std::path::Path) {
        let attached = self.interfaces.to_string();
        info!(socket = %socket.display(), interfaces = attached, "ready");
        println!("ready: {attached}; socket {}", socket.display());
    }

    async fn work(&mut self, tasks: &mut Tasks) -> Result<()> {
        let mut pace = Pace::new(Instant::now());
        loop {
            match self.next(pace.due(), tasks).await {
                Wake::Housekeeping => {
                    let start = Instant::now();
                    if pace.is_house_due(start) {
                        self.tick().await?;
                        pace.kept_house(start, start.elapsed());
                    }
                    let start = Instant::now();
                    if pace.is_slice_due(start) {
                        let slice = self.age()?;
                        pace.aged(start, start.elapsed(), slice);
                    }
                }
                Wake::Commands => {
                    if self.with_director(|d| d.is_ending()) {
                        pace.hurry(Instant::now());
                    }
                    self.hold_new_neighbours().await;
                }
                Wake::Changed(changes) => self.follow(changes).await?,
                Wake::Features => {
                    if self.refresh_egress().await {
                        self.ways_changed()?;
                    }
                }
                Wake::Stop => return Ok(()),
                Wake::Broken(e) => return Err(e),
            }
        }
    }

    async fn next(&mut self, due: Instant, tasks: &mut Tasks) -> Wake {
        let features = async {
            match &mut self.feature_changes {
                Some(changes) => changes.changed().await,
                None => std::future::pending().await,
            }
        };
        let [interrupt, terminate] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => Wake::Stop,
            _ = terminate.recv() => Wake::Stop,
            Some(ended) = tasks.join_next() => Wake::Broken(match ended {
                Ok(Err(e)) => e,
                Ok(Ok(())) => anyhow!("a task of the daemon ended"),
                Err(e) => anyhow!("a task of the daemon ended: {e}"),
            }),
            Some(changes) = self.changes.recv() => Wake::Changed(changes),
            () = self.handle.changed.notified() => Wake::Commands,
            () = features => Wake::Features,
            () = sleep(due.saturating_duration_since(Instant::now())) => Wake::Housekeeping,
        }
    }

    async fn tick(&mut self) -> Result<()> {
        let done = self.with_director(|d| d.tick().context("housekeeping"));
        self.patience[0].judge(done)?;
        if self.ways_stale {
            self.ways_changed()?;
        }
        if self.held.1.elapsed() >= REFRESH {
            self.hold_neighbours().await;
        }
        self.hold_new_neighbours().await;
        Ok(())
    }

    /// A slice of the ageing of the tables.
    fn age(&mut self) -> Result<Slice> {
        let aged = self.with_director(|d| d.age(Pace::SLICE).context("ageing"));
        let slice = match aged {
            Ok(Aged::Urgent) => Slice::Urgent,
            Ok(Aged::More) => Slice::More,
            // After a failure, again in a second.
            Ok(Aged::Round) | Err(_) => Slice::Last,
        };
        self.patience[2].judge(aged.map(|_| ()))?;
        Ok(slice)
    }

    async fn follow(&mut self, changes: Changes) -> Result<()> {
        if changes.links {
            match self.network.links().await {
                Ok(links) => {
                    block_in_place(|| self.interfaces.follow(&links));
                    self.list_interfaces();
                }
                Err(e) => warn!("{e}"),
            }
            self.refresh_egress().await;
        }
        self.ways_changed()?;
        self.hold_neighbours().await;
        Ok(())
    }

    /// Every cached way is asked anew; if that fails, again at the next housekeeping.
    fn ways_changed(&mut self) -> Result<()> {
        let done = self.with_director(|d| d.routes_changed().context("new ways"));
        self.ways_stale = done.is_err();
        self.patience[1].judge(done)
    }

    async fn hold_neighbours(&mut self) {
        let dests = self.dests();
        self.neighbours.hold(&dests).await;
        self.held = (dests, Instant::now());
    }

    /// Those of real servers that came since, at once: until then their first packets would have to wait.
    async fn hold_new_neighbours(&mut self) {
        if self.dests() != self.held.0 {
            self.hold_neighbours().await;
        }
    }

    async fn refresh_egress(&mut self) -> bool {
        match self.network.links().await {
            Ok(links) => self.egress.refresh(&links).await,
            Err(e) => {
                warn!("{e}");
                false
            }
        }
    }

    fn dests(&self) -> BTreeSet<Ipv4Addr> {
        self.with_director(|d| {
            let dests = d.model().services().flat_map(|s| &s.dests);
            dests.map(|real| *real.key.v4().ip()).collect()
        })
    }

    fn with_director<T>(&self, job: impl FnOnce(&mut Director) -> T) -> T {
        block_in_place(|| job(&mut lock(&self.handle.director)))
    }

    fn list_interfaces(&self) {
        *lock(&self.handle.interfaces) = self.interfaces.listing();
    }

    async fn finish(mut self) {
        info!("stopping: detaching, and restoring settings");
        self.interfaces.detach_all();
        self.neighbours.release_all().await;
    }
}

async fn watch(mut watch: Watch, changed: mpsc::Sender<Changes>) -> Result<()> {
    loop {
        let changes = watch.changed().await;
        changed.send(changes).await?;
    }
}

/// The director changes as the last step of a command, so a panic elsewhere left nothing half done.
fn lock<T>(mutex: &Arc<Mutex<T>>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn taken() -> anyhow::Error {
    error!("a part of the datapath was taken twice");
    anyhow!("a part of the datapath was taken twice")
}

/// Before the tables are made, which may take seconds.
fn report_need(capacities: Capacities) {
    if let Ok(need) = Need::here(capacities) {
        info!(
            connections = capacities.conns,
            "tables will take {need}; {}",
            Available::now()
        );
    }
}

fn report_memory(dataplane: &BpfDataplane) {
    let megabytes = |bytes: u64| bytes.div_ceil(1 << 20);
    let tables = dataplane.memory();
    let total = megabytes(tables.iter().map(|(_, bytes)| bytes).sum());
    let each: Vec<_> = tables
        .iter()
        .map(|(name, bytes)| format!("{name} {} MB", megabytes(*bytes)))
        .collect();
    info!(
        "tables take {total} MB of kernel memory: {}",
        each.join(", ")
    );
}
