//! The two directors of the oracle: the kernel's ip_vs with the ipvsadm that is installed, and ours. Both get the same
//! commands and knobs.

use std::{
    fs,
    io::Write as _,
    process::{Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use super::world::{LINKS, MARK, MARKED, World};
use crate::topology::{Director, Start};

/// Few, so that the daemon is soon through with looking what is due.
const CONNECTIONS: u32 = 16384;
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
    ours: Option<Director>,
}

impl Side {
    pub(super) fn kernel() -> Result<Self> {
        let world = World::new(true)?;
        ensure!(
            world.director.get("ipv4/vs/conntrack").is_ok(),
            "this kernel has no ip_vs: run this with `cargo xtask vm -- oracle`"
        );
        Ok(Self { world, ours: None })
    }

    pub(super) fn ours() -> Result<Self> {
        let world = World::new(false)?;
        let start = Start {
            interfaces: LINKS.to_vec(),
            config: Some(format!(
                "[director]\nconnections = {CONNECTIONS}\n[interface.{}]\nmark = {MARK}\n",
                LINKS[MARKED]
            )),
            ..Start::default()
        };
        let ours = Director::start(&world.director, &start)?;
        Ok(Self {
            world,
            ours: Some(ours),
        })
    }

    /// `input` is what it reads, as `ipvsadm -R` does.
    pub(super) fn ipvsadm(&self, arguments: &str, input: &str) -> Result<Said> {
        let mut command = match &self.ours {
            None => self.world.director.command("ipvsadm"),
            Some(director) => director.command("ipvsadm")?,
        };
        let mut child = command
            .args(arguments.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting ipvsadm {arguments}"))?;
        if let Some(mut stdin) = child.stdin.take() {
            // It may end before it has read all, and says why.
            let _ = stdin.write_all(input.as_bytes());
        }
        Ok(said(&child.wait_with_output()?))
    }

    pub(super) fn knob(&self, name: &str) -> Result<u32> {
        let text = match &self.ours {
            None => self.in_kernel(|| fs::read_to_string(format!("{KNOBS}/{name}")))?,
            Some(director) => director.run(&format!("ipvsd sysctl {name}"))?,
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
            Some(director) => director
                .run(&format!("ipvsd sysctl {name}={value}"))
                .map(drop),
        }
        .with_context(|| format!("setting {name} to {value}"))
    }

    fn in_kernel<T: Send>(&self, f: impl FnOnce() -> std::io::Result<T> + Send) -> Result<T> {
        Ok(self.world.director.enter(f)?)
    }

    /// Ends our daemon in an orderly way.
    pub(super) fn stop(self) -> Result<()> {
        self.ours
            .map_or(Ok(()), |director| director.stop().map(drop))
    }
}

/// Whether the programs pass this kernel's verifier, by starting the daemon: the line it says when it is ready.
pub fn load() -> Result<String> {
    let side = Side::ours()?;
    let ready = side
        .ours
        .as_ref()
        .map(|director| director.ready().to_owned());
    side.stop()?;
    ready.context("no director")
}

fn said(output: &Output) -> Said {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    Said {
        status: output.status.code(),
        text: format!("{out}{err}"),
    }
}
