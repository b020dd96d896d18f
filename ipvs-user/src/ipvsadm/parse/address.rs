//! Addresses, ports and masks, in digits or by name.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::super::{
    Usage,
    names::{Names, Transport},
};
use crate::api::wire::{Netmask, ServiceId};

pub(super) fn service(
    text: &str,
    transport: Transport,
    names: &dyn Names,
) -> Result<SocketAddr, Usage> {
    let illegal = || Usage::mistake("illegal virtual server address[:port] specified");
    let (address, port) = host_port(text, transport, names).ok_or_else(illegal)?;
    Ok(SocketAddr::new(address, port.unwrap_or(0)))
}

/// `host`, `host:port`, `[v6]:port`, or an IPv6 address alone.
pub(super) fn host_port(
    text: &str,
    transport: Transport,
    names: &dyn Names,
) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(ip) = text.parse::<Ipv6Addr>() {
        return Some((ip.into(), None));
    }
    let port = |text: &str| match text {
        "" => None,
        // A resolver would cut off what is too large.
        digits if digits.parse::<u64>().is_ok() => digits.parse().ok(),
        name => names.port(name, transport),
    };
    if let Some(text) = text.strip_prefix('[') {
        let (ip, rest) = text.split_once(']')?;
        let ip: Ipv6Addr = ip.parse().ok()?;
        return Some((ip.into(), Some(port(rest.strip_prefix(':')?)?)));
    }
    let v4 = |host: &str| host.parse().ok().or_else(|| names.address(host));
    match text.rsplit_once(':') {
        None => Some((v4(text)?.into(), None)),
        Some((host, digits)) => Some((v4(host)?.into(), Some(port(digits)?))),
    }
}

/// `None`: a firewall mark service takes any.
pub(in super::super) const fn transport(service: ServiceId) -> Option<Transport> {
    match service {
        ServiceId::Tcp(_) => Some(Transport::Tcp),
        ServiceId::Udp(_) => Some(Transport::Udp),
        ServiceId::Sctp(_) => Some(Transport::Sctp),
        ServiceId::Fwmark(_) | ServiceId::Fwmark6(_) => None,
    }
}

/// A mask, or over IPv6 a prefix length.
pub(super) fn netmask(
    service: Option<ServiceId>,
    text: &str,
    names: &dyn Names,
) -> Result<Netmask, Usage> {
    if service.is_some_and(ServiceId::is_v6) {
        let length = text.parse().ok().filter(|n| (1..=128).contains(n));
        let illegal = || Usage::mistake("illegal ipv6 netmask specified");
        return length.map(Netmask::Prefix).ok_or_else(illegal);
    }
    let mask = text.parse().ok().or_else(|| names.address(text));
    let illegal = || Usage::mistake("illegal virtual server persistent mask specified");
    mask.map(Netmask::Mask).ok_or_else(illegal)
}
