//! What the daemon tells whoever started it: systemd by its socket, programs by the lines of its log.

use std::{
    os::unix::net::UnixDatagram,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use ipvs_tests::topology::{Director, Scratch, Start, Topology, eventually, within};
use nix::sys::signal::Signal;
use serde_json::Value;

/// After which systemd takes the daemon for stuck.
const WATCHDOG: Duration = Duration::from_secs(2);

/// Listens in the place of systemd.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    _directory: Scratch,
}

impl Manager {
    fn new() -> Result<Self> {
        let directory = Scratch::new()?;
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self {
            socket,
            path,
            _directory: directory,
        })
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("NOTIFY_SOCKET", self.path.display().to_string()),
            ("WATCHDOG_USEC", WATCHDOG.as_micros().to_string()),
        ]
    }

    /// The next message, as lines.
    fn hears(&self) -> Result<Vec<String>> {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).context("nothing was told")?;
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// The next message that is no sign of life.
    fn hears_news(&self) -> Result<Vec<String>> {
        loop {
            let message = self.hears()?;
            if message != ["WATCHDOG=1"] {
                return Ok(message);
            }
        }
    }
}

fn file(method: &str) -> String {
    format!(
        "[[service]]\ntcp = '10.0.0.5:25'\nscheduler = 'rr'\n\
         [[service.real]]\naddress = '10.0.1.5:25'\nmethod = '{method}'\n"
    )
}

#[test]
fn systemd_is_told_of_ready_alive_reloading_and_stopping() {
    within(60, || {
        let net = Topology::new()?;
        let manager = Manager::new()?;
        let start = Start {
            config: Some(file("masq")),
            environment: manager.environment(),
            ..Start::default()
        };
        let director = Director::start(&net.dom0, &start)?;
        let ready = manager.hears_news()?;
        ensure!(ready[0] == "READY=1", "{ready:?}");
        ensure!(ready[1].contains("balancing on eth0 native"), "{ready:?}");
        // Twice in the time that it has, so never later than that.
        ensure!(manager.hears()? == ["WATCHDOG=1"]);
        for _ in 0..5 {
            let start = Instant::now();
            let message = manager.hears()?;
            ensure!(message == ["WATCHDOG=1"], "{message:?}");
            ensure!(start.elapsed() < WATCHDOG, "{:?}", start.elapsed());
        }
        for (method, status) in [
            ("droute", "STATUS=reloaded, "),
            ("mask", "STATUS=reload failed: "),
        ] {
            director.configure(&file(method))?;
            director.signal(Signal::SIGHUP)?;
            let reloading = manager.hears_news()?;
            ensure!(reloading[0] == "RELOADING=1", "{reloading:?}");
            let at = reloading[1].strip_prefix("MONOTONIC_USEC=");
            ensure!(at.is_some_and(|at| at.parse::<u64>().is_ok()));
            let done = manager.hears_news()?;
            ensure!(done[0] == "READY=1", "{done:?}");
            ensure!(done[1].starts_with(status), "{done:?}");
        }
        director.signal(Signal::SIGTERM)?;
        let stopping = manager.hears_news()?;
        ensure!(stopping[0] == "STOPPING=1", "{stopping:?}");
        director.ended()?;
        Ok(())
    });
}

#[test]
fn daemon_that_is_stuck_gives_no_sign_of_life() {
    within(60, || {
        let net = Topology::new()?;
        let manager = Manager::new()?;
        let start = Start {
            environment: manager.environment(),
            ..Start::default()
        };
        let director = Director::start(&net.dom0, &start)?;
        manager.hears_news()?;
        director.signal(Signal::SIGSTOP)?;
        manager.socket.set_read_timeout(Some(2 * WATCHDOG))?;
        let start = Instant::now();
        while manager.hears().is_ok() {
            ensure!(start.elapsed() < Duration::from_secs(5), "it goes on");
        }
        director.signal(Signal::SIGCONT)?;
        ensure!(manager.hears()? == ["WATCHDOG=1"]);
        director.stop()?;
        Ok(())
    });
}

/// Every line is an object of its own that says when, how bad, where from, and what.
fn objects(log: &str) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    for line in log.lines() {
        let object: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        for key in ["timestamp", "level", "target", "message"] {
            let text = object[key].as_str();
            ensure!(text.is_some_and(|t| !t.is_empty()), "no {key}: {line}");
        }
        objects.push(object);
    }
    Ok(objects)
}

fn says(objects: &[Value], level: &str, what: &str) -> bool {
    let matches = |o: &&Value| o["message"].as_str().is_some_and(|m| m.contains(what));
    objects.iter().filter(matches).any(|o| o["level"] == level)
}

#[test]
fn log_for_programs_is_an_object_on_each_line_also_of_failures() {
    within(60, || {
        let net = Topology::new()?;
        let start = Start {
            config: Some(file("masq")),
            arguments: vec!["--log-format".to_owned(), "json".to_owned()],
            ..Start::default()
        };
        let director = Director::start(&net.dom0, &start)?;
        // A message of several lines is one line.
        director.configure(&file("mask"))?;
        director.refused("ipvsd reload")?;
        let told = || director.log().matches("no forwarding method").count();
        let by_command = told();
        director.signal(Signal::SIGHUP)?;
        let by_signal = eventually(Duration::from_secs(5), || Ok(told() > by_command))?;
        ensure!(by_signal, "{}", director.log());
        let log = objects(&director.stop()?)?;
        ensure!(says(&log, "INFO", "ready"), "{log:?}");
        ensure!(says(&log, "ERROR", "no forwarding method"), "{log:?}");
        let refused = Start {
            interfaces: vec!["eth9"],
            ..start
        };
        let log = objects(&Director::refusal(&net.dom0, &refused)?)?;
        ensure!(says(&log, "ERROR", "no interface eth9"), "{log:?}");
        Ok(())
    });
}
