//! The multicast sockets of a sync daemon, one for each port (`sync_ports`).

use std::{
    future::poll_fn,
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6},
    task::Poll,
};

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::{Config, Error};

/// Sockets on an interface as it is now: another one of the same name needs others.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) each: Vec<UdpSocket>,
    pub(super) to: Vec<SocketAddr>,
    pub(super) ifindex: u32,
}

/// Number of an interface; `None`: there is none of this name.
pub(super) fn ifindex(name: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(name).ok()
}

impl Sockets {
    /// A master's, from `ports` ports on; `size` is that of their buffers, or 0.
    pub(super) fn sending(daemon: &Config, ports: u32, size: u32) -> Result<Self, Error> {
        Self::open(daemon, ports, |socket, _, ifindex| {
            match daemon.group {
                IpAddr::V4(_) => {
                    socket.set_multicast_ttl_v4(daemon.ttl.into())?;
                    socket.set_multicast_loop_v4(false)?;
                }
                IpAddr::V6(_) => {
                    socket.set_multicast_if_v6(ifindex)?;
                    socket.set_multicast_hops_v6(daemon.ttl.into())?;
                    socket.set_multicast_loop_v6(false)?;
                }
            }
            if size != 0 {
                socket.set_send_buffer_size(size as usize)?;
            }
            Ok(())
        })
    }

    /// A backup's.
    pub(super) fn receiving(daemon: &Config, ports: u32, size: u32) -> Result<Self, Error> {
        Self::open(daemon, ports, |socket, to, ifindex| {
            socket.set_reuse_address(true)?;
            if size != 0 {
                socket.set_recv_buffer_size(size as usize)?;
            }
            socket.bind(&to.into())?;
            match daemon.group {
                IpAddr::V4(group) => {
                    socket.set_multicast_all_v4(false)?;
                    let on = InterfaceIndexOrAddress::Index(ifindex);
                    socket.join_multicast_v4_n(&group, &on)
                }
                IpAddr::V6(group) => socket.join_multicast_v6(&group, ifindex),
            }
        })
    }

    fn open(
        daemon: &Config,
        ports: u32,
        set_up: impl Fn(&Socket, SocketAddr, u32) -> io::Result<()>,
    ) -> Result<Self, Error> {
        let device = || Error::NoDevice(daemon.interface.clone());
        let ifindex = ifindex(&daemon.interface).ok_or_else(device)?;
        let mut sockets = Self {
            each: Vec::new(),
            to: Vec::new(),
            ifindex,
        };
        for n in 0..ports {
            let port = u32::from(daemon.port) + n;
            let port = u16::try_from(port).map_err(|_| Error::NoPorts {
                first: daemon.port,
                count: ports,
            })?;
            let to = address(daemon.group, port, ifindex);
            let socket = one(&daemon.interface, to, ifindex, &set_up);
            let socket = socket.map_err(|e| {
                let interface = &daemon.interface;
                Error::Failed(format!("multicast to {to} on {interface}: {e}"))
            })?;
            sockets.each.push(socket);
            sockets.to.push(to);
        }
        Ok(sockets)
    }

    /// Waits until a datagram came to one of them.
    pub(super) async fn readable(&self) {
        poll_fn(|cx| {
            // Every one is asked, so that each will wake us.
            let mut ready = Poll::Pending;
            for socket in &self.each {
                if socket.poll_recv_ready(cx).is_ready() {
                    ready = Poll::Ready(());
                }
            }
            ready
        })
        .await;
    }

    /// Hands out what came, up to `most` datagrams.
    pub(super) fn drain(&self, most: usize, buffer: &mut [u8], mut take: impl FnMut(&[u8])) {
        let mut left = most;
        for socket in &self.each {
            while left != 0
                && let Ok(len) = socket.try_recv(buffer)
            {
                take(&buffer[..len]);
                left -= 1;
            }
        }
    }
}

fn one(
    interface: &str,
    to: SocketAddr,
    ifindex: u32,
    set_up: impl Fn(&Socket, SocketAddr, u32) -> io::Result<()>,
) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    set_up(&socket, to, ifindex)?;
    UdpSocket::from_std(socket.into())
}

/// A group that is known on one link alone is named with its interface.
fn address(group: IpAddr, port: u16, ifindex: u32) -> SocketAddr {
    match group {
        IpAddr::V4(group) => (group, port).into(),
        IpAddr::V6(group) => {
            SocketAddrV6::new(Ipv6Addr::from(group.octets()), port, 0, ifindex).into()
        }
    }
}
