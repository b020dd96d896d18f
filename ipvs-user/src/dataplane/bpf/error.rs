//! What can go wrong on the way into the kernel. Each says what to do, as far as anything can be known here.

use std::{error::Error, io};

use super::{memory::Shortage, pins::PinError};
use crate::dataplane::TableError;
use aya::{EbpfError, maps::MapError, programs::ProgramError};

/// The datapath could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(
        "this program was built without its datapath: run `cargo xtask setup`, then build again"
    )]
    NoObject,
    #[error(
        "cannot make a BPF file system: {0}; loading needs root (CAP_SYS_ADMIN, CAP_BPF, CAP_NET_ADMIN) and Linux 5.2 or later"
    )]
    Bpffs(#[source] io::Error),
    #[error(transparent)]
    Memory(#[from] Shortage),
    #[error(transparent)]
    Pins(#[from] PinError),
    #[error("cannot load the datapath's object: {}", with_causes(.0))]
    Object(#[from] EbpfError),
    #[error("the object has no map {0}: it is another version's")]
    NoMap(&'static str),
    #[error("map {name}: {}", with_causes(.source))]
    Map {
        name: &'static str,
        #[source]
        source: MapError,
    },
    #[error("the object has no XDP program {0}: it is another version's")]
    NoProgram(&'static str),
    #[error("the kernel refuses program {name}: {}", with_causes(.source))]
    Program {
        name: &'static str,
        #[source]
        source: ProgramError,
    },
    #[error("cannot map the states of the real servers into memory: {0}")]
    States(#[source] io::Error),
    #[error("cannot run program {name}: {}", with_causes(.source))]
    Run {
        name: &'static str,
        #[source]
        source: ProgramError,
    },
    #[error("cannot tell the rate of the kernel's clock: {ticks} ticks in {micros} microseconds")]
    Clock { ticks: u64, micros: u128 },
    #[error(
        "the tables that are there cannot be read: {0}; `ipvsd detach` removes them, and their connections with them"
    )]
    Layout(String),
    #[error(
        "a change to other tables was cut short while programs were being swapped, and must be finished before another one: \
         {0}; or `ipvsd detach` removes everything, the connections too"
    )]
    CutShort(String),
    #[error(
        "what is in the table {name} does not fit into one of the size that is wished: raise it in [director] (see docs/OPERATIONS.md, Tables)"
    )]
    TooSmall { name: &'static str },
    #[error("taking tables over: {0}")]
    Migration(#[source] Box<TableError>),
    #[error("cannot read the datapath's messages: {0}")]
    Messages(#[source] aya_log::Error),
}

/// The program could not be attached to an interface.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    #[error("{interface}: {source}")]
    Load {
        interface: String,
        #[source]
        source: Box<LoadError>,
    },
    #[error(
        "{interface}: another XDP program is attached: {program}; remove it ({remedy}), or leave this interface out"
    )]
    Occupied {
        interface: String,
        /// Its name and number.
        program: String,
        remedy: String,
    },
    #[error(
        "{interface}: the driver refuses native XDP: {reason}; --mode generic does without it, but is slower"
    )]
    NativeRefused { interface: String, reason: String },
    #[error("{interface}: cannot attach: {reason}")]
    Refused { interface: String, reason: String },
    #[error("{interface}: cannot pin its program: {source}")]
    Pin {
        interface: String,
        #[source]
        source: io::Error,
    },
    #[error("{interface}: the kernel has no links for XDP programs (needs Linux 5.9 or later)")]
    NoLink { interface: String },
    #[error("{cause}; and what was there could not be put back: {undo}")]
    Lost {
        cause: Box<AttachError>,
        undo: Box<AttachError>,
    },
}

/// An error with all its causes, on one line. aya's own texts leave the system's answer to the cause.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(e) = cause {
        let more = e.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = e.source();
    }
    text
}

/// The kernel's number, wherever in the causes it is.
pub(in crate::dataplane) fn os_error(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(e) = cause {
        if let Some(io) = e.downcast_ref::<io::Error>() {
            return io.raw_os_error();
        }
        cause = e.source();
    }
    None
}
