//! A machine in a namespace, the command on it, and all of it that the command could change.

use std::{fs, process::Output, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use ipvs_tests::topology::{Director, Netns, Scratch};

pub(crate) struct Machine {
    netns: Netns,
    scratch: Arc<Scratch>,
}

impl Machine {
    pub(crate) fn new(netns: &Netns) -> Result<Self> {
        Ok(Self {
            netns: netns.clone(),
            scratch: Arc::new(Scratch::new()?),
        })
    }

    /// Another one that goes by the same file.
    pub(crate) fn elsewhere(&self, netns: &Netns) -> Self {
        Self {
            netns: netns.clone(),
            scratch: Arc::clone(&self.scratch),
        }
    }

    pub(crate) fn output(&self, arguments: &str) -> Result<Output> {
        self.output_of(&[], arguments)
    }

    /// With a program in front of ours, such as one that takes capabilities away.
    pub(crate) fn output_of(&self, before: &[&str], arguments: &str) -> Result<Output> {
        let program = Director::program()?;
        let words = before.iter().map(Into::into);
        let mut words = words.chain([program.into_os_string()]);
        let mut command = self.netns.command(words.next().context("no program")?);
        command.args(words).arg("real-server");
        command.args(arguments.split_whitespace());
        command.arg("--state").arg(self.state());
        let output = command.output();
        output.with_context(|| format!("starting ipvsd real-server {arguments}"))
    }

    pub(crate) fn state(&self) -> std::path::PathBuf {
        self.scratch.path().join("real-server.json")
    }

    /// What it printed, if all went well.
    pub(crate) fn run(&self, arguments: &str) -> Result<String> {
        let output = self.output(arguments)?;
        let said = String::from_utf8_lossy(&output.stderr);
        let status = output.status;
        ensure!(
            status.success(),
            "real-server {arguments}: {status}: {said}"
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What it complained of, with status 1.
    pub(crate) fn refused(&self, arguments: &str) -> Result<String> {
        let output = self.output(arguments)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let status = output.status.code();
        ensure!(
            status == Some(1),
            "real-server {arguments}: {status:?}: {said}"
        );
        Ok(said)
    }

    /// Links, addresses, routes and settings. A device that the kernel makes by itself when a module is loaded is not the
    /// command's, as long as it is down.
    pub(crate) fn all(&self) -> Result<String> {
        let mut all = String::new();
        for line in [
            "-d -o link show",
            "-d -o addr show",
            "-d route show table all",
            "-d -6 route show table all",
            "rule",
        ] {
            let words: Vec<_> = line.split(' ').collect();
            let text = self.netns.output("ip", &words)?;
            let lines = text.lines().filter(|line| !is_the_kernels(line));
            all.extend(lines.flat_map(|line| [line, "\n"]));
        }
        let settings = self.netns.enter(settings)?;
        let settings = settings.iter().filter(|line| !is_the_kernels(line));
        all.extend(settings.flat_map(|line| [line, "\n"]));
        ensure!(all.contains("ipv4/conf/all/arp_ignore:"), "no settings");
        Ok(all)
    }

    pub(crate) fn netns(&self) -> &Netns {
        &self.netns
    }
}

/// Of all interfaces, as `ipv4/conf/all/arp_ignore: 0`.
fn settings() -> Result<Vec<String>> {
    let mut all = Vec::new();
    for family in ["ipv4", "ipv6"] {
        for interface in fs::read_dir(format!("/proc/sys/net/{family}/conf"))? {
            let interface = interface?;
            for setting in fs::read_dir(interface.path())? {
                let setting = setting?;
                let names = (interface.file_name(), setting.file_name());
                let (name, key) = (names.0.to_string_lossy(), names.1.to_string_lossy());
                // Some are not to be read before they are set.
                let value = fs::read_to_string(setting.path()).unwrap_or_default();
                all.push(format!("{family}/conf/{name}/{key}: {}", value.trim()));
            }
        }
    }
    Ok(all)
}

/// Devices without a far end, one of which comes with each module.
fn is_the_kernels(line: &str) -> bool {
    let devices = [
        "tunl0", "sit0", "ip6tnl0", "gre0", "gretap0", "erspan0", "ip6gre0",
    ];
    let is_up = line.contains(",UP,") || line.contains("<UP");
    !is_up
        && devices
            .iter()
            .any(|d| line.contains(&format!(" {d}@")) || line.contains(&format!("/{d}/")))
}

/// The first line that differs.
pub(crate) fn same(before: &str, after: &str) -> Result<()> {
    let gone = before.lines().find(|l| !after.lines().any(|a| a == *l));
    let new = after.lines().find(|l| !before.lines().any(|b| b == *l));
    ensure!(
        gone.is_none() && new.is_none(),
        "gone: {gone:?}, new: {new:?}"
    );
    Ok(())
}
