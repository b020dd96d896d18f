//! How long the datagrams of a sync daemon are, as ip_vs has it.

use std::net::IpAddr;

use super::Role;

/// What every Ethernet takes.
const MTU: u32 = 1500;
/// Masters of old send as much.
const SHORTEST_BACKUP: u32 = 1024;
const V4_HEADERS: u32 = 20 + 8;
const V6_HEADERS: u32 = 40 + 8;

/// Longest datagram that is sent, or that is awaited.
#[must_use]
pub(super) fn longest(role: Role, wanted: Option<u16>, mtu: u32, group: IpAddr) -> u16 {
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
        let v4 = IpAddr::from([224, 0, 0, 81]);
        let v6 = IpAddr::from([0xff02, 0, 0, 0, 0, 0, 0, 0x81]);
        assert_eq!(longest(Role::Master, None, 1500, v4), 1472);
        assert_eq!(longest(Role::Master, None, 9000, v4), 1472);
        assert_eq!(longest(Role::Master, None, 1500, v6), 1452);
        assert_eq!(longest(Role::Backup, None, 9000, v4), 8972);
        assert_eq!(longest(Role::Backup, None, 1280, v4), 1472);
        assert_eq!(longest(Role::Backup, Some(100), 1500, v4), 1024);
        assert_eq!(longest(Role::Master, Some(100), 1500, v4), 100);
        assert_eq!(longest(Role::Master, Some(65_535), 1500, v4), 65_507);
    }
}
