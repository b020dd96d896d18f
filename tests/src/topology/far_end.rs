//! Programs on the far ends of links, where a test stands in for a guest or a router.

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    programs::{Xdp, XdpMode, links::FdLink},
};
use nix::net::if_::if_nametoindex;

use super::Netns;

/// Programs of `ipvs-peer`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FarEnd {
    /// Takes frames, and does nothing to them.
    Pass,
    /// Unpacks IP in IP.
    Decap,
}

impl FarEnd {
    const fn program(self) -> &'static str {
        match self {
            Self::Pass => "peer_pass",
            Self::Decap => "peer_decap",
        }
    }
}

/// A program on an interface; dropping it takes it off.
#[derive(Debug)]
pub struct OnFarEnd {
    _ebpf: Ebpf,
    _link: FdLink,
}

/// Puts a program on an interface, natively.
pub fn attach(netns: &Netns, interface: &str, which: FarEnd) -> Result<OnFarEnd> {
    let path = object()?;
    let bytes = fs::read(&path).with_context(|| {
        format!(
            "{}: build it with `cargo xtask test` or `cargo xtask build`",
            path.display()
        )
    })?;
    netns
        .enter(|| load_and_link(&bytes, interface, which.program()))
        .with_context(|| format!("{} on {interface} in {}", which.program(), netns.name()))
}

fn load_and_link(object: &[u8], interface: &str, name: &str) -> Result<OnFarEnd> {
    let mut ebpf = Ebpf::load(object)?;
    let program = ebpf.program_mut(name).context("no such program")?;
    let xdp = <&mut Xdp>::try_from(program)?;
    xdp.load()?;
    let id = xdp.attach_to_if_index(if_nametoindex(interface)?, XdpMode::Driver)?;
    let link = FdLink::try_from(xdp.take_link(id)?)?;
    Ok(OnFarEnd {
        _ebpf: ebpf,
        _link: link,
    })
}

/// Named by `cargo xtask`; else where the build of ipvs-user leaves it.
fn object() -> Result<PathBuf> {
    if let Some(path) = env::var_os("IPVS_PEER_OBJECT") {
        return Ok(path.into());
    }
    Ok(super::programs::target_dir()?.join("bpf/bpfel-unknown-none/release/ipvs-peer"))
}
