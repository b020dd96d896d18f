//! `ipvsd run`: ties datapath, director, network and API together. The only place that spawns tasks.
//!
//! Decides nothing about services or packets: it passes on what the parts tell each other.

mod beginning;
mod detach;
mod egress;
mod interfaces;
mod kernel;
mod life;
mod network;
mod notes;
mod notify;
mod options;
mod pace;
mod patience;
mod privileges;
mod reload;
mod report;
mod restart;
mod socket;
mod steps;
mod switch;
mod sync;
mod vlans;

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    task::{JoinSet, block_in_place},
    time::{Interval, sleep},
};
use tracing::{error, info};

pub use crate::dataplane::bpf::ModePolicy;
pub use detach::{detach, instances};
pub use interfaces::Wanted;
pub use life::run;
pub use options::{Options, instance_of};
pub use pace::{Pace, Slice};

use crate::{
    api::{
        desk::{self, Desk, Place},
        server::{Attach, Handle},
    },
    config::Config,
    dataplane::bpf::Instance,
    director::{Aged, Director},
    net::{
        Changes, FeatureChanges, ManagedNeighbours, Netlink, Network as _, Watch, available_pages,
        give_back_memory, source_towards, unprivileged_port,
    },
    slowpath::{self, PacketSocket},
};
use egress::EgressSync;
use interfaces::Interfaces;
use patience::Patience;
use report::{report_memory, report_need};
use restart::Around;
use switch::Switch;
use vlans::Vlans;

/// Neighbours that somebody flushed are held again after this time at the latest.
const REFRESH: Duration = Duration::from_secs(10);

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
    held: (BTreeSet<IpAddr>, Instant),
    /// The datapath was not told yet that ways changed.
    ways_stale: bool,
    /// With housekeeping, with telling of new ways, and with ageing.
    patience: [Patience; 3],
    tasks: Option<Tasks>,
    switch: Switch,
    instance: Arc<Instance>,
    detach_on_exit: bool,
    signals: [Signal; 3],
}

/// What there is to do.
enum Wake {
    Housekeeping,
    /// Commands were carried out.
    Commands,
    Changed(Changes),
    Features,
    /// Other interfaces are wished for.
    Attach(Attach),
    Reload,
    Alive,
    Stop,
    /// And leave nothing behind.
    Detach,
    Broken(anyhow::Error),
}

impl Daemon {
    /// Over the pins of the instance that this process claimed.
    async fn start(options: Options, instance: Arc<Instance>) -> Result<Self> {
        let signals = [
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ];
        report_need(options.config.capacities);
        let (store, capacities) = (options.store(), options.config.capacities);
        let opened = block_in_place(|| restart::open(&instance, &options.socket, capacities))?;
        let (keeper, mut dataplane) = (opened.keeper, opened.dataplane);
        let migration = opened.migration;
        report_memory(&dataplane);
        let loader = dataplane.loader();
        let egress = dataplane.take_egress().ok_or_else(taken)?;
        let vlans = Vlans::new(dataplane.take_vlans().ok_or_else(taken)?);
        let punt = dataplane.take_punt().ok_or_else(taken)?;
        let again = dataplane.take_again().ok_or_else(taken)?;
        let messages = dataplane.take_messages();
        let (mut director, adopted) =
            Director::open(Box::new(dataplane), Box::new(source_towards))?;
        director.age_in_parts();
        director.resume_walks()?;
        director.set_memory_source(Box::new(|| available_pages().unwrap_or(u64::MAX)));
        restart::report(instance.name(), adopted, &director);
        director.adjust_settings(|settings| {
            let port = unprivileged_port();
            settings.unprivileged_port = port.unwrap_or(settings.unprivileged_port);
        })?;
        let capacities = director.capacities();
        let mut desk = Desk::new(
            Config {
                capacities,
                ..options.config
            },
            options.file,
            store,
        )
        .with_reader(options.reader);
        let network = Netlink::connect()?;
        let links = network.links().await?;
        let (egress, feature_changes) = EgressSync::begin(egress, &links).await?;
        let recalled = desk.recall(&director, adopted.is_some());
        let wanted = options::wanted(&options.named, options.mode, desk.interfaces());
        let mut interfaces = Interfaces::new(loader, wanted, keeper, vlans);
        let mut beginning = block_in_place(|| interfaces.begin(links, &options.interfaces))?;
        // Of services that are at work nothing changes before the new interfaces are attached to, which may refuse. (Tables that
        // are still filled from others are nobody's work yet.)
        if adopted.is_some() && migration.is_none() {
            block_in_place(|| interfaces.attach_new(&mut beginning))?;
        }
        desk.begin(&mut director, recalled)
            .context("cannot carry out the configuration; interfaces are as they were")?;

        let (changed, changes) = mpsc::channel(1);
        let mut tasks = Tasks::new();
        tasks.spawn(watch(Watch::start()?, changed));
        // Opened here, with a right that the threads of tasks do not have.
        let slow = slowpath::run(punt, again, PacketSocket::open()?, network.clone());
        tasks.spawn(async { slow.await.context("hand-over of frames failed") });
        if let Some(messages) = messages {
            tasks.spawn(async { messages.pass_on().await.context("messages of the datapath") });
        }
        let (attaching, switch) = Switch::new(options.named, options.mode);
        let handle = Handle {
            desk: Place::new(desk),
            attaching: Some(attaching),
            ..Handle::new(director)
        };
        let sync = sync::begin(&mut tasks, &handle.director, &network);
        let handle = Handle { sync, ..handle };
        let mut daemon = Self {
            handle,
            interfaces,
            egress,
            neighbours: ManagedNeighbours::new(network.clone()),
            network,
            changes,
            feature_changes,
            held: (BTreeSet::new(), Instant::now()),
            ways_stale: false,
            patience: <[Patience; 3]>::default(),
            tasks: Some(tasks),
            switch,
            instance,
            detach_on_exit: options.detach_on_exit,
            signals,
        };
        let mut around = Around::new(&daemon.instance, migration, &daemon.handle.director)?;
        block_in_place(|| {
            daemon
                .interfaces
                .take_over(beginning, |moment| around.at(moment))
        })?;
        let mut desk = daemon.handle.desk.lock().await;
        block_in_place(|| desk.begun());
        drop(desk);
        daemon.list_interfaces();
        let held = daemon.interfaces.keeper().notes().neighbours.clone();
        daemon.neighbours.resume(held);
        daemon.hold_neighbours().await;
        daemon.resume_sync();
        desk::go_on_waiting(&daemon.handle).await;
        Ok(daemon)
    }

