//! `cargo xtask bench`: the benchmarks of ipvs-tests, with the arguments as given.

use std::{ffi::OsString, process::Command};

use anyhow::Result;

use crate::{packages, products::Profile, shell::exec, vm};

/// Beside the kernel's ip_vs, which a machine with a stock kernel has.
const VERSUS: &str = "--vs-ip_vs";

pub(crate) fn bench(args: &[OsString]) -> Result<()> {
    if args.iter().any(|arg| arg == VERSUS) {
        let per_instruction = vm::NS_PER_INSTRUCTION.to_string();
        let mut command: Vec<OsString> = vec!["ipvs-bench".into()];
        command.extend(args.iter().cloned());
        command.extend(["--ns-per-instruction".into(), per_instruction.into()]);
        return vm::vm(&vm::Vm::counting(command));
    }
    packages::ensure_for_tests()?;
    Profile::Release.build(&["ipvs-user", "ipvs-tests"])?;
    let mut command = Command::new(Profile::Release.program("ipvs-bench"));
    exec(Profile::Release.name_to(&mut command).args(args))
}
