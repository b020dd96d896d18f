//! What can be run in a machine by one word, and what has to be in it for that.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    packages,
    products::Profile,
    shell::{cargo, quoted, workspace},
};

/// Where the programs under test are in the machine; the environment names them as on the host.
const PLACE: &str = "/opt/ipvs";
const PRODUCTS: [(&str, &str); 6] = [
    ("IPVSD", "ipvsd"),
    ("IPVSADM", "ipvsadm"),
    ("", "ipvs-replay"),
    ("", "ipvs-bench"),
    ("", "ipvs-oracle"),
    ("", "ipvs-demo"),
];

/// Nothing is missing there, and everything takes its time.
const ENVIRONMENT: [(&str, &str); 3] = [
    ("RUST_BACKTRACE", "0"),
    ("IPVS_ALL_PARTS", "1"),
    ("IPVS_PATIENCE", "10"),
];

const SHORT_ORACLE: &str = "ipvs-oracle run --share /share --seeds 0..12";
/// Masquerading and tunnels; each daemon's start costs half a minute.
const SHORT_REPLAY: [&str; 2] = ["nat_tcp_port_25_26", "tun_ipip"];
const SHORT_TESTS: [&str; 2] = ["conformance_expected", "netns_droute"];
/// Needs devices that not every kernel has; one start of a daemon.
const SHORT_VLAN: &str = "clients_and_real_servers_are_in_vlans_of_one_interface";

/// What follows each line.
const KEEP: &str = "status=$?; [ $status = 0 ] || failed=$status";
/// So many seconds has each test.
const LIMIT: u32 = 900;

/// A command, and what it needs.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) name: String,
    /// With their places in the machine.
    pub(super) programs: Vec<(PathBuf, String)>,
    /// Files and folders that lie in the machine where they lie here.
    pub(super) files: Vec<PathBuf>,
    environment: Vec<(String, String)>,
    lines: Vec<String>,
}

/// Builds what the words ask for.
pub(super) fn prepare(words: &[OsString]) -> Result<Job> {
    let words: Vec<_> = words
        .iter()
        .map(|w| w.to_string_lossy().into_owned())
        .collect();
    let (first, rest) = words.split_first().context("no command")?;
    packages::ensure_for_tests()?;
    Profile::Release.build(&["ipvs-user", "ipvs-tests"])?;
    let mut job = Job::with_products(words.join(" "));
    let rest = rest.iter().map(|w| quoted(w)).collect::<Vec<_>>().join(" ");
    match first.as_str() {
        "load" => job.lines.push(format!("ipvs-oracle load {rest}")),
        "oracle" => job
            .lines
            .push(format!("ipvs-oracle run --share /share {rest}")),
        "replay" => job.lines.push(format!("ipvs-replay {rest}")),
        "short" | "matrix" if !rest.is_empty() => {
            bail!(
                "{first} takes no arguments: to run one test, give its name in the place of {first}"
            )
        }
        "short" => job.short()?,
        "conformance" => job.tests(&["conformance", "flood"], &rest)?,
        "netns" => job.tests(&["netns"], &rest)?,
        "matrix" => job.matrix()?,
        name if is_test(name) => job.tests(&[name], &rest)?,
        // One word is a line of shell, several are a command.
        _ if rest.is_empty() => job.lines.push(first.clone()),
        _ => job.lines.push(format!("{} {rest}", quoted(first))),
    }
    Ok(job)
}

impl Job {
    fn with_products(name: String) -> Self {
        let mut job = Self {
            name,
            programs: Vec::new(),
            files: vec![
                workspace().join("tests/golden"),
                workspace().join("tests/oracle"),
            ],
            environment: ENVIRONMENT
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            lines: Vec::new(),
        };
        for (variable, name) in PRODUCTS {
            job.product(variable, &Profile::Release.program(name), name);
        }
        let mut named = Command::new("true");
        Profile::Release.name_to(&mut named);
        for (variable, path) in named.get_envs() {
            let (variable, Some(path)) = (variable.to_string_lossy().into_owned(), path) else {
                continue;
            };
            if variable.ends_with("_OBJECT") {
                let path = Path::new(path);
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                job.product(&variable, path, &name);
            }
        }
        job
    }

    fn product(&mut self, variable: &str, path: &Path, name: &str) {
        let place = format!("{PLACE}/{name}");
        if !variable.is_empty() {
            self.environment.push((variable.to_owned(), place.clone()));
        }
        self.programs.push((path.to_owned(), place));
    }

