//! `cargo xtask ci`: all that must hold before a change goes in, from a clean clone on.

use std::{path::PathBuf, process::Command, time::Instant};

use anyhow::{Result, bail, ensure};

use crate::{
    bpf_toolchain::{Compiler, Toolchain},
    ebpf,
    packages::{self, CLIPPY},
    readme, setup,
    shell::{cargo, run, say, succeeds},
    test, tidy, vm,
};

type Step = (&'static str, fn() -> Result<()>);

const STEPS: [Step; 10] = [
    ("setup", setup::setup),
    ("fmt", fmt),
    ("tidy", tidy::tidy),
    ("clippy", clippy),
    ("clippy for bpf", clippy_bpf),
    ("doc", doc),
    ("test", || test::test(false, &[])),
    ("README.md", readme::run_commands),
    ("stock kernel", || vm::vm(&vm::Vm::short())),
    // Its verifier refuses what those before and after it take.
    ("Linux 6.12", || vm::vm(&vm::Vm::load("6.12"))),
];

/// Goes on after a failure: one run tells everything that is wrong.
pub(crate) fn ci() -> Result<()> {
    let failed: Vec<_> = STEPS
        .iter()
        .filter(|step| !passes(step))
        .map(|(name, _)| *name)
        .collect();
    if !failed.is_empty() {
        bail!("ci failed in: {}", failed.join(", "));
    }
    say("ci: everything holds");
    Ok(())
}

fn passes((name, step): &Step) -> bool {
    say(&format!("ci: {name}"));
    let start = Instant::now();
    let result = step();
    let seconds = start.elapsed().as_secs();
    match &result {
        Ok(()) => say(&format!("ci: {name} holds ({seconds} s)")),
        Err(error) => say(&format!("ci: {name} FAILED ({seconds} s): {error:#}")),
    }
    result.is_ok()
}

fn fmt() -> Result<()> {
    has_component("fmt")?;
    run(&mut cargo(["fmt", "--all", "--", "--check"]))
}

fn clippy() -> Result<()> {
    has_component("clippy")?;
    run(&mut cargo([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-Dwarnings",
    ]))
}

/// rustc's own warnings count even where the BPF toolchain comes without clippy.
fn clippy_bpf() -> Result<()> {
    let toolchain = setup::toolchain()?;
    let mut check = ebpf::object(false).check(&toolchain);
    match clippy_driver(&toolchain) {
        Ok(driver) => _ = check.env("RUSTC_WORKSPACE_WRAPPER", driver),
        Err(error) => say(&format!(
            "no clippy for bpf, rustc's warnings only: {error:#}"
        )),
    }
    run(&mut check)
}

fn clippy_driver(toolchain: &Toolchain) -> Result<PathBuf> {
    let driver = toolchain.compiler.bin.join("clippy-driver");
    if !driver.exists() && is_debians(&toolchain.compiler) && packages::can_install() {
        packages::install(&[CLIPPY])?;
    }
    ensure!(driver.exists(), "{} does not exist", driver.display());
    Ok(driver)
}

fn is_debians(compiler: &Compiler) -> bool {
    succeeds(
        Command::new("dpkg-query")
            .arg("--search")
            .arg(compiler.rustc()),
    )
}

fn doc() -> Result<()> {
    run(cargo(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-Dwarnings"))
}

fn has_component(name: &str) -> Result<()> {
    ensure!(
        succeeds(&mut cargo([name, "--version"])),
        "this cargo has no `{name}`: rustup component add rustfmt clippy, \
         or on Debian apt-get install rustfmt-web {CLIPPY}"
    );
    Ok(())
}
