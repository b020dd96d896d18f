//! ip_vs's defaults of the sync daemon, and how long its datagrams are.

use std::net::{IpAddr, Ipv4Addr};

use super::Role;

pub const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81));
pub const PORT: u16 = 8848;
pub const TTL: u8 = 1;

/// What every Ethernet takes.
const MTU: u32 = 1500;
/// Masters of old send as much.
const SHORTEST_BACKUP: u32 = 1024;
const V4_HEADERS: u32 = 20 + 8;
const V6_HEADERS: u32 = 40 + 8;

/// Longest datagram that is sent, or that is awaited.
#[must_use]
pub fn maxlen(role: Role, wanted: Option<u16>, mtu: u32, group: IpAddr) -> u16 {
    let headers = if group.is_ipv4() {
        V4_HEADERS
    } else {
        V6_HEADERS
    };
    let longest = u32::from(u16::MAX) - headers;
    let (shortest, default) = match role {
        Role::Master => (1, MTU - headers),
        Role::Backup => (
            SHORTEST_BACKUP,
            mtu.clamp(MTU, u32::from(u16::MAX)) - headers,
        ),
    };
    let len = match wanted {
        None | Some(0) => default,
        Some(wanted) => u32::from(wanted).clamp(shortest, longest),
    };
    len as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_ip_vs() {
        let v6 = IpAddr::from([0xff02, 0, 0, 0, 0, 0, 0, 0x81]);
        assert_eq!(maxlen(Role::Master, None, 1500, GROUP), 1472);
        assert_eq!(maxlen(Role::Master, None, 9000, GROUP), 1472);
        assert_eq!(maxlen(Role::Master, None, 1500, v6), 1452);
        assert_eq!(maxlen(Role::Backup, None, 9000, GROUP), 8972);
        assert_eq!(maxlen(Role::Backup, None, 1280, GROUP), 1472);
        assert_eq!(maxlen(Role::Backup, Some(100), 1500, GROUP), 1024);
        assert_eq!(maxlen(Role::Master, Some(100), 1500, GROUP), 100);
        assert_eq!(maxlen(Role::Master, Some(65_535), 1500, GROUP), 65_507);
    }
}