    /// The integration tests whose files' names begin like this, one by one. All run, also after one failed.
    fn tests(&mut self, prefixes: &[&str], args: &str) -> Result<()> {
        let mut line = format!("run-tests {LIMIT} {}", quoted(args));
        for (name, path) in test_programs(prefixes)? {
            let place = format!("{PLACE}/tests/{name}");
            line = format!("{line} {place}");
            self.programs.push((path, place));
        }
        self.lines.push(line);
        Ok(())
    }

    /// Something of all that a kernel has to stand, in minutes.
    fn short(&mut self) -> Result<()> {
        let traces = SHORT_REPLAY.map(|name| workspace().join(format!("tests/golden/{name}.json")));
        let traces = traces.map(|path| quoted(&path.to_string_lossy())).join(" ");
        self.lines.push("ipvs-oracle load".to_owned());
        self.lines.push(format!("ipvs-replay {traces}"));
        self.lines.push(SHORT_ORACLE.to_owned());
        self.tests(&SHORT_TESTS, "")?;
        self.tests(&["netns_vlan"], SHORT_VLAN)
    }

    /// All that a kernel has to stand, but the oracle.
    fn matrix(&mut self) -> Result<()> {
        for line in ["ipvs-oracle load", "ipvs-replay"] {
            self.lines.push(line.to_owned());
        }
        self.tests(&["conformance", "flood", "netns"], "")
    }

    /// For the machine's shell. All lines run; the last that failed decides how it ends.
    pub(super) fn script(&self) -> String {
        let environment = self.environment.iter();
        let exports = environment.map(|(name, value)| format!("export {name}={}\n", quoted(value)));
        let lines = self.lines.iter().map(|line| format!("{line}\n{KEEP}\n"));
        let begin = ["#!/bin/sh\n", "ulimit -n 65536\n"].map(str::to_owned);
        let end = ["exit ${failed:-0}\n".to_owned()];
        let all = begin.into_iter().chain(exports).chain(lines).chain(end);
        all.collect()
    }
}

fn tests_dir() -> PathBuf {
    workspace().join("tests/tests")
}

/// A file, or a folder with several.
fn is_test(name: &str) -> bool {
    let place = tests_dir().join(name);
    place.with_extension("rs").exists() || place.join("main.rs").exists()
}

/// It drives a tool in Perl, which the machine does not have.
const NOT_THERE: &str = "netns_ldirectord";

/// Compiles the tests whose files' names begin like this, and asks cargo where it put them.
fn test_programs(prefixes: &[&str]) -> Result<Vec<(String, PathBuf)>> {
    let dir = tests_dir();
    let entries = fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))?;
    let names = entries.flatten().filter_map(|entry| {
        let name = entry.path().file_stem()?.to_str()?.to_owned();
        let asked = prefixes.iter().any(|p| name.starts_with(p));
        (asked && name != NOT_THERE).then_some(name)
    });
    let mut names: Vec<_> = names.collect();
    names.sort();
    let mut command = cargo(["test", "--release", "--no-run", "--package", "ipvs-tests"]);
    command.args(names.iter().flat_map(|name| ["--test", name]));
    command.arg("--message-format=json-render-diagnostics");
    let output = Profile::Release
        .name_to(&mut command)
        .stderr(Stdio::inherit())
        .output()
        .context("starting cargo")?;
    ensure!(
        output.status.success(),
        "cargo test --no-run: {}",
        output.status
    );
    let told = String::from_utf8_lossy(&output.stdout);
    let paths: Vec<_> = told.lines().filter_map(executable).collect();
    names
        .into_iter()
        .map(|name| {
            let is_its = |path: &&PathBuf| program_of(path) == Some(&name);
            let path = paths.iter().find(is_its).cloned();
            let path = path.with_context(|| format!("cargo built no {name}"))?;
            Ok((name, path))
        })
        .collect()
}

/// The one field of cargo's messages that matters here.
fn executable(message: &str) -> Option<PathBuf> {
    let (_, rest) = message.split_once(r#""executable":""#)?;
    rest.split_once('"').map(|(path, _)| path.into())
}

/// `conformance` of `deps/conformance-0123456789abcdef`.
fn program_of(path: &Path) -> Option<&str> {
    Some(path.file_name()?.to_str()?.rsplit_once('-')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_what_cargo_says() {
        let line =
            r#"{"reason":"compiler-artifact","executable":"/t/deps/netns_masq-0af1","fresh":true}"#;
        let path = executable(line).unwrap();
        assert_eq!(program_of(&path), Some("netns_masq"));
        assert_eq!(executable(r#"{"executable":null}"#), None);
    }
}
