//! Frames as they are, onto a link.

use std::{io, os::fd::AsRawFd as _, ptr};

use anyhow::{Context as _, Result};
use nix::{
    libc,
    net::if_::if_nametoindex,
    sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket},
};

use super::Netns;

impl Netns {
    /// Sends frames by one of its interfaces.
    pub fn send_frames(&self, interface: &str, frames: &[Vec<u8>]) -> Result<()> {
        self.enter(|| {
            let to = link_address(if_nametoindex(interface).map_err(io::Error::from)?);
            // Without a protocol it receives nothing.
            let socket = socket(
                AddressFamily::Packet,
                SockType::Raw,
                SockFlag::empty(),
                None,
            )?;
            for frame in frames {
                sendto(socket.as_raw_fd(), frame, &to, MsgFlags::empty())
                    .with_context(|| format!("sending a frame by {interface}"))?;
            }
            Ok(())
        })
    }
}

/// Where a packet socket sends to.
#[must_use]
pub(crate) fn link_address(ifindex: u32) -> LinkAddr {
    let all = (libc::ETH_P_ALL as u16).to_be();
    let raw = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: all,
        sll_ifindex: ifindex.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0; 8],
    };
    let len = size_of::<libc::sockaddr_ll>() as u32;
    // SAFETY: it is the address of a packet socket, whole and of that length.
    let made = unsafe {
        <LinkAddr as nix::sys::socket::SockaddrLike>::from_raw(
            ptr::from_ref(&raw).cast(),
            Some(len),
        )
    };
    made.expect("it is one")
}
