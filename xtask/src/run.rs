//! `cargo xtask run`: the demo, or the daemon in the foreground.

use std::{ffi::OsString, process::Command};

use anyhow::{Result, bail};

use crate::{
    packages,
    products::Profile,
    shell::{exec, is_root},
};

/// With `args` becomes `ipvsd run` with them, without any the demo.
pub(crate) fn run(args: &[OsString]) -> Result<()> {
    if args.is_empty() {
        demo()
    } else {
        daemon(args)
    }
}

fn demo() -> Result<()> {
    packages::ensure_for_tests()?;
    Profile::Release.build(&["ipvs-user", "ipvs-tests"])?;
    needs_root("ipvs-demo")?;
    exec(Profile::Release.name_to(&mut Command::new(Profile::Release.program("ipvs-demo"))))
}

fn daemon(args: &[OsString]) -> Result<()> {
    /// Whoever tries it out wants to be rid of it afterwards.
    const DETACH: &str = "--detach-on-exit";
    Profile::Release.build(&["ipvs-user"])?;
    needs_root("ipvsd run")?;
    let said = args.iter().any(|arg| arg == DETACH);
    exec(
        Command::new(Profile::Release.program("ipvsd"))
            .arg("run")
            .args(args)
            .args((!said).then_some(DETACH)),
    )
}

fn needs_root(program: &str) -> Result<()> {
    if !is_root() {
        let built = Profile::Release.program(program);
        bail!(
            "needs root, to load BPF and set up interfaces: sudo {}",
            built.display()
        );
    }
    Ok(())
}
