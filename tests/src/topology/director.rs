//! `ipvsd` in dom0, and the commands that an administrator types to it.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, mpsc::channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{Netns, left::Left, limit::here, place::Place, programs};

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
    /// The end of the daemon is not that of its packets.
    pub stays: bool,
    /// `--instance`; nothing: by its socket.
    pub instance: Option<String>,
    /// The daemon's program, where it is not the one under test.
    pub program: Option<PathBuf>,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// With these capabilities and no others, as `setpriv` names them; nothing: with all.
    pub capabilities: Option<&'static str>,
    /// Beside what the tests themselves were started with.
    pub environment: Vec<(&'static str, String)>,
}

impl Default for Start {
    fn default() -> Self {
        Self {
            interfaces: DOM0_INTERFACES.to_vec(),
            mode: Some("native"),
            config: None,
            stays: false,
            instance: None,
            program: None,
            arguments: Vec::new(),
            capabilities: None,
            environment: Vec::new(),
        }
    }
}

/// The running daemon. Dropping it before it was stopped kills it, and tells what it knew: it is the way out of a failure.
#[derive(Debug)]
pub struct Director {
    process: Child,
    /// Its line when it was ready.
    ready: String,
    place: Arc<Place>,
    /// Neither stopped nor meant to fail.
    at_work: bool,
}

impl Director {
    /// Starts the daemon and waits until it is ready.
    pub fn start(dom0: &Netns, how: &Start) -> Result<Self> {
        Self::start_in(Arc::new(Place::new(dom0)?), how)
    }

    /// The program under test.
    pub fn program() -> Result<PathBuf> {
        programs::find("ipvsd", "IPVSD")
    }

    pub(super) fn start_in(place: Arc<Place>, how: &Start) -> Result<Self> {
        let mut this = Self::launch(place, how)?;
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
        Self::refusal_in(Arc::new(Place::new(dom0)?), how)
    }

    /// Has another one refuse to start beside this one.
    pub fn refuses_another(&self, how: &Start) -> Result<String> {
        Self::refusal_in(Arc::clone(&self.place), how)
    }

    pub(super) fn refusal_in(place: Arc<Place>, how: &Start) -> Result<String> {
        let mut this = Self::launch(place, how)?;
        this.at_work = false;
        let status = this.wait(START)?;
        ensure!(!status.success(), "ipvsd ended with success");
        Ok(this.log())
    }

    pub(super) fn launch(place: Arc<Place>, how: &Start) -> Result<Self> {
        let program = match &how.program {
            Some(program) => program.clone(),
            None => programs::find("ipvsd", "IPVSD")?,
        };
        let mut command = match how.capabilities {
            None => place.dom0.command(program),
            Some(these) => {
                let mut command = place.dom0.command("setpriv");
                for set in ["--bounding-set", "--inh-caps", "--ambient-caps"] {
                    command.arg(format!("{set}=-all,{these}"));
                }
                command.arg(program);
                command
            }
        };
        command.arg("run").args(&how.arguments);
        for interface in &how.interfaces {
            command.args(["--iface", interface]);
        }
        if let Some(mode) = how.mode {
            command.args(["--mode", mode]);
        }
        if let Some(instance) = &how.instance {
            command.args(["--instance", instance]);
        }
        if !how.stays {
            command.arg("--detach-on-exit");
        }
        if let Some(config) = &how.config {
            let path = place.scratch.path().join("ipvsd.toml");
            fs::write(&path, config)?;
            command.arg("--config").arg(path);
        }
        let process = command
            .env("IPVSD_SOCKET", place.socket())
            .envs(how.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(place.scratch.path().join("log"))?)
            .spawn()
            .context("starting ipvsd")?;
        Ok(Self {
            process,
            ready: String::new(),
            place,
            at_work: true,
        })
    }

    fn wait_until_ready(&mut self) -> Result<String> {
        let stdout = self.process.stdout.take().context("no standard output")?;
        let (line, lines) = channel();
        thread::spawn(move || line.send(first_line(stdout)));
        let limit = here(START);
        let line = lines.recv_timeout(limit);
        let line = line.with_context(|| format!("not ready after {} s", limit.as_secs()))?;
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
        fs::read_to_string(self.place.scratch.path().join("log")).unwrap_or_default()
    }

    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.place.socket()
    }

    /// Carries out a command line, `ipvsadm …`: its standard output. Anything on standard error is a failure.
    pub fn run(&self, line: &str) -> Result<String> {
        self.place.run(line)
    }

    /// A command line, not started yet.
    pub fn command(&self, line: &str) -> Result<Command> {
        self.place.command(line)
    }

    /// A command line that is to be refused: what it says.
    pub fn refused(&self, line: &str) -> Result<String> {
        let output = self.place.output(line)?;
        ensure!(!output.status.success(), "{line}: success");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Begins a command line, which may be cut short.
    pub fn begin(&self, line: &str) -> Result<Child> {
        let mut command = self.place.command(line)?;
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().with_context(|| format!("starting {line}"))
    }

    /// Writes the file that it reads again when it is told to.
    pub fn configure(&self, config: &str) -> Result<()> {
        Ok(fs::write(self.config(), config)?)
    }

    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.place.scratch.path().join("ipvsd.toml")
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn run_all(&self, lines: &[&str]) -> Result<()> {
        lines.iter().try_for_each(|line| self.run(line).map(drop))
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

    /// Waits for the end of one that was told to end by other means.
    pub fn ended(mut self) -> Result<()> {
        self.at_work = false;
        let status = self.wait(STOP)?;
        ensure!(
            status.success(),
            "ipvsd ended with {status}:\n{}",
            self.log()
        );
        Ok(())
    }

    /// The same of one that leaves its packets flowing.
    pub fn leave(mut self) -> Result<Left> {
        self.signal(Signal::SIGTERM)?;
        let status = self.wait(STOP)?;
        self.at_work = false;
        ensure!(
            status.success(),
            "ipvsd ended with {status}:\n{}",
            self.log()
        );
        Ok(self.left())
    }

    /// Ends the daemon as a crash would.
    pub fn kill(mut self) -> Result<Left> {
        self.signal(Signal::SIGKILL)?;
        self.at_work = false;
        self.wait(STOP)?;
        Ok(self.left())
    }

    fn left(&self) -> Left {
        Left {
            place: Arc::clone(&self.place),
        }
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
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
        let links = self
            .place
            .dom0
            .output("ip", &["-s", "link"])
            .unwrap_or_default();
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
