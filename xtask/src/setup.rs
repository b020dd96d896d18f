//! `cargo xtask setup`: leaves the machine able to build and test everything.
//!
//! What is complete is used as it is. Only root on Debian gets anything installed; everyone else
//! gets the commands. What we build ourselves lands in the target directory.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{
    bpf_toolchain::{Compiler, Found, Toolchain},
    packages::{self, can_install},
    shell::{run, say, target_dir, workspace},
};

/// Kept in step by hand: it decides which releases of LLVM can be had as a feature.
const BPF_LINKER: &str = "0.13.0";

pub(crate) fn setup() -> Result<()> {
    let (toolchain, found) = complete()?;
    for other in found
        .compilers
        .iter()
        .take_while(|other| **other != toolchain.compiler)
    {
        let why = other
            .flaw
            .as_deref()
            .unwrap_or("has no bpf-linker of its LLVM");
        say(&format!("  passed over: {other} {why}"));
    }
    packages::ensure_for_tests()
}

/// A toolchain for the BPF target, installed first if there is none and we may.
pub(crate) fn toolchain() -> Result<Toolchain> {
    Ok(complete()?.0)
}

fn complete() -> Result<(Toolchain, Found)> {
    let mut found = look();
    let mut done = Vec::new();
    loop {
        let step = next_step(&found, offers_llvm);
        if let Step::Use(toolchain) = step {
            say(&format!(
                "BPF toolchain, the first complete one: {toolchain}"
            ));
            note(&toolchain)?;
            return Ok((*toolchain, found));
        }
        if !can_install() || done.contains(&step) {
            bail!(
                "no toolchain for the BPF target:\n{found}{}",
                advice(&found)
            );
        }
        say(&format!(
            "no complete toolchain for the BPF target yet:\n{found}"
        ));
        take(&step)?;
        done.push(step);
        found = look();
    }
}

/// Where we look for tools besides the path: a target directory elsewhere starts without any.
pub(crate) fn tool_roots() -> Vec<PathBuf> {
    vec![target_dir().join("tools"), workspace().join("target/tools")]
}

fn look() -> Found {
    Found::look(&tool_roots())
}

/// What stands between what was found and a toolchain.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Use(Box<Toolchain>),
    InstallCompiler,
    InstallLinker(Compiler),
}

/// `can_link` says of a release of LLVM whether a linker with it can be built here.
fn next_step(found: &Found, can_link: impl Fn(u32) -> bool) -> Step {
    if let Some(toolchain) = found.toolchain() {
        return Step::Use(Box::new(toolchain));
    }
    match found
        .sound_compilers()
        .find(|compiler| can_link(compiler.llvm))
    {
        Some(compiler) => Step::InstallLinker(compiler.clone()),
        None => Step::InstallCompiler,
    }
}

fn offers_llvm(llvm: u32) -> bool {
    can_install() && packages::offers(&format!("llvm-{llvm}-dev")).unwrap_or(false)
}

fn take(step: &Step) -> Result<()> {
    match step {
        Step::Use(_) => Ok(()),
        Step::InstallCompiler => packages::install(&packages::COMPILER),
        Step::InstallLinker(compiler) => {
            packages::install(&packages::missing(&packages::C_TOOLCHAIN))?;
            packages::install(&packages::llvm(&compiler.llvm.to_string()))?;
            install_linker(compiler)
        }
    }
}

/// Leaves word of the toolchain where ipvs-user's build script notices.
fn note(toolchain: &Toolchain) -> Result<()> {
    let tools = target_dir().join("tools");
    let note = tools.join("bpf-toolchain");
    let text = format!("{toolchain}\n");
    if fs::read_to_string(&note).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::create_dir_all(tools)
        .and_then(|()| fs::write(&note, text))
        .with_context(|| format!("writing {}", note.display()))
}

