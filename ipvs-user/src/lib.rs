//! The director in user space: what `ipvsd` and `ipvsadm` are made of.

pub mod api;
pub mod carries;
pub mod config;
pub mod console;
pub mod daemon;
pub mod dataplane;
pub mod desired;
pub mod director;
pub mod events;
pub mod ipvsadm;
pub mod kernel;
pub mod knobs;
pub mod ledger;
pub mod logging;
pub mod model;
pub mod net;
pub mod plan;
pub mod proc;
pub mod real_server;
pub mod reasons;
pub mod reconcile;
pub mod sched_flags;
pub mod slowpath;
mod suggest;
pub mod sync;
pub mod sysctl;
pub mod timeouts;
