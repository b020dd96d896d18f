//! Three machines as the kernel's own test of ip_vs arranges them: a client behind a bridge, a director with two arms and the
//! virtual address on its loopback, and a real server that is on the bridge, too.
//!
//! ```text
//!   client 10.0.0.10                   director, lo 203.0.113.10       real
//!   ┌ br0 ┐
//!   │     ├─ to_director ───────────── front 10.0.0.1
//!   │     │                            back 172.16.0.1 ─────────────── back 172.16.0.2
//!   │     └─ to_real ───────────────────────────────────────────────── front 10.0.0.2
//! ```
//!
//! What the real server sends from the virtual address goes to the client by its `front`, and what it sends from its own address
//! on `back` by the director. Everything is gone when the process is.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::Result;

use super::{Netns, Start};

pub const THREE_CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);
pub const THREE_VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
pub const THREE_REAL: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 2);

/// The network.
#[derive(Debug)]
pub struct Three {
    pub client: Netns,
    pub director: Netns,
    pub real: Netns,
}

impl Three {
    pub fn new() -> Result<Self> {
        let this = Self {
            client: Netns::new("client")?,
            director: Netns::new("director")?,
            real: Netns::new("real")?,
        };
        let (client, director, real) = (&this.client, &this.director, &this.real);
        director.set("ipv4/ip_forward", "1")?;
        real.set("ipv4/conf/all/arp_ignore", "1")?;
        real.set("ipv4/conf/all/arp_announce", "2")?;
        client.ip(&format!(
            "link add br0 type bridge\n\
             addr add {THREE_CLIENT}/24 dev br0\n\
             link set br0 up\n\
             link add to_director type veth peer name front netns {}\n\
             link add to_real type veth peer name front netns {}\n\
             link set to_director master br0 up\n\
             link set to_real master br0 up\n\
             route add {THREE_VIP}/32 via 10.0.0.1\n",
            director.path(),
            real.path()
        ))?;
        director.ip(&format!(
            "addr add {THREE_VIP}/32 dev lo\n\
             addr add 10.0.0.1/24 dev front\n\
             link set front up\n\
             link add back type veth peer name back netns {}\n\
             addr add 172.16.0.1/24 dev back\n\
             link set back up\n",
            real.path()
        ))?;
        real.ip(&format!(
            "addr add {THREE_VIP}/32 dev lo\n\
             addr add 10.0.0.2/24 dev front\n\
             link set front up\n\
             addr add {THREE_REAL}/24 dev back\n\
             link set back up\n\
             rule add from {THREE_REAL} lookup 100\n\
             route add default via 172.16.0.1 table 100\n"
        ))?;
        // What native XDP wants of the other ends of veths.
        for (netns, interface) in [(client, "to_director"), (real, "back")] {
            netns.output("ethtool", &["-K", interface, "gro", "on"])?;
        }
        Ok(this)
    }

    /// How the director is started here.
    #[must_use]
    pub fn start() -> Start {
        Start {
            interfaces: vec!["front", "back"],
            ..Start::default()
        }
    }

    #[must_use]
    pub const fn vip(port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(THREE_VIP, port)
    }
}