fn install_linker(compiler: &Compiler) -> Result<()> {
    let llvm = compiler.llvm.to_string();
    let scratch = target_dir().join("tools/build");
    let mut command = Command::new(compiler.cargo());
    command
        .args(linker_args(&llvm))
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("CARGO_TARGET_DIR", &scratch)
        .env("LLVM_PREFIX", packages::llvm_prefix(&llvm))
        .env("RUSTC", compiler.rustc())
        .env_remove("LD_LIBRARY_PATH");
    run(&mut command)?;
    fs::remove_dir_all(&scratch).with_context(|| format!("removing {}", scratch.display()))
}

fn linker_args(llvm: &str) -> Vec<String> {
    let args = format!(
        "install bpf-linker --version {BPF_LINKER} --locked --force \
         --no-default-features --features llvm-{llvm} --root"
    );
    let root = target_dir().join("tools").display().to_string();
    args.split(' ').map(str::to_owned).chain([root]).collect()
}

/// Both ways to a toolchain, as commands to paste.
fn advice(found: &Found) -> String {
    let sound = found.sound_compilers().next();
    // Before there is a compiler its LLVM is not known either.
    let llvm = sound.map_or_else(|| "NN".to_owned(), |compiler| compiler.llvm.to_string());
    format!(
        "Either, with rustup (and cargo-binstall):\n  \
           rustup toolchain install nightly --component rust-src\n  \
           cargo binstall bpf-linker\n\
         or, on Debian, as root (`cargo xtask setup` as root does the same):\n  \
           apt-get update\n  \
           apt-get install -y --no-install-recommends {compiler}\n  \
           apt-get install -y --no-install-recommends gcc g++ {libraries}\n  \
           LLVM_PREFIX={prefix} cargo {linker}\n\
         where NN is the LLVM that `/usr/bin/rustc --version --verbose` names.",
        compiler = packages::COMPILER.join(" "),
        libraries = packages::llvm(&llvm).join(" "),
        prefix = packages::llvm_prefix(&llvm),
        linker = linker_args(&llvm).join(" "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf_toolchain::Linker;

    fn compiler(bin: &str, llvm: u32, flaw: Option<&str>) -> Compiler {
        let release = "1.96.0".to_owned();
        Compiler {
            bin: bin.into(),
            release,
            llvm,
            flaw: flaw.map(str::to_owned),
        }
    }

    fn without_source() -> Compiler {
        compiler("/nightly", 23, Some("has no library source"))
    }

    #[test]
    fn bare_machine_first_gets_a_compiler() {
        let found = Found {
            compilers: vec![without_source()],
            linkers: vec![],
        };
        assert_eq!(next_step(&found, |_| true), Step::InstallCompiler);
    }

    #[test]
    fn linker_is_built_for_the_llvm_of_the_compiler_that_has_source() {
        let sound = compiler("/usr/bin", 22, None);
        let found = Found {
            compilers: vec![without_source(), sound.clone()],
            linkers: vec![],
        };
        assert_eq!(
            next_step(&found, |llvm| llvm == 22),
            Step::InstallLinker(sound)
        );
    }

    #[test]
    fn compiler_whose_llvm_is_not_packaged_does_not_get_a_linker() {
        let found = Found {
            compilers: vec![compiler("/nightly", 99, None)],
            linkers: vec![],
        };
        assert_eq!(next_step(&found, |llvm| llvm == 22), Step::InstallCompiler);
    }

    #[test]
    fn complete_toolchain_needs_no_step() {
        let found = Found {
            compilers: vec![compiler("/usr/bin", 22, None)],
            linkers: vec![Linker {
                path: "/l".into(),
                llvm: Some(22),
            }],
        };
        let step = next_step(&found, |_| panic!("no need to ask the package manager"));
        assert!(matches!(step, Step::Use(_)));
    }

    #[test]
    fn advice_names_both_ways_and_the_llvm_of_the_compiler_there_is() {
        let found = Found {
            compilers: vec![compiler("/usr/bin", 22, None)],
            linkers: vec![],
        };
        let text = advice(&found);
        assert!(text.contains("rustup toolchain install nightly --component rust-src"));
        assert!(
            text.contains("libpolly-22-dev") && text.contains("--features llvm-22"),
            "{text}"
        );
        assert!(advice(&Found::default()).contains("--features llvm-NN"));
    }
}
