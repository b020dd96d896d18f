//! docs/BAD-INPUT.md: every command, file and call in it is refused as it says there, and changes nothing.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, Result, ensure};
use ipvs_common::maps::Capacities;
use ipvs_datapath::host::HostTables;
use ipvs_tests::{replay::Console, trace::Network};
use ipvs_user::{config, dataplane::host::HostDataplane, ipvsadm::Outcome};

const BEGIN: [&str; 2] = [
    "ipvsadm -A -t 203.0.113.10:80 -s wlc",
    "ipvsadm -a -t 203.0.113.10:80 -r 10.0.1.10",
];
/// Name of every configuration file.
const FILE: &str = "ipvsd.toml";
/// At least so many of each kind.
const COMMANDS: usize = 25;
const CONFIGS: usize = 25;
const CALLS: usize = 12;

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/BAD-INPUT.md")
}

struct Director {
    console: Console,
}

impl Director {
    fn new() -> Result<Self> {
        let tables = HostTables::new(Capacities::SMALL, 250);
        let dataplane = HostDataplane::new(Arc::new(Mutex::new(tables)));
        let console = Console::new(Box::new(dataplane), &Network::load()?)?;
        for line in BEGIN {
            ensure!(console.run(line)? == Outcome::default(), "{line}");
        }
        Ok(Self { console })
    }

    /// All that can be configured.
    fn configured(&self) -> Result<Vec<String>> {
        let listings = [
            "ipvsadm -Ln",
            "ipvsadm -Sn",
            "ipvsadm -Ln --thresholds",
            "ipvsadm -L --timeout",
            "ipvsadm -L --daemon",
        ];
        let mut all: Vec<_> = listings
            .iter()
            .map(|l| Ok(self.console.run(l)?.stdout))
            .collect::<Result<_>>()?;
        all.push(self.call("GET /v1/sysctl", "")?);
        Ok(all)
    }

    /// What a shell shows of a line of the document.
    fn command(&self, line: &str) -> Result<String> {
        let line = line
            .strip_suffix(" || echo $?")
            .context("no status is asked for")?;
        let outcome = match line.strip_prefix("printf '%b' '") {
            None => self.console.run(line)?,
            Some(rest) => {
                let (rules, line) = rest.split_once("' | ").context("no pipe")?;
                self.console.run_with(line, &rules.replace("\\n", "\n"))?
            }
        };
        ensure!(
            outcome.stdout.is_empty(),
            "{line} printed {}",
            outcome.stdout
        );
        Ok(format!(
            "{}{}\n",
            outcome.stderr.trim_end_matches('\n').to_owned() + "\n",
            outcome.status
        ))
    }

    /// Method and path, and the body; the status and the body of the answer.
    fn call(&self, request: &str, body: &str) -> Result<String> {
        let mut stream = UnixStream::connect(self.console.socket())?;
        let length = body.len();
        write!(
            stream,
            "{request} HTTP/1.1\r\nHost: ipvsd\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        self.console
            .meanwhile(|| stream.read_to_string(&mut answer).map(drop))?;
        let (head, body) = answer.split_once("\r\n\r\n").context("half an answer")?;
        let status = head.split(' ').nth(1).context("no status")?;
        Ok(format!("{status} {body}\n"))
    }
}

fn diagnostics(text: &str) -> String {
    match config::parse(FILE, text) {
        Ok(_) => "no mistake\n".to_owned(),
        Err(found) => found
            .iter()
            .fold(String::new(), |all, d| all + &d.to_string() + "\n"),
    }
}

/// The document as it should be, and how many cases of each kind it has.
fn rewritten(document: &str) -> Result<(String, [usize; 3])> {
    let director = Director::new()?;
    let before = director.configured()?;
    let (mut text, mut counts, mut said) = (String::new(), [0; 3], String::new());
    let mut blocks = document.split_inclusive("```");
    while let Some(outside) = blocks.next() {
        text += outside;
        let Some(block) = blocks.next() else { break };
        let (kind, inside) = block.split_once('\n').context("an unfinished block")?;
        let inside = inside.strip_suffix("```").context("an unfinished block")?;
        let new = match kind {
            "console" => {
                let mut new = String::new();
                for line in inside.lines().filter_map(|l| l.strip_prefix("$ ")) {
                    new.extend(["$ ", line, "\n", &director.command(line)?]);
                    ensure!(director.configured()? == before, "{line} changed something");
                    counts[0] += 1;
                }
                new
            }
            "toml" => {
                said = diagnostics(inside);
                counts[1] += 1;
                inside.to_owned()
            }
            "http" => {
                let (request, body) = inside.split_once('\n').context("an empty call")?;
                said = director.call(request, body.trim_end())?;
                ensure!(
                    director.configured()? == before,
                    "{inside} changed something"
                );
                counts[2] += 1;
                inside.to_owned()
            }
            "text" | "json" => std::mem::take(&mut said),
            other => anyhow::bail!("a block of {other}"),
        };
        text.extend([kind, "\n", &new, "```"]);
    }
    Ok((text, counts))
}

#[test]
fn bad_input_is_refused_as_documented_and_changes_nothing() {
    let document = fs::read_to_string(path()).unwrap();
    let (text, [commands, configs, calls]) = rewritten(&document).unwrap();
    if std::env::var_os("UPDATE_BAD_INPUT").is_some() {
        fs::write(path(), &text).unwrap();
    }
    let different = document
        .lines()
        .zip(text.lines())
        .find(|(old, new)| old != new);
    assert_eq!(different, None, "documented, and said");
    assert_eq!(document, text);
    assert!(commands >= COMMANDS && configs >= CONFIGS && calls >= CALLS);
    assert!(!text.contains("no mistake"));
}
