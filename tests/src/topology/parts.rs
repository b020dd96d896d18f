//! Parts of the kernel that not every kernel has. A test that is about one says so and ends where it is missing; in the machines
//! of `cargo xtask vm`, which have all of them, that is a failure.

use std::{
    env,
    io::{self, Write as _},
    path::Path,
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context as _, Result, ensure};
use ipvs_user::kernel;

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
    IpVs,
    Nftables,
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
            Self::IpVs => {
                IpVsModule::was_there();
                load("ip_vs");
                netns.get("ipv4/vs/conntrack").is_ok()
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

/// The module of ip_vs, to be unloaded when this is dropped, unless it was there before this process asked for it.
#[derive(Debug)]
pub struct IpVsModule;

impl IpVsModule {
    fn was_there() -> bool {
        static WAS_THERE: OnceLock<bool> = OnceLock::new();
        *WAS_THERE.get_or_init(|| Path::new("/sys/module/ip_vs").exists())
    }
}

impl Drop for IpVsModule {
    fn drop(&mut self) {
        // It stays while another test has it at work; that one has the last word then. Schedulers hold it.
        for module in ["ip_vs_rr", "ip_vs"] {
            if !Self::was_there() {
                let _ = Command::new("modprobe").args(["-r", module]).output();
            }
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
