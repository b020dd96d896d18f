//! Sockets in namespaces.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result};
use socket2::{Domain, Protocol, Socket, Type};

use super::Netns;

/// A first SYN and two more.
const CONNECT: Duration = Duration::from_secs(5);

impl Netns {
    pub fn listen(&self, on: SocketAddrV4) -> Result<TcpListener> {
        let listener = self.enter(|| TcpListener::bind(on));
        listener.with_context(|| format!("listening on {on} in {}", self.name()))
    }

    pub fn connect(&self, from: Ipv4Addr, to: SocketAddrV4) -> Result<TcpStream> {
        self.connect_within(CONNECT, from, to)
    }

    pub fn connect_within(
        &self,
        limit: Duration,
        from: Ipv4Addr,
        to: SocketAddrV4,
    ) -> Result<TcpStream> {
        let connect = || -> io::Result<TcpStream> {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
            socket.bind(&SocketAddrV4::new(from, 0).into())?;
            socket.connect_timeout(&SocketAddr::V4(to).into(), limit)?;
            Ok(socket.into())
        };
        self.enter(connect)
            .with_context(|| format!("connecting from {from} to {to}"))
    }

    pub fn udp(&self, on: SocketAddrV4) -> Result<UdpSocket> {
        let socket = self.enter(|| UdpSocket::bind(on));
        socket.with_context(|| format!("UDP socket on {on} in {}", self.name()))
    }
}
