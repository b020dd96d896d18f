//! `cargo xtask replay`: recorded traces through the product, with the arguments as given.

use std::{ffi::OsString, process::Command};

use anyhow::Result;

use crate::{
    packages,
    products::Profile,
    shell::{exec, is_root, run},
};

/// Without root the programs in the kernel are left out, and so is what they need.
pub(crate) fn replay(args: &[OsString]) -> Result<()> {
    let packages = ["ipvs-user", "ipvs-tests"];
    if is_root() {
        packages::ensure_for_tests()?;
        Profile::Release.build(&packages)?;
    } else {
        run(&mut Profile::Release.cargo_build(&packages))?;
    }
    let mut command = Command::new(Profile::Release.program("ipvs-replay"));
    exec(Profile::Release.name_to(&mut command).args(args))
}
