//! Where a daemon has its socket and its log, and what it left in the kernel, which goes with the place.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Once,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{Netns, Scratch, programs, scratch};

/// Where a daemon has its socket and its log. What it left in the kernel goes with it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) dom0: Netns,
    pub(super) scratch: Scratch,
}

impl Place {
    pub(super) fn new(dom0: &Netns) -> Result<Self> {
        take_away_leftovers();
        Ok(Self {
            dom0: dom0.clone(),
            scratch: Scratch::new()?,
        })
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.scratch.path().join("socket")
    }

    /// A command line of the director, in its namespace.
    pub(super) fn command(&self, line: &str) -> Result<Command> {
        let mut words = line.split_whitespace();
        let program = match words.next() {
            Some("ipvsadm") => programs::find("ipvsadm", "IPVSADM")?,
            Some("ipvsd") => programs::find("ipvsd", "IPVSD")?,
            other => bail!("{other:?} is no program of the director"),
        };
        let mut command = self.dom0.command(program);
        command.args(words).env("IPVSD_SOCKET", self.socket());
        Ok(command)
    }

    pub(super) fn output(&self, line: &str) -> Result<Output> {
        let output = self.command(line)?.output();
        output.with_context(|| format!("starting {line}"))
    }

    pub(super) fn run(&self, line: &str) -> Result<String> {
        let output = self.output(line)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            output.status.success() && said.is_empty(),
            "{line}: {}: {said}",
            output.status
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.output("ipvsd detach");
    }
}

/// What daemons of tests left that had no chance to take it away: their sockets have the number of the test's process.
fn take_away_leftovers() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let Ok(ipvsd) = programs::find("ipvsd", "IPVSD") else {
            return;
        };
        let listed = Command::new(&ipvsd).arg("instances").output();
        let listed = listed.map(|o| o.stdout).unwrap_or_default();
        for line in String::from_utf8_lossy(&listed).lines() {
            let name = line.split(':').next().unwrap_or_default();
            let owner = name.split(scratch::PREFIX).nth(1);
            let owner = owner.and_then(|rest| rest.split('-').next());
            if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                let _ = Command::new(&ipvsd)
                    .args(["detach", "--instance", name])
                    .output();
            }
        }
    });
}
