//! Why a machine is not set up as a real server; each says what to do instead.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::wanted::{Device, Family};

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    #[error("{0} needs {1}")]
    Needs(&'static str, &'static str),
    #[error("--vip {0}: no IPv4 or IPv6 address")]
    NoAddress(String),
    #[error("--vip {0}: no address that a service can have")]
    NotUnicast(IpAddr),
    #[error(
        "--vip {vip}/{prefix}: with this netmask on lo the kernel takes every address of {network} for this machine's own, and \
         reaches none of them any more; give the address alone ({vip}), it gets /{bits}",
        bits = Family::of(*vip).bits()
    )]
    Wide {
        vip: IpAddr,
        prefix: u8,
        network: String,
    },
    #[error(
        "{device} has {vip}/{prefix}, by which this machine takes every address of {network} for its own; \
         `ip addr del {vip}/{prefix} dev {device}`, then once more"
    )]
    IsWide {
        vip: IpAddr,
        prefix: u8,
        network: String,
        device: String,
    },
    #[error(
        "--vip {vip}: {device} has it, where this machine answers ARP and neighbour solicitations for it and takes the \
         director's packets away. Is this the director? If not, `ip addr del {vip}/{prefix} dev {device}`, then once more"
    )]
    OnInterface {
        vip: IpAddr,
        prefix: u8,
        device: String,
    },
    #[error(
        "--vip {vip}: that is this machine's own address on {device}; a virtual address is the service's, and neither the \
         director's nor a real server's own"
    )]
    OwnAddress { vip: IpAddr, device: String },
    #[error(
        "--vip {vip}: {route} goes by it, and with it on this machine nobody would be reached that way any more; give \
         another virtual address, or the route another gateway"
    )]
    Gateway { vip: IpAddr, route: String },
    #[error(
        "--vip and --director are both {vip}: with it on this machine the director would not be reached; give --director the \
         director's own address"
    )]
    IsDirector { vip: IpAddr },
    #[error(
        "--director {director}: that is this machine's own address on {device}; give the director's own address"
    )]
    DirectorIsHere { director: IpAddr, device: String },
    #[error("--director {0}: no route to it; is the address right, and the interface up?")]
    NoWay(IpAddr),
    #[error("--{option} {name}: no such interface; there are {there}")]
    NoInterface {
        option: &'static str,
        name: String,
        there: String,
    },
    #[error(
        "--device {0}: it answers ARP for the addresses that it has, so this machine would take the director's packets away; \
         give lo, or a dummy device (`ip link add {0}-vip type dummy`)"
    )]
    Answers(String),
    #[error(
        "--vip {0}: IPv6 is off on {1} (net.ipv6.conf.{1}.disable_ipv6); set that to 0, then once more"
    )]
    NoIpv6(IpAddr, String),
    #[error("--vip {0}: this kernel has no IPv6")]
    KernelWithoutIpv6(IpAddr),
    #[error(
        "--unpack kernel: this kernel has no {0} (module {module}); `modprobe {module}` if it can be installed, or --unpack xdp",
        module = .0.module()
    )]
    NoDevice(Device),
    #[error(
        "--unpack kernel: this kernel does not unpack GUE over {0} (module fou); `modprobe fou` if it can be installed, or \
         --unpack xdp"
    )]
    NoGue(Family),
    #[error(
        "no Ethernet interface that is up has an address for packets of tunnels to come to; name the interface with --interface"
    )]
    NoWayIn,
    #[error("--unpack xdp: {0}, or use --unpack kernel")]
    Occupied(String),
    #[error(
        "the default route for {family} goes {found}, not by the director: answers would reach clients untranslated. \
         `ip route replace default via {director}`, then once more"
    )]
    WrongGateway {
        family: Family,
        found: String,
        director: IpAddr,
    },
    #[error(
        "--method masq: {device} has {vip}; a masqueraded real server is asked at its own address, and must not have the \
         virtual one: `ip addr del {vip}/{prefix} dev {device}`, then once more"
    )]
    HasVip {
        vip: IpAddr,
        prefix: u8,
        device: String,
    },
    #[error(
        "--director {director} is {family}, and --vip {vip} is not: masquerading keeps the family"
    )]
    OtherFamily {
        director: IpAddr,
        family: Family,
        vip: IpAddr,
    },
}

/// The network of an address, `10.0.0.0/24`.
#[must_use]
pub fn network(address: IpAddr, prefix: u8) -> String {
    let first: IpAddr = match address {
        IpAddr::V4(a) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from(u32::from(a) & mask).into()
        }
        IpAddr::V6(a) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from(u128::from(a) & mask).into()
        }
    };
    format!("{first}/{prefix}")
}
