//! What the datapath promises, packet by packet, on the host.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod checksums;
mod connections;
mod dests;
mod expected;
mod fragments;
mod icmp;
mod icmp_six;
mod icmp_six_asked;
mod matches;
mod nat_icmp_send;
mod opening;
mod orphans;
mod persistence;
mod quirks;
mod renaming;
mod reuse;
mod rig;
mod schedulers;
mod sctp;
mod six;
mod sync;
mod tunnels;
mod vlans;
mod ways;
