//! ip_vs's sync daemon: a master tells backup directors of its connections, by multicast, so that they go on when another director
//! takes the virtual address over.
//!
//! [`message`] is the format on the wire, [`entry`] translates between it and the tables, [`task`] owns the sockets and the
//! clock. What the tables make of it is the director's business (`director/sync`).

pub mod control;
pub mod entry;
pub mod group;
pub mod message;
mod socket;
pub mod task;

pub use control::{Control, Role, SyncDaemon, SyncError, Wanted};
pub use message::Entry;
