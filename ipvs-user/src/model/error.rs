//! Why a command was refused. One variant for each answer that ip_vs tells apart.

use std::net::SocketAddr;

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
    #[error("real server {} exists already in {}", dest.socket(), service_name(service))]
    DestExists { service: ServiceKey, dest: DestKey },
    /// ENOENT for a real server.
    #[error("no real server {} in {}", dest.socket(), service_name(service))]
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
    match (key.mark, key.addr.is_v4()) {
        (0, _) => {
            let port = u16::from_be_bytes(key.port);
            let address = SocketAddr::new(key.addr.ip(), port);
            format!("{} {address}", protocol_name(key.proto))
        }
        (mark, true) => format!("fwmark {mark}"),
        (mark, false) => format!("fwmark6 {mark}"),
    }
}

/// A transport protocol's name in the configuration file.
#[must_use]
pub const fn protocol_name(number: u8) -> &'static str {
    match Proto::from_number(number) {
        Some(Proto::Tcp) => "tcp",
        Some(Proto::Udp) => "udp",
        Some(Proto::Sctp) => "sctp",
        None => "protocol unknown",
    }
}
