//! Names of hosts and services, both ways.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

/// Where `/etc/services` keeps a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    Tcp,
    Udp,
}

/// Looks names up. Tests bring their own.
pub trait Names: Sync {
    fn address(&self, host: &str) -> Option<Ipv4Addr>;
    fn port(&self, service: &str, transport: Transport) -> Option<u16>;
    fn host(&self, address: Ipv4Addr) -> Option<String>;
    fn service(&self, port: u16, transport: Transport) -> Option<String>;
}

/// The system's resolver and its `/etc/services`.
pub struct System;

impl Names for System {
    fn address(&self, host: &str) -> Option<Ipv4Addr> {
        let found = (host, 0).to_socket_addrs().ok()?;
        found.into_iter().find_map(|a| match a {
            SocketAddr::V4(a) => Some(*a.ip()),
            SocketAddr::V6(_) => None,
        })
    }

    fn port(&self, service: &str, transport: Transport) -> Option<u16> {
        let socktype = match transport {
            Transport::Tcp => libc::SOCK_STREAM,
            Transport::Udp => libc::SOCK_DGRAM,
        };
        let hints = dns_lookup::AddrInfoHints {
            socktype,
            ..dns_lookup::AddrInfoHints::default()
        };
        let mut found = dns_lookup::getaddrinfo(None, Some(service), Some(hints)).ok()?;
        Some(found.next()?.ok()?.sockaddr.port())
    }

    fn host(&self, address: Ipv4Addr) -> Option<String> {
        dns_lookup::lookup_addr(&IpAddr::V4(address)).ok()
    }

    fn service(&self, port: u16, transport: Transport) -> Option<String> {
        let datagram = match transport {
            Transport::Tcp => 0,
            Transport::Udp => libc::NI_DGRAM,
        };
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let found = dns_lookup::getnameinfo(&any, libc::NI_NUMERICHOST | datagram);
        found.ok().map(|(_, service)| service)
    }
}

/// `address:port` for people, or in digits.
pub(super) fn address_port(
    names: &dyn Names,
    numeric: bool,
    address: Ipv4Addr,
    port: u16,
    transport: Option<Transport>,
) -> String {
    if numeric {
        return format!("{address}:{port}");
    }
    let host = names.host(address).unwrap_or_else(|| address.to_string());
    let service = transport.filter(|_| port != 0);
    let service = service.and_then(|t| names.service(port, t));
    format!("{host}:{}", service.unwrap_or_else(|| port.to_string()))
}
