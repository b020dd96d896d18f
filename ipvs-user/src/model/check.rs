//! What a command must not say, whatever the state is. Errors are ip_vs's.

use std::net::IpAddr;

use ipvs_common::{ForwardingMethod, Proto, Scheduler, ServiceFlags, ServiceKey};

use super::{
    apply::Result,
    command::{DestKey, DestSpec, MAX_WEIGHT, ServiceSpec},
    error::{ModelError, service_name},
    options::{Tunnel, TunnelChecksum, TunnelKind},
};

pub(super) fn service(key: &ServiceKey, spec: &ServiceSpec) -> Result<()> {
    if key.mark == 0 && key.port == [0; 2] && spec.persistent.is_none() {
        return Err(ModelError::Invalid(format!(
            "{}: a service on every port (port 0) must be persistent",
            service_name(key)
        )));
    }
    if spec.flags & ServiceFlags::ONE_PACKET != 0 && key.mark == 0 && key.proto != Proto::Udp as u8
    {
        return Err(ModelError::Invalid(format!(
            "{}: one-packet scheduling is for UDP and firewall mark services",
            service_name(key)
        )));
    }
    if spec.persistent == Some(0) {
        return Err(ModelError::Invalid(
            "a persistence timeout of 0 seconds".to_owned(),
        ));
    }
    let full = ServiceSpec::full_prefix(key);
    if !(1..=full).contains(&spec.prefix) {
        return Err(ModelError::Invalid(format!(
            "persistence prefix length {} is not one of 1 to {full}",
            spec.prefix,
        )));
    }
    Ok(())
}

/// Every real server needs a slot of Maglev's table.
pub(super) fn maglev(scheduler: Scheduler, dests: usize, maglev: u32) -> Result<()> {
    if scheduler == Scheduler::Mh && dests > maglev as usize {
        return Err(ModelError::Invalid(format!(
            "{dests} real servers under mh, whose table has {maglev} slots: raise `mh_table_index`"
        )));
    }
    Ok(())
}

pub(super) fn numbers(spec: &DestSpec) -> Result<()> {
    if spec.weight > MAX_WEIGHT {
        return Err(ModelError::Range(format!(
            "weight {} is above {MAX_WEIGHT}",
            spec.weight
        )));
    }
    if spec.lower > spec.upper {
        return Err(ModelError::Range(format!(
            "lower threshold {} is above the upper threshold {}",
            spec.lower, spec.upper
        )));
    }
    Ok(())
}

/// A real server of a service, and how it is reached.
pub(super) fn dest(service: &ServiceKey, dest: &DestKey, spec: &DestSpec) -> Result<()> {
    family(service, dest, spec)?;
    tunnel(dest, spec)?;
    unicast(dest.addr.ip())?;
    port(service, dest, spec)
}

fn family(service: &ServiceKey, dest: &DestKey, spec: &DestSpec) -> Result<()> {
    if service.addr.is_v4() == dest.addr.is_v4() || spec.method == ForwardingMethod::Tunnel {
        return Ok(());
    }
    let what = "a real server of the other address family has to be behind a tunnel";
    Err(ModelError::Invalid(format!("{}: {what}", dest.socket())))
}

fn tunnel(dest: &DestKey, spec: &DestSpec) -> Result<()> {
    let Tunnel {
        kind,
        port,
        checksum,
    } = spec.tunnel;
    let wrong = if spec.method == ForwardingMethod::Tunnel {
        match (kind, port, checksum) {
            (TunnelKind::Gue, 0, _) => "gue needs a tunnel port",
            (TunnelKind::Ipip | TunnelKind::Gre, 1.., _) => "only gue has a tunnel port",
            (TunnelKind::Ipip, _, TunnelChecksum::Full | TunnelChecksum::Remote) => {
                "ipip has no checksum"
            }
            (TunnelKind::Gre, _, TunnelChecksum::Remote) => "gre has no remote checksum",
            (TunnelKind::Ipip | TunnelKind::Gue | TunnelKind::Gre, ..) => return Ok(()),
        }
    } else if spec.tunnel == Tunnel::IPIP {
        return Ok(());
    } else {
        "tunnel options are for the method tunnel"
    };
    let dest = dest.socket();
    Err(ModelError::Invalid(format!("real server {dest}: {wrong}")))
}

/// One machine's address.
#[must_use]
pub fn is_unicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !(ip.is_multicast() || ip.is_broadcast() || ip.octets()[0] == 0),
        IpAddr::V6(ip) => !(ip.is_multicast() || ip.is_unspecified() || ip.is_unicast_link_local()),
    }
}

fn unicast(ip: IpAddr) -> Result<()> {
    if is_unicast(ip) {
        return Ok(());
    }
    let what = "is not a unicast address, so no real server";
    Err(ModelError::Invalid(format!("{ip} {what}")))
}

/// Only translation can change a port; the other methods deliver to the service's own.
fn port(key: &ServiceKey, dest: &DestKey, spec: &DestSpec) -> Result<()> {
    let translates = spec.method == ForwardingMethod::Masq;
    if translates || key.mark != 0 || dest.port.to_be_bytes() == key.port {
        return Ok(());
    }
    Err(ModelError::Invalid(format!(
        "real server {}: {} cannot change the port, which is {} at the service",
        dest.socket(),
        spec.method.name(),
        u16::from_be_bytes(key.port)
    )))
}
