//! Where finished frames go: a packet socket that only sends.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike as _, sendto, socket,
};

/// What is asked of a packet socket, and of a fake in tests.
pub(super) trait Sink {
    /// Sends a whole Ethernet frame; if the interface's queue is full it is lost, as any packet would be.
    fn send(&self, ifindex: u32, frame: &[u8]) -> io::Result<()>;
}

pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    pub fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        // Without a protocol it receives nothing.
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None)?;
        Ok(Self(socket))
    }
}

impl Sink for PacketSocket {
    fn send(&self, ifindex: u32, frame: &[u8]) -> io::Result<()> {
        let to = device(ifindex)?;
        sendto(self.0.as_raw_fd(), frame, &to, MsgFlags::empty())?;
        Ok(())
    }
}

fn device(ifindex: u32) -> io::Result<LinkAddr> {
    let addr = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0,
        sll_ifindex: i32::try_from(ifindex).map_err(|_| io::ErrorKind::InvalidInput)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let len = size_of::<libc::sockaddr_ll>() as u32;
    // SAFETY: a whole `sockaddr_ll` of that family and length, which is copied.
    let addr = unsafe { LinkAddr::from_raw((&raw const addr).cast(), Some(len)) };
    addr.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}
