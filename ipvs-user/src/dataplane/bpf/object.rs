//! The datapath that was compiled together with this program.

use aya::include_bytes_aligned;

/// The object with the XDP programs; empty if it was built without a toolchain for the BPF target.
pub static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ipvs-xdp.o"));
