//! Programs on the far ends of links, where a test stands in for a guest, a router or a network card.

use std::{env, fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, TestRun as _,
    maps::Array,
    programs::{TestRunAttrs, TestRunOptions, Xdp, XdpMode, links::FdLink},
};
use ipvs_common::bench::{FRAME, Source};
use nix::net::if_::if_nametoindex;

use super::Netns;

/// Programs of `ipvs-peer`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FarEnd {
    /// Takes frames, and does nothing to them.
    Pass,
    /// Unpacks IP in IP.
    Decap,
    /// Takes frames, and throws them away.
    Drop,
}

impl FarEnd {
    const fn program(self) -> &'static str {
        match self {
            Self::Pass => "peer_pass",
            Self::Decap => "peer_decap",
            Self::Drop => "peer_drop",
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
    let bytes = read()?;
    netns
        .enter(|| load_and_link(&bytes, interface, which.program()))
        .with_context(|| format!("{} on {interface} in {}", which.program(), netns.name()))
}

/// A program that sends, as a driver does that has received.
#[derive(Debug)]
pub struct Sender {
    ebpf: Ebpf,
    netns: Netns,
}

impl Sender {
    const NAME: &str = "peer_source";
    /// As many as a driver handles at once.
    const BATCH: u32 = 64;

    pub fn new(netns: &Netns) -> Result<Self> {
        let mut ebpf = netns.enter(|| Ebpf::load(&read()?).context("loading the source"))?;
        let program = ebpf.program_mut(Self::NAME).context("no such program")?;
        <&mut Xdp>::try_from(program)?.load()?;
        Ok(Self {
            ebpf,
            netns: netns.clone(),
        })
    }

    /// Sends so many frames: the time from the first to the end of the last one's way, as the kernel takes it. What it prepares
    /// and takes down again for such a run waits for grace periods, and would be most of it.
    pub fn send(&mut self, source: &Source, frames: u32) -> Result<Duration> {
        let map = self.ebpf.map_mut("SOURCE").context("no such map")?;
        Array::<_, Source>::try_from(map)?.set(0, source, 0)?;
        let program = self.ebpf.program(Self::NAME).context("no such program")?;
        let program = <&Xdp>::try_from(program)?;
        let took = self.netns.enter(|| {
            let options = TestRunOptions {
                data_in: Some(&[0; FRAME]),
                repeat: frames,
                attrs: TestRunAttrs::new().xdp_live_frames(Self::BATCH),
                ..TestRunOptions::new()
            };
            program.test_run(options)
        });
        Ok(took.context("sending live frames")?.duration * frames)
    }
}

fn read() -> Result<Vec<u8>> {
    let path = object()?;
    fs::read(&path).with_context(|| {
        format!(
            "{}: build it with `cargo xtask test` or `cargo xtask build`",
            path.display()
        )
    })
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
