//! Types that the kernel program and user space share, each declared once.
//!
//! Knows nobody: neither aya's loader, nor the datapath, nor the daemon. Everything here is plain data with a fixed
//! layout, or a table that gives a number its name.
#![no_std]

pub mod bench;
pub mod conn;
pub mod counters;
pub mod describe;
pub mod forwarding;
pub mod fragment;
pub mod hash;
pub mod hdr;
pub mod iface;
mod layout;
pub mod maps;
pub mod matches;
pub mod net;
pub mod punt;
pub mod reason;
pub mod scheduler;
pub mod service;
pub mod settings;
pub mod sync;
pub mod tcp;
pub mod unpack;

pub use conn::{
    Conn, ConnFlags, Entry, Flow, FlowKey, Hop, HopKind, RingSlot, Status, Template, TemplateKey,
    Tie,
};
pub use counters::Stats;
pub use forwarding::{ForwardingMethod, TunnelKind};
pub use fragment::{Fragment, FragmentKey};
pub use iface::{AttachMode, Egress, Iface, Tags, VlanKey};
pub use matches::{MatchKey, MatchNode, MatchPlace, MatchSlot};
pub use net::{Addr, Address, Mac, Proto};
pub use punt::{PuntHeader, PuntReason};
pub use reason::{DropReason, Event, PassReason};
pub use scheduler::Scheduler;
pub use service::{
    Dest, DestFlags, DestState, LblcEntry, LblcKey, LblcrEntry, ListSlot, Policy, SchedState,
    Service, ServiceFlags, ServiceKey,
};
pub use settings::{Settings, SettingsFlags};
pub use sync::{Note, SyncNote, Synced};
pub use tcp::State;

/// Bumped whenever the layout or the meaning of a map changes.
pub const ABI_VERSION: u32 = 3;
