//! What a build leaves behind, and how the programs of ipvs-tests are told where it is.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use crate::{
    ebpf,
    shell::{cargo, run, target_dir},
};

/// One of cargo's build profiles.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Profile {
    Dev,
    Release,
}

impl Profile {
    /// Where the finished program called `name` is.
    pub(crate) fn program(self, name: &str) -> PathBuf {
        let dir = match self {
            Self::Dev => "debug",
            Self::Release => "release",
        };
        target_dir().join(dir).join(name)
    }

    /// Compiles all programs of `packages`, the datapath before them.
    pub(crate) fn build(self, packages: &[&str]) -> Result<()> {
        ebpf::build(false)?;
        run(&mut self.cargo_build(packages))
    }

    pub(crate) fn cargo_build(self, packages: &[&str]) -> Command {
        let mut command = cargo(["build", "--bins"]);
        match self {
            Self::Dev => {}
            Self::Release => _ = command.arg("--release"),
        }
        command.args(packages.iter().flat_map(|package| ["--package", package]));
        command
    }

    /// Names the programs and objects to a test, the demo or a benchmark.
    pub(crate) fn name_to(self, command: &mut Command) -> &mut Command {
        let object = ebpf::object(false);
        command
            .env("IPVSD", self.program("ipvsd"))
            .env("IPVSADM", self.program("ipvsadm"))
            .env("IPVS_XDP_OBJECT", object.path("ipvs-xdp"))
            .env("IPVS_FLOORS_OBJECT", object.path("ipvs-floors"))
            .env("IPVS_PEER_OBJECT", object.path("ipvs-peer"))
    }
}