    /// One line when everything is in place: whoever started the daemon may wait for it.
    fn announce(&self, socket: &std::path::Path) {
        let attached = self.interfaces.to_string();
        info!(socket = %socket.display(), interfaces = attached, "ready");
        println!("ready: {attached}; socket {}", socket.display());
        notify::ready(&format!("balancing on {attached}"));
        give_back_memory();
    }

    async fn work(&mut self, tasks: &mut Tasks) -> Result<()> {
        let mut pace = Pace::new(Instant::now());
        let mut alive = notify::watchdog().map(tokio::time::interval);
        loop {
            match self.next(pace.due(), alive.as_mut(), tasks).await {
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
                Wake::Attach(asked) => self.attach(asked).await,
                Wake::Reload => reload::reload(self.handle.clone()),
                Wake::Alive => notify::alive(),
                Wake::Stop => return Ok(()),
                Wake::Detach => {
                    self.detach_on_exit = true;
                    return Ok(());
                }
                Wake::Broken(e) => return Err(e),
            }
        }
    }

    async fn next(
        &mut self,
        due: Instant,
        alive: Option<&mut Interval>,
        tasks: &mut Tasks,
    ) -> Wake {
        let alive = async {
            match alive {
                Some(interval) => interval.tick().await,
                None => std::future::pending().await,
            }
        };
        let features = async {
            match &mut self.feature_changes {
                Some(changes) => changes.changed().await,
                None => std::future::pending().await,
            }
        };
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => Wake::Stop,
            _ = terminate.recv() => Wake::Stop,
            _ = hangup.recv() => Wake::Reload,
            _ = alive => Wake::Alive,
            Some(asked) = self.switch.requests.recv() => Wake::Attach(asked),
            Some(ended) = tasks.join_next() => Wake::Broken(match ended {
                Ok(Err(e)) => e,
                Ok(Ok(())) => anyhow!("a task of the daemon ended"),
                Err(e) => anyhow!("a task of the daemon ended: {e}"),
            }),
            Some(changes) = self.changes.recv() => Wake::Changed(changes),
            () = self.handle.changed.notified() => Wake::Commands,
            () = self.handle.detach.notified() => Wake::Detach,
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
        self.note_sync();
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

    fn with_director<T>(&self, job: impl FnOnce(&mut Director) -> T) -> T {
        block_in_place(|| job(&mut lock(&self.handle.director)))
    }

    fn list_interfaces(&self) {
        let now = self.interfaces.listing();
        let before = std::mem::replace(&mut *lock(&self.handle.interfaces), now.clone());
        self.handle.events.tell_all(switch::told(&before, &now));
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
