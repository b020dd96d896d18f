//! Names of hosts and services, both ways.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

/// Where `/etc/services` keeps a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    Tcp,
    Udp,
    Sctp,
}

/// Looks names up. Tests bring their own. Names of hosts stand for IPv4 addresses.
pub trait Names: Sync {
    fn address(&self, host: &str) -> Option<Ipv4Addr>;
    fn port(&self, service: &str, transport: Transport) -> Option<u16>;
    fn host(&self, address: IpAddr) -> Option<String>;
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
            Transport::Sctp => {
                return sctp_services().find_map(|(name, port)| (name == service).then_some(port));
            }
        };
        let hints = dns_lookup::AddrInfoHints {
            socktype,
            ..dns_lookup::AddrInfoHints::default()
        };
        let mut found = dns_lookup::getaddrinfo(None, Some(service), Some(hints)).ok()?;
        Some(found.next()?.ok()?.sockaddr.port())
    }

    fn host(&self, address: IpAddr) -> Option<String> {
        dns_lookup::lookup_addr(&address).ok()
    }

    fn service(&self, port: u16, transport: Transport) -> Option<String> {
        let datagram = match transport {
            Transport::Tcp => 0,
            Transport::Udp => libc::NI_DGRAM,
            Transport::Sctp => {
                return sctp_services().find_map(|(name, p)| (p == port).then_some(name));
            }
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
    address: SocketAddr,
    transport: Option<Transport>,
) -> String {
    if numeric {
        return address.to_string();
    }
    let (ip, port) = (address.ip(), address.port());
    let host = names.host(ip).unwrap_or_else(|| ip.to_string());
    let service = transport.filter(|_| port != 0);
    let service = service.and_then(|t| names.service(port, t));
    let service = service.unwrap_or_else(|| port.to_string());
    match ip {
        IpAddr::V4(_) => format!("{host}:{service}"),
        IpAddr::V6(_) => format!("[{host}]:{service}"),
    }
}

/// The system's resolver does not look for SCTP by itself.
fn sctp_services() -> impl Iterator<Item = (String, u16)> {
    let text = std::fs::read_to_string("/etc/services").unwrap_or_default();
    let lines: Vec<_> = text.lines().filter_map(sctp_service).collect();
    lines.into_iter()
}

fn sctp_service(line: &str) -> Option<(String, u16)> {
    let line = line.split('#').next()?;
    let mut words = line.split_whitespace();
    let (name, port) = (words.next()?, words.next()?.strip_suffix("/sctp")?);
    Some((name.to_owned(), port.parse().ok()?))
}
