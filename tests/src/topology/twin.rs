//! The same network over IPv6: every address has its twin beside it.

use anyhow::Result;

use super::{CLIENT, DOM0_INTERFACES, GUESTS, OTHER_CLIENT, ROUTER, Topology, VIP, mtu_of};
use crate::six::{PREFIX, six};

/// Dom0's address towards its guests.
const DOM0: std::net::Ipv4Addr = std::net::Ipv4Addr::new(10, 0, 1, 1);
/// The router's towards dom0.
const BEFORE_DOM0: std::net::Ipv4Addr = std::net::Ipv4Addr::new(10, 0, 0, 1);

impl Topology {
    /// Adds the twins of all addresses and routes; the client begins nothing from its second one by itself. Routers of IPv6 route as
    /// a whole or not at all.
    pub fn over_six(&self) -> Result<()> {
        for router in [&self.router, &self.dom0] {
            router.set("ipv6/conf/all/forwarding", "1")?;
        }
        let (vip, router, before) = (six(VIP), six(ROUTER), six(BEFORE_DOM0));
        self.client.ip(&format!(
            "addr add {}/{PREFIX} dev eth0 nodad\n\
             addr add {}/{PREFIX} dev eth0 nodad valid_lft forever preferred_lft 0\n\
             route add default via {router}\n",
            six(CLIENT),
            six(OTHER_CLIENT)
        ))?;
        self.router.ip(&format!(
            "addr add {router}/{PREFIX} dev client nodad\n\
             addr add {before}/{PREFIX} dev dom0 nodad\n\
             route add {}/{PREFIX} via {vip}\n",
            six(DOM0)
        ))?;
        self.dom0.ip(&format!(
            "addr add {vip}/{PREFIX} dev eth0 nodad\n\
             route add default via {before}\n"
        ))?;
        for (index, guest) in self.guests.iter().enumerate() {
            let (addr, vif) = (six(GUESTS[index]), DOM0_INTERFACES[index + 1]);
            self.dom0.ip(&format!(
                "addr add {}/128 dev {vif} nodad\n\
                 route add {addr}/128 dev {vif}\n",
                six(DOM0)
            ))?;
            guest.ip(&format!(
                "addr add {addr}/{PREFIX} dev eth0 nodad\n\
                 route add default via {}\n",
                six(DOM0)
            ))?;
        }
        Ok(())
    }

    /// Has the guests take packets to the virtual address's twin.
    pub fn guests_take_vip_over_six(&self) -> Result<()> {
        for guest in &self.guests {
            guest.ip(&format!("addr add {}/128 dev lo nodad", six(VIP)))?;
        }
        Ok(())
    }

    /// What the client has learned of the way to the virtual address's twin: the longest packet that it takes.
    pub fn learned_mtu_over_six(&self) -> Result<Option<u32>> {
        let route = ["-6", "route", "get", &six(VIP).to_string()];
        mtu_of(&self.client.output("ip", &route)?)
    }
}
