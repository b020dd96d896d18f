//! `cargo xtask build`: everything in release, with the datapath inside the daemon.

use anyhow::Result;

use crate::{
    ebpf,
    products::Profile,
    shell::{run, say},
};

/// `trace` puts the talking datapath into the daemon.
pub(crate) fn build(trace: bool) -> Result<()> {
    ebpf::build(trace)?;
    let mut command = Profile::Release.cargo_build(&["ipvs-user", "ipvs-tests"]);
    if trace {
        command.env("IPVS_BPF_TRACE", "1");
    }
    run(&mut command)?;
    for program in ["ipvsd", "ipvsadm"] {
        say(&format!(
            "built {}",
            Profile::Release.program(program).display()
        ));
    }
    Ok(())
}
