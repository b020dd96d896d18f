//! Recorded traces: what went into a kernel's own ip_vs, what came out, and what it listed.
//!
//! Only the files' format is known here, not how a trace is replayed.

mod choices;
mod network;

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

pub use choices::{Choice, Group};
pub use network::{IpCommand, Link, Network, VIRTUAL, VIRTUAL6, Way, Way6};

use choices::{Ordered, groups};

/// A trace file.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "File")]
pub struct Trace {
    pub name: String,
    /// Commands before the first packet.
    pub config: Vec<String>,
    pub steps: Vec<Step>,
    /// Firewall mark of every packet from the clients.
    pub fwmark: Option<u32>,
    /// By link, where it is not 1500.
    pub mtu: Option<BTreeMap<String, u16>>,
    /// Values under `/proc/sys/net/ipv4/vs` from the start.
    pub sysctl: BTreeMap<String, Word>,
    pub after: After,
    /// Commands among those of the configuration and the steps that failed or printed something, in order.
    pub outputs: Vec<Said>,
    /// Commands at some time after the packets, with their outcome.
    pub errors: Vec<Said>,
    /// Real servers chosen for packets of which not all are steps.
    pub choices: Vec<Group>,
    /// Before which choice of the first group which of its connections are closed.
    pub closes: Vec<(usize, Vec<usize>)>,
    /// What connections did that are not among the steps.
    pub transitions: Vec<Transition>,
    /// Names of what else is in the file.
    pub unknown: Vec<String>,
}

#[derive(Deserialize)]
struct File {
    name: String,
    #[serde(default, rename = "description")]
    _description: String,
    #[serde(default, rename = "kernel")]
    _kernel: Value,
    #[serde(default)]
    config: Vec<String>,
    steps: Vec<Step>,
    fwmark: Option<u32>,
    mtu: Option<BTreeMap<String, u16>>,
    #[serde(default)]
    sysctl: BTreeMap<String, Word>,
    #[serde(default)]
    after: After,
    #[serde(default)]
    cmd_output: Vec<Said>,
    #[serde(default)]
    errors: Vec<Said>,
    #[serde(default)]
    maps: Ordered<Value>,
    #[serde(default)]
    close: Vec<(usize, Vec<usize>)>,
    #[serde(default)]
    transitions: Vec<Transition>,
    #[serde(flatten)]
    rest: Ordered<Value>,
}

impl TryFrom<File> for Trace {
    type Error = String;

    fn try_from(file: File) -> Result<Self, String> {
        if !file.steps.is_sorted_by(|a, b| a.time <= b.time) {
            return Err("steps out of order".to_owned());
        }
        let (choices, unknown) = groups(file.rest, file.maps);
        Ok(Self {
            name: file.name,
            config: file.config,
            steps: file.steps,
            fwmark: file.fwmark,
            mtu: file.mtu,
            sysctl: file.sysctl,
            after: file.after,
            outputs: file.cmd_output,
            errors: file.errors,
            choices,
            closes: file.close,
            transitions: file.transitions,
            unknown,
        })
    }
}

/// Listings at the end: about two seconds after the last step, or at once.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct After {
    #[serde(rename = "Ln")]
    pub services: Option<String>,
    #[serde(rename = "Ln_nosort")]
    pub unsorted: Option<String>,
    #[serde(rename = "Lnc")]
    pub connections: Option<String>,
    pub stats: Option<String>,
    #[serde(rename = "S")]
    pub rules: Option<String>,
}

/// A command, and what came of it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Said {
    pub cmd: String,
    #[serde(rename = "rc")]
    pub status: i32,
    pub out: String,
}

/// State of a connection between segments of the client: time to go and state as listed, if it is listed.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Transition {
    /// Segments, each by the letters of its flags.
    pub sequence: String,
    pub state_before: Option<(String, String)>,
    /// One more segment.
    pub then: String,
    pub state_after: Option<(String, String)>,
}

/// A value of a sysctl, a number or words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Word(pub String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(from)?;
        let text = value.as_str().map(str::to_owned);
        Ok(Self(text.unwrap_or_else(|| value.to_string())))
    }
}

/// Something that happened, so long after the start.
#[derive(Clone, Debug, Deserialize)]
pub struct Step {
    #[serde(rename = "t_ms", deserialize_with = "from_milliseconds")]
    pub time: Duration,
    #[serde(flatten)]
    pub what: What,
    #[serde(default)]
    pub note: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "dir", rename_all = "lowercase")]
pub enum What {
    /// A frame arrived at the director.
    In(Frame),
    /// The director sent a frame, because of the last one that arrived.
    Out(Frame),
    /// A command.
    Ctl {
        cmd: String,
    },
    /// A command and what it printed.
    Show {
        cmd: String,
        out: String,
    },
    Sysctl {
        key: String,
        value: Word,
    },
    Sleep {
        ms: u64,
    },
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Frame {
    #[serde(rename = "if")]
    pub link: String,
    #[serde(rename = "pkt", deserialize_with = "from_hex")]
    pub bytes: Vec<u8>,
}

impl Trace {
    /// A trace of this package, by name.
    pub fn of(name: &str) -> Result<Self> {
        let path = golden_dir().join(name).with_extension("json");
        let trace = Self::read(&path)?;
        trace.with_context(|| format!("{} is no trace", path.display()))
    }

    /// `None` if the file is something else.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let shown = || path.display().to_string();
        let text = fs::read_to_string(path).with_context(shown)?;
        let value: Value = serde_json::from_str(&text).with_context(shown)?;
        if value.get("steps").is_none() {
            return Ok(None);
        }
        // Once more, because a `Value` forgets the order of keys.
        let trace: Self = serde_json::from_str(&text).with_context(shown)?;
        ensure!(!trace.name.is_empty(), "{}: without a name", shown());
        Ok(Some(trace))
    }
}

/// Where the traces are.
#[must_use]
pub fn golden_dir() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn from_milliseconds<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let seconds = f64::deserialize(from)? / 1000.0;
    Duration::try_from_secs_f64(seconds).map_err(D::Error::custom)
}

fn from_hex<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(from)?;
    let byte = |at| {
        text.get(at..at + 2)
            .and_then(|d| u8::from_str_radix(d, 16).ok())
    };
    (0..text.len())
        .step_by(2)
        .map(byte)
        .collect::<Option<_>>()
        .ok_or_else(|| D::Error::custom("a frame that is not in hexadecimal"))
}
