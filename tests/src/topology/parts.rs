//! Parts of the kernel that not every kernel has. A test that is about one says so and ends where it is missing; in the machines
//! of `cargo xtask vm`, which have all of them, that is a failure.

use std::{
    env,
    io::{self, Write as _},
    path::Path,
    process::Command,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result, ensure};
use ipvs_user::kernel;
use socket2::{Domain, Protocol, Socket, Type};

use super::Netns;

/// Set where nothing may be missing.
const ALL: &str = "IPVS_ALL_PARTS";

/// What a test may want of the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The tunnel device of IP in IP.
    Ipip,
    /// That of IPv6 in IPv6.
    Ip6Tnl,
    /// Those of every tunnel that ip_vs has, in and over either version.
    Tunnels,
    /// VLAN devices.
    Vlans,
    IpVs,
    Nftables,
    /// Sockets of SCTP.
    Sctp,
}

impl Part {
    /// Whether it is there. It is loaded if it can be.
    pub fn is_there(self) -> Result<bool> {
        let netns = Netns::new("trial")?;
        let there = match self {
            Self::Ipip => {
                load("ipip");
                netns.ip("link set tunl0 up").is_ok()
            }
            Self::Ip6Tnl => {
                load("ip6_tunnel");
                netns.ip("link set ip6tnl0 up").is_ok()
            }
            Self::Tunnels => {
                let modules = [
                    "ipip",
                    "sit",
                    "ip6_tunnel",
                    "ip_gre",
                    "ip6_gre",
                    "fou",
                    "fou6",
                ];
                modules.into_iter().for_each(load);
                let devices = "link set tunl0 up\n\
                     link set sit0 up\n\
                     link set ip6tnl0 up\n\
                     link add trial type gre local 10.0.0.1 remote 10.0.0.2\n\
                     link add trial6 type ip6gre local fd00::1 remote fd00::2\n";
                let port = ["fou", "add", "port", "6080", "gue"];
                netns.ip(devices).is_ok() && netns.output("ip", &port).is_ok()
            }
            Self::Vlans => {
                load("8021q");
                netns
                    .ip("link add trial type veth peer name far\nlink add link trial name v type vlan id 7\n")
                    .is_ok()
            }
            Self::IpVs => {
                load("ip_vs");
                netns.get("ipv4/vs/conntrack").is_ok()
            }
            Self::Sctp => {
                load("sctp");
                let protocol = Some(Protocol::from(132));
                Socket::new(Domain::IPV4, Type::STREAM, protocol).is_ok()
            }
            Self::Nftables => {
                let add = ["add", "table", "ip", "trial", "{", "chain", "c", "{"];
                let hook = "type nat hook postrouting priority 100; ct state new counter; }; }";
                netns.output("nft", &[&add[..], &[hook]].concat()).is_ok()
            }
        };
        if !there {
            ensure!(env::var_os(ALL).is_none(), "this kernel has no {self:?}");
            // Not by a macro, whose words nobody sees of a test that holds.
            let to = "`cargo xtask vm -- netns` tries one that has";
            writeln!(io::stderr(), "skipped: this kernel has no {self:?}; {to}")?;
        }
        Ok(there)
    }
}

/// The module of ip_vs, to be unloaded when the last one of these in the process is dropped, unless it was there before the first.
/// Taken before anybody asks whether the part is there, as that loads it.
#[derive(Debug)]
pub struct IpVsModule(());

static HOLDERS: Mutex<Holders> = Mutex::new(Holders {
    number: 0,
    was_there: false,
});

struct Holders {
    number: u32,
    was_there: bool,
}

impl IpVsModule {
    #[must_use]
    pub fn hold() -> Self {
        let mut holders = HOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
        if holders.number == 0 {
            holders.was_there = Path::new("/sys/module/ip_vs").exists();
        }
        holders.number += 1;
        Self(())
    }
}

impl Drop for IpVsModule {
    fn drop(&mut self) {
        let mut holders = HOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
        holders.number -= 1;
        if holders.number > 0 || holders.was_there {
            return;
        }
        // Schedulers hold it.
        for module in ["ip_vs_rr", "ip_vs"] {
            let _ = Command::new("modprobe").args(["-r", module]).output();
        }
    }
}

/// Whether this kernel says which interfaces take frames from a native program: since 6.3.
pub fn kernel_tells_who_takes_frames() -> Result<bool> {
    Ok(kernel_version()? >= (6, 3))
}

/// 6 and 1 of `6.1.0-50-amd64`.
pub fn kernel_version() -> Result<(u32, u32)> {
    let release = kernel::release();
    kernel::version(&release).with_context(|| format!("what version is {release}?"))
}

/// Where it is a module. Whether that worked is seen by its use.
fn load(module: &str) {
    let _ = Command::new("modprobe").arg(module).output();
}
