//! Header changes. A setter that writes a field also patches the checksums that cover it.

pub mod crc32c;
pub mod csum;
pub mod l4;
pub mod sctp;

use ipvs_common::{Hop, hdr::Eth};

use crate::{exit::Exit, frame::Frame};

/// Addresses the frame to the next hop.
#[inline(always)]
pub fn l2<F: Frame>(f: &mut F, hop: &Hop) -> Result<(), Exit> {
    let eth = f.at::<Eth>(0)?;
    eth.0.dst_addr = hop.dst_mac;
    eth.0.src_addr = hop.src_mac;
    Ok(())
}
