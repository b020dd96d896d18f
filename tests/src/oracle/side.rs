//! The two directors of the oracle: the kernel's ip_vs with the ipvsadm that is installed, and ours. Both get the same
//! commands and knobs.

use std::{
    fs,
    io::{self, Cursor, Write as _},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use ipvs_user::ipvsadm::{self, Client, System};
use tokio::runtime::{Builder, Runtime};

use super::world::{Ends, LINKS, MARK, MARKED, World};
use crate::topology::{Director, Start};

/// Out of so many runs, our commands are processes in one.
const AS_PROCESSES: u16 = 16;

/// Few, so that the daemon is soon through with looking what is due.
const CONNECTIONS: u32 = 16384;
/// Lines of a list of connections without any.
const HEADINGS: usize = 2;
const FLUSH: Duration = Duration::from_mins(1);
/// A listing keeps the daemon from its work.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
const KNOBS: &str = "/proc/sys/net/ipv4/vs";

/// How a command ended and what it printed on both outputs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Said {
    pub(super) status: Option<i32>,
    pub(super) text: String,
}

/// A director in its world.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) world: World,
    /// None: the kernel.
    ours: Option<Ours>,
}

/// Commands to ours are carried out in this process, where starting one takes longest, but now and then by the program.
#[derive(Debug)]
struct Ours {
    director: Director,
    client: Client,
    runtime: Runtime,
    as_processes: bool,
}

impl Ours {
    fn ipvsadm(&self, arguments: &str, input: &str) -> Said {
        let args: Vec<_> = arguments.split_whitespace().map(str::to_owned).collect();
        let mut input = Cursor::new(input);
        let run = ipvsadm::run("ipvsadm", &args, &self.client, &System, &mut input);
        let outcome = self.runtime.block_on(run);
        Said {
            status: Some(i32::from(outcome.status)),
            text: format!("{}{}", outcome.stdout, outcome.stderr),
        }
    }
}

impl Side {
    pub(super) fn kernel() -> Result<Self> {
        Self::kernel_in(World::new(true, Ends::Caught)?)
    }

    /// For speed: nobody listens to what it sends.
    pub(super) fn kernel_alone() -> Result<Self> {
        Self::kernel_in(World::new(false, Ends::Unheard)?)
    }

    fn kernel_in(world: World) -> Result<Self> {
        ensure!(
            world.director.get("ipv4/vs/conntrack").is_ok(),
            "this kernel has no ip_vs: run this with `cargo xtask vm -- oracle`"
        );
        Ok(Self { world, ours: None })
    }

    pub(super) fn ours(ends: Ends) -> Result<Self> {
        let world = World::new(false, ends)?;
        let start = Start {
            interfaces: LINKS.to_vec(),
            config: Some(format!(
                "[director]\nconnections = {CONNECTIONS}\nhalf_open = {CONNECTIONS}\ntemplates = {CONNECTIONS}\n[interface.{}]\nmark = {MARK}\n",
                LINKS[MARKED]
            )),
            ..Start::default()
        };
        let director = Director::start(&world.director, &start)?;
        let ours = Ours {
            client: Client::new(&director.socket()),
            director,
            runtime: Builder::new_current_thread().enable_all().build()?,
            as_processes: false,
        };
        Ok(Self {
            world,
            ours: Some(ours),
        })
    }

    /// Before each run.
    pub(super) const fn begin(&mut self, run: u16) {
        if let Some(ours) = &mut self.ours {
            ours.as_processes = run.is_multiple_of(AS_PROCESSES);
        }
    }

    /// `input` is what it reads, as `ipvsadm -R` does.
    pub(super) fn ipvsadm(&self, arguments: &str, input: &str) -> Result<Said> {
        let mut command = match &self.ours {
            None => Command::new("ipvsadm"),
            Some(ours) if !ours.as_processes => return Ok(ours.ipvsadm(arguments, input)),
            Some(ours) => ours.director.command("ipvsadm")?,
        };
        command.args(arguments.split_whitespace());
        // Started inside and not sent there: then nothing of this process has to be copied for it.
        let output = self.world.director.enter(|| fed(&mut command, input));
        let output = output.with_context(|| format!("starting ipvsadm {arguments}"))?;
        Ok(said(&output))
    }

    /// What is left of all connections after the services are gone and theirs were told to end, and some time.
    pub(super) fn connections_left(&self) -> Result<Option<String>> {
        let start = Instant::now();
        loop {
            let listed = self.ipvsadm("-Lnc", "")?.text;
            if listed.lines().count() <= HEADINGS {
                return Ok(None);
            }
            if start.elapsed() > FLUSH {
                return Ok(Some(listed));
            }
            thread::sleep(BETWEEN_LOOKS);
        }
    }

    pub(super) fn knob(&self, name: &str) -> Result<u32> {
        let text = match &self.ours {
            None => self.in_kernel(|| fs::read_to_string(format!("{KNOBS}/{name}")))?,
            Some(ours) => ours.director.run(&format!("ipvsd sysctl {name}"))?,
        };
        let value = text
            .split(|c: char| !c.is_ascii_digit())
            .rfind(|w| !w.is_empty());
        value
            .and_then(|value| value.parse().ok())
            .with_context(|| format!("{name} is {text:?}"))
    }

    pub(super) fn set_knob(&self, name: &str, value: u32) -> Result<()> {
        match &self.ours {
            None => self.in_kernel(|| fs::write(format!("{KNOBS}/{name}"), value.to_string())),
            Some(ours) => ours
                .director
                .run(&format!("ipvsd sysctl {name}={value}"))
                .map(drop),
        }
        .with_context(|| format!("setting {name} to {value}"))
    }

    fn in_kernel<T: Send>(&self, f: impl FnOnce() -> io::Result<T> + Send) -> Result<T> {
        Ok(self.world.director.enter(f)?)
    }

    /// Of ours: why packets were not forwarded, so far.
    pub(super) fn reasons(&self) -> Result<String> {
        let ours = self.ours.as_ref();
        ours.map_or(Ok(String::new()), |ours| ours.director.run("ipvsd reasons"))
    }

    /// Ends our daemon in an orderly way.
    pub(super) fn stop(self) -> Result<()> {
        self.ours
            .map_or(Ok(()), |ours| ours.director.stop().map(drop))
    }
}

/// Whether the programs pass this kernel's verifier, by starting the daemon: the line it says when it is ready.
pub fn load() -> Result<String> {
    let side = Side::ours(Ends::Caught)?;
    let ready = side
        .ours
        .as_ref()
        .map(|ours| ours.director.ready().to_owned());
    side.stop()?;
    ready.context("no director")
}

/// Runs a command that reads `input`.
fn fed(command: &mut Command, input: &str) -> io::Result<Output> {
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // It may end before it has read all, and says why.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output()
}

fn said(output: &Output) -> Said {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    Said {
        status: output.status.code(),
        text: format!("{out}{err}"),
    }
}
