//! Why a command was refused. One variant for each answer that ip_vs tells apart.

use std::net::{Ipv4Addr, SocketAddrV4};

use ipvs_common::{Proto, ServiceKey};

use super::command::DestKey;

/// A command was refused; nothing changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ModelError {
    /// EEXIST for a service.
    #[error("virtual service {} exists already", service_name(.0))]
    ServiceExists(ServiceKey),
    /// ESRCH when the service itself is edited or deleted.
    #[error("no virtual service {}", service_name(.0))]
    NoService(ServiceKey),
    /// ESRCH when one of its real servers is meant.
    #[error("virtual service {} is not defined", service_name(.0))]
    ServiceUndefined(ServiceKey),
    /// EEXIST for a real server.
    #[error("real server {} exists already in {}", dest.v4(), service_name(service))]
    DestExists { service: ServiceKey, dest: DestKey },
    /// ENOENT for a real server.
    #[error("no real server {} in {}", dest.v4(), service_name(service))]
    NoDest { service: ServiceKey, dest: DestKey },
    /// ERANGE.
    #[error("{0}")]
    Range(String),
    /// EINVAL.
    #[error("{0}")]
    Invalid(String),
    /// ENOMEM: a table has no room.
    #[error("no room for another {what}: all {capacity} are in use")]
    Full { what: &'static str, capacity: u32 },
}

/// A service's name for a person, in the words of the configuration file.
#[must_use]
pub fn service_name(key: &ServiceKey) -> String {
    if key.mark != 0 {
        return format!("fwmark {}", key.mark);
    }
    let proto = match Proto::from_number(key.proto) {
        Some(Proto::Tcp) => "tcp",
        Some(Proto::Udp) => "udp",
        None => "protocol unknown",
    };
    let ip = Ipv4Addr::from(key.addr.low4());
    format!(
        "{proto} {}",
        SocketAddrV4::new(ip, u16::from_be_bytes(key.port))
    )
}
