//! `cargo xtask bench`: the benchmarks of ipvs-tests, with the arguments as given.

use std::{ffi::OsString, process::Command};

use anyhow::Result;

use crate::{packages, products::Profile, shell::exec};

pub(crate) fn bench(args: &[OsString]) -> Result<()> {
    packages::ensure_for_tests()?;
    Profile::Release.build(&["ipvs-user", "ipvs-tests"])?;
    let mut command = Command::new(Profile::Release.program("ipvs-bench"));
    exec(Profile::Release.name_to(&mut command).args(args))
}
