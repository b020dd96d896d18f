//! The address that the director itself would send from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use ipvs_common::Addr;

/// The source address that routing gives packets to `to`: that of a tunnel's outer header. No packet is sent.
///
/// Asked of a connected socket, not of netlink, because it is needed in the middle of a command.
#[must_use]
pub fn source_towards(to: Addr) -> Option<Addr> {
    /// Any port will do: only the route counts.
    const DISCARD: u16 = 9;
    let to = to.ip();
    let any: IpAddr = match to {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((to, DISCARD)).ok()?;
    let source = socket.local_addr().ok()?.ip();
    (!source.is_unspecified()).then(|| source.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_oneself_starts_at_oneself() {
        for me in ["127.0.0.1", "::1"] {
            let me: Addr = me.parse::<IpAddr>().unwrap().into();
            assert_eq!(source_towards(me), Some(me));
        }
    }
}
