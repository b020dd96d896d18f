//! Recorded traces: what went into a kernel's own ip_vs, what came out, and what it listed.
//!
//! Only the files' format is known here, not how a trace is replayed.

mod network;

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

pub use network::{Link, Network, VIRTUAL, Way};

/// A trace file.
#[derive(Clone, Debug, Deserialize)]
pub struct Trace {
    pub name: String,
    pub description: String,
    /// Commands before the first packet.
    pub config: Vec<String>,
    pub steps: Vec<Step>,
    /// Firewall mark of every packet from the clients.
    pub fwmark: Option<u32>,
    /// By link, where it is not 1500.
    #[serde(default)]
    pub mtu: Option<BTreeMap<String, u16>>,
    /// Values under `/proc/sys/net/ipv4/vs` from the start.
    #[serde(default)]
    pub sysctl: BTreeMap<String, i64>,
    pub after: After,
}

/// Listings about two seconds after the last step.
#[derive(Clone, Debug, Deserialize)]
pub struct After {
    #[serde(rename = "Ln")]
    pub services: String,
    #[serde(rename = "Ln_nosort")]
    pub unsorted: String,
    #[serde(rename = "Lnc")]
    pub connections: String,
    /// Absent where they were read before they were complete.
    pub stats: Option<String>,
    #[serde(rename = "S")]
    pub rules: String,
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
        value: i64,
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
        Self::read(&golden_dir().join(name).with_extension("json"))
    }

    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let trace: Self =
            serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        let in_order = trace.steps.is_sorted_by(|a, b| a.time <= b.time);
        ensure!(in_order, "{}: steps out of order", path.display());
        Ok(trace)
    }
}

/// Where the traces are.
#[must_use]
pub fn golden_dir() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn from_milliseconds<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let seconds = f64::deserialize(from)? / 1000.0;
    Duration::try_from_secs_f64(seconds).map_err(serde::de::Error::custom)
}

fn from_hex<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(from)?;
    let byte = |at| {
        text.get(at..at + 2)
            .and_then(|d| u8::from_str_radix(d, 16).ok())
    };
    (0..text.len())
        .step_by(2)
        .map(byte)
        .collect::<Option<_>>()
        .ok_or_else(|| serde::de::Error::custom("a frame that is not in hexadecimal"))
}
