//! Every Debian package that building or testing this project wants: the one list of them, and
//! the installing of those that are missing.

use std::{
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Result, bail};

use crate::shell::{is_root, run, say, succeeds, which};

/// A package, and what is there when it is installed or made up for by something else.
pub(crate) struct Package {
    pub(crate) name: &'static str,
    /// Or the whole path of a file.
    program: &'static str,
}

/// A compiler with its library source. Debian's `-web` packages are those that follow upstream.
pub(crate) const COMPILER: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// Lints for the BPF target, of the same release as the packaged compiler.
pub(crate) const CLIPPY: &str = "rust-web-clippy";

/// What linking bpf-linker takes besides LLVM.
const LINKER_LIBRARIES: [&str; 2] = ["zlib1g-dev", "libzstd-dev"];

/// The C toolchain that bpf-linker's build wants.
pub(crate) const C_TOOLCHAIN: [Package; 2] = [
    Package {
        name: "gcc",
        program: "cc",
    },
    Package {
        name: "g++",
        program: "c++",
    },
];

/// What the tests and the demo run.
pub(crate) const TESTS: [Package; 5] = [
    Package {
        name: "iproute2",
        program: "ip",
    },
    Package {
        name: "ethtool",
        program: "ethtool",
    },
    Package {
        name: "nftables",
        program: "nft",
    },
    // For what a kernel has as a module.
    Package {
        name: "kmod",
        program: "modprobe",
    },
    // Written for the original ipvsadm, which comes with it.
    Package {
        name: "ldirectord",
        program: "ldirectord",
    },
];

/// What virtual machines want, and what goes into them.
pub(crate) const VM: [Package; 10] = [
    Package {
        name: "qemu-system-x86",
        program: "qemu-system-x86_64",
    },
    Package {
        name: "busybox-static",
        program: "busybox",
    },
    Package {
        name: "cpio",
        program: "cpio",
    },
    Package {
        name: "kmod",
        program: "depmod",
    },
    Package {
        name: "xz-utils",
        program: "xz",
    },
    Package {
        name: "ipvsadm",
        program: "ipvsadm",
    },
    Package {
        name: "iproute2",
        program: "tc",
    },
    Package {
        name: "dpkg",
        program: "dpkg",
    },
    // Without it the machine has to take programs with all their symbols.
    Package {
        name: "binutils",
        program: "strip",
    },
    // Names that listings without `-n` use.
    Package {
        name: "netbase",
        program: "/etc/services",
    },
];

/// The packages of LLVM's release `major` that bpf-linker is built from.
pub(crate) fn llvm(major: &str) -> Vec<String> {
    let versioned = [format!("llvm-{major}-dev"), format!("libpolly-{major}-dev")];
    versioned
        .into_iter()
        .chain(LINKER_LIBRARIES.map(str::to_owned))
        .collect()
}

/// The names of those `packages` whose program is not there.
pub(crate) fn missing(packages: &[Package]) -> Vec<String> {
    let absent = packages
        .iter()
        .filter(|package| which(package.program).is_none());
    absent.map(|package| package.name.to_owned()).collect()
}

/// Where LLVM's Debian packages of release `major` put their files.
pub(crate) fn llvm_prefix(major: &str) -> String {
    format!("/usr/lib/llvm-{major}")
}

/// Whether the lists of packages are fresh: once in a run is enough, and not at all when nothing
/// is missing.
static UPDATED: AtomicBool = AtomicBool::new(false);

/// Whether we may and can install packages here.
pub(crate) fn can_install() -> bool {
    is_root() && Path::new("/etc/debian_version").exists() && which("apt-get").is_some()
}

/// Whether the package manager has `package` to offer.
pub(crate) fn offers(package: &str) -> Result<bool> {
    update()?;
    Ok(succeeds(Command::new("apt-cache").args(["show", package])))
}

/// Installs those of `packages` that are not there yet.
pub(crate) fn install<S: AsRef<str>>(packages: &[S]) -> Result<()> {
    let absent: Vec<_> = packages
        .iter()
        .map(S::as_ref)
        .filter(|name| !installed(name))
        .collect();
    if absent.is_empty() {
        return Ok(());
    }
    update()?;
    run(apt_get()
        .args(["install", "-y", "--no-install-recommends"])
        .args(absent))
}

fn update() -> Result<()> {
    if UPDATED.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    run(apt_get().arg("update"))
}

/// Installs what the tests run, or says what to install.
pub(crate) fn ensure_for_tests() -> Result<()> {
    ensure(&TESTS, "the tests")
}

/// Installs those of `packages` whose program is missing, or says what to install for whom.
pub(crate) fn ensure(packages: &[Package], whom: &str) -> Result<()> {
    let names = missing(packages);
    if names.is_empty() {
        return Ok(());
    }
    let listed = names.join(" ");
    if !can_install() {
        bail!("{whom} need programs of these packages: {listed}; install them");
    }
    say(&format!("{whom} need {listed}"));
    install(&names)
}

fn installed(package: &str) -> bool {
    let args = ["--show", "--showformat=${db:Status-Status}", package];
    let output = Command::new("dpkg-query").args(args).output();
    output.is_ok_and(|output| output.stdout == b"installed")
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    // Another apt may be at work, as on a machine that has just booted.
    command
        .args(["-q", "-o", "DPkg::Lock::Timeout=300"])
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llvm_packages_follow_the_compilers_version() {
        assert_eq!(
            llvm("31"),
            [
                "llvm-31-dev",
                "libpolly-31-dev",
                "zlib1g-dev",
                "libzstd-dev"
            ]
        );
    }

    #[test]
    fn only_packages_without_their_program_are_missing() {
        let packages = [
            Package {
                name: "coreutils",
                program: "ls",
            },
            Package {
                name: "base-files",
                program: "/etc/passwd",
            },
            Package {
                name: "unheard-of",
                program: "no-such-program-anywhere",
            },
            Package {
                name: "unread",
                program: "/etc/no-such-file",
            },
        ];
        assert_eq!(missing(&packages), ["unheard-of", "unread"]);
    }
}
