//! The datapath as a pure library: bytes and tables in, bytes, tables and a verdict out.
//!
//! The same code runs in the kernel behind `main.rs` and on the host in tests. It knows the shared types and nothing of
//! aya, of the heap or of where a table is stored; time comes from [`Tables::now`] alone.
#![cfg_attr(not(feature = "host"), no_std)]
#![forbid(unsafe_code)]

mod blur;
pub mod conn;
pub mod egress;
pub mod exit;
pub mod expire;
pub mod frame;
pub mod fwd;
#[cfg(feature = "host")]
pub mod host;
pub mod icmp;
pub mod ip;
pub mod matching;
pub mod parse;
pub mod pipeline;
pub mod reset;
pub mod rewrite;
pub mod sched;
pub mod sctp;
pub mod service;
pub mod stats;
pub mod tables;
pub mod unpack;

pub use exit::{Action, Ending, Exit, Verdict};
pub use frame::Frame;
#[cfg(feature = "host")]
pub use host::run;
pub use ip::Ip;
pub use tables::{DestCounter, FibQuery, Tables};
