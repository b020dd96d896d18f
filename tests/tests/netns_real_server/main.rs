//! `ipvsd real-server`: machines that nothing else made real servers, with real sockets, and what is left of it afterwards.
//!
//! Tunnels are unpacked by the kernel's devices where it has them, and else by the XDP program.

mod arp;
mod machine;
mod mistakes;
mod packets;
mod traffic;
mod tunnels;
mod undo;
