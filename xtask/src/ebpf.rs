//! Builds the datapath for the kernel, where ipvs-user's build script will find it ready.

use std::env::consts::ARCH;

use anyhow::Result;

use crate::{
    bpf_object::BpfObject,
    setup,
    shell::{run, target_dir, workspace},
};

/// Compiles the objects with whatever toolchain this machine has or may be given.
pub(crate) fn build(trace: bool) -> Result<()> {
    let toolchain = setup::toolchain()?;
    run(&mut object(trace).build(&toolchain))
}

/// The objects for this machine.
pub(crate) fn object(trace: bool) -> BpfObject {
    BpfObject {
        workspace: workspace().to_owned(),
        target_dir: target_dir(),
        arch: ARCH.to_owned(),
        trace,
    }
}
