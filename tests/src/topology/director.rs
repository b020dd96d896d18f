//! `ipvsd` in dom0, and the commands that an administrator types to it.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{Netns, Scratch, programs};

/// All that packets come in by.
pub const DOM0_INTERFACES: [&str; 3] = ["eth0", "vif1", "vif2"];
/// Loading and verifying the datapath for three interfaces, on a machine that has other work.
const START: Duration = Duration::from_mins(3);
const STOP: Duration = Duration::from_secs(10);

/// How the daemon is started.
#[derive(Clone, Debug)]
pub struct Start {
    pub interfaces: Vec<&'static str>,
    /// `--mode`; nothing: the daemon chooses.
    pub mode: Option<&'static str>,
    /// Contents of the configuration file, if there is one.
    pub config: Option<String>,
}

impl Default for Start {
    fn default() -> Self {
        Self {
            interfaces: DOM0_INTERFACES.to_vec(),
            mode: Some("native"),
            config: None,
        }
    }
}

/// The running daemon. Dropping it before it was stopped kills it, and tells what it knew: it is the way out of a failure.
#[derive(Debug)]
pub struct Director {
    dom0: Netns,
    process: Child,
    /// Its line when it was ready.
    ready: String,
    scratch: Scratch,
    /// Neither stopped nor meant to fail.
    at_work: bool,
}

impl Director {
    /// Starts the daemon and waits until it is ready.
    pub fn start(dom0: &Netns, how: &Start) -> Result<Self> {
        let mut this = Self::launch(dom0, how)?;
        match this.wait_until_ready() {
            Ok(ready) => {
                this.ready = ready;
                Ok(this)
            }
            Err(e) => {
                this.at_work = false;
                bail!("{e:#}; ipvsd said:\n{}", this.log())
            }
        }
    }

    /// Has the daemon refuse to start: what it said, if that is what it did.
    pub fn refusal(dom0: &Netns, how: &Start) -> Result<String> {
        let mut this = Self::launch(dom0, how)?;
        this.at_work = false;
        let status = this.wait(START)?;
        ensure!(!status.success(), "ipvsd ended with success");
        Ok(this.log())
    }

    fn launch(dom0: &Netns, how: &Start) -> Result<Self> {
        let scratch = Scratch::new()?;
        let mut command = dom0.command(programs::find("ipvsd", "IPVSD")?);
        command.arg("run");
        for interface in &how.interfaces {
            command.args(["--iface", interface]);
        }
        if let Some(mode) = how.mode {
            command.args(["--mode", mode]);
        }
        if let Some(config) = &how.config {
            let path = scratch.path().join("ipvsd.toml");
            fs::write(&path, config)?;
            command.arg("--config").arg(path);
        }
        let process = command
            .env("IPVSD_SOCKET", scratch.path().join("socket"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(scratch.path().join("log"))?)
            .spawn()
            .context("starting ipvsd")?;
        Ok(Self {
            dom0: dom0.clone(),
            process,
            ready: String::new(),
            scratch,
            at_work: true,
        })
    }

    fn wait_until_ready(&mut self) -> Result<String> {
        let stdout = self.process.stdout.take().context("no standard output")?;
        let (line, lines) = channel();
        thread::spawn(move || line.send(first_line(stdout)));
        let line = lines.recv_timeout(START);
        let line = line.with_context(|| format!("not ready after {} s", START.as_secs()))?;
        ensure!(line.starts_with("ready:"), "first line is {line:?}");
        Ok(line)
    }

    #[must_use]
    pub fn ready(&self) -> &str {
        &self.ready
    }

    /// What it wrote to standard error so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default()
    }

    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.scratch.path().join("socket")
    }

    /// Carries out a command line, `ipvsadm …`: its standard output. Anything on standard error is a failure.
    pub fn run(&self, line: &str) -> Result<String> {
        let output = self.output(line)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            output.status.success() && said.is_empty(),
            "{line}: {}: {said}",
            output.status
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    pub fn run_all(&self, lines: &[&str]) -> Result<()> {
        lines.iter().try_for_each(|line| self.run(line).map(drop))
    }

    /// The same with whatever it printed and however it ended.
    pub fn output(&self, line: &str) -> Result<Output> {
        let output = self.command(line)?.output();
        output.with_context(|| format!("starting {line}"))
    }

    /// The same, not started yet.
    pub fn command(&self, line: &str) -> Result<Command> {
        let mut words = line.split_whitespace();
        let program = match words.next() {
            Some("ipvsadm") => programs::find("ipvsadm", "IPVSADM")?,
            Some("ipvsd") => programs::find("ipvsd", "IPVSD")?,
            other => bail!("{other:?} is no program of the director"),
        };
        let mut command = Command::new(program);
        command.args(words).env("IPVSD_SOCKET", self.socket());
        Ok(command)
    }

    /// Ends the daemon in an orderly way.
    pub fn stop(mut self) -> Result<String> {
        self.signal(Signal::SIGTERM)?;
        let status = self.wait(STOP)?;
        self.at_work = false;
        let log = self.log();
        ensure!(status.success(), "ipvsd ended with {status}:\n{log}");
        Ok(log)
    }

    /// Ends the daemon as a crash would.
    pub fn kill(mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.at_work = false;
        self.wait(STOP).map(drop)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.process.id().cast_signed());
        kill(pid, signal).context("signalling ipvsd")
    }

    fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let start = Instant::now();
        while start.elapsed() < limit {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(10));
        }
        bail!(
            "ipvsd still runs after {} s:\n{}",
            limit.as_secs(),
            self.log()
        )
    }

    /// What a person would ask for first when something went wrong.
    fn report(&self) -> String {
        let ask = |line: &str| {
            self.run(line)
                .unwrap_or_else(|e| format!("{line}: {e:#}\n"))
        };
        let links = self.dom0.output("ip", &["-s", "link"]).unwrap_or_default();
        format!(
            "{}{}{}{links}ipvsd said:\n{}",
            ask("ipvsadm -Ln --stats"),
            ask("ipvsadm -Lnc"),
            ask("ipvsd reasons"),
            self.log()
        )
    }
}

impl Drop for Director {
    fn drop(&mut self) {
        if self.at_work {
            eprintln!("{}", self.report());
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads on after it, so that the daemon never meets a closed pipe.
fn first_line(stdout: ChildStdout) -> String {
    let mut reader = BufReader::new(stdout);
    let mut line = String::new();
    let _ = reader.read_line(&mut line);
    thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    line.trim_end().to_owned()
}
