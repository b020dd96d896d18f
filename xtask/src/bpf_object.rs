//! The one command that compiles the datapath for the kernel, and where its output lands.
//!
//! ipvs-user's build script includes this file too: both must give cargo the very same command
//! and environment, or each would throw away what the other has built. std only.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use crate::bpf_toolchain::Toolchain;

const TARGET: &str = "bpfel-unknown-none";
/// One flag to a unit: flags may contain spaces.
const SEPARATOR: &str = "\x1f";
/// What cargo tells build scripts and programs it runs about themselves. A cargo below must not
/// see it: build scripts of dependencies watch some of it, and would run again each time.
const OURS: [&str; 15] = [
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "DEBUG",
    "HOST",
    "LD_LIBRARY_PATH",
    "NUM_JOBS",
    "OPT_LEVEL",
    "OUT_DIR",
    "PROFILE",
    "RUSTC_LINKER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
    "TARGET",
];
const OURS_BY_PREFIX: [&str; 5] = [
    "CARGO_BIN_",
    "CARGO_CFG_",
    "CARGO_FEATURE_",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
];

/// Which build of the datapath, and where.
#[derive(Clone, Debug)]
pub(crate) struct BpfObject {
    /// The workspace's root.
    pub(crate) workspace: PathBuf,
    /// The target directory of the build around this one.
    pub(crate) target_dir: PathBuf,
    /// The CPU architecture that will run the object: it decides the layout of `pt_regs`.
    pub(crate) arch: String,
    /// The talking build, with a message for each packet.
    pub(crate) trace: bool,
}

impl BpfObject {
    /// `cargo build` for the kernel.
    pub(crate) fn build(&self, toolchain: &Toolchain) -> Command {
        let mut command = self.cargo(toolchain, "build", &self.own_target_dir(), &[]);
        command.arg("--release");
        command
    }

    /// `cargo check` for the kernel with every warning an error. It has a directory of its own,
    /// as other flags would make the next build start over.
    pub(crate) fn check(&self, toolchain: &Toolchain) -> Command {
        self.cargo(
            toolchain,
            "check",
            &self.target_dir.join("bpf-check"),
            &["-Dwarnings"],
        )
    }

    /// Where `build` leaves the program called `name`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.own_target_dir()
            .join(TARGET)
            .join("release")
            .join(name)
    }

    /// Not the directory of the build around this one: cargo holds a lock on that.
    fn own_target_dir(&self) -> PathBuf {
        self.target_dir
            .join(if self.trace { "bpf-trace" } else { "bpf" })
    }

    fn cargo(&self, with: &Toolchain, verb: &str, into: &Path, flags: &[&str]) -> Command {
        let mut command = Command::new(with.compiler.cargo());
        command
            .arg(verb)
            .args(["--package", "ipvs-ebpf", "--bins", "--target", TARGET])
            .args(["-Z", "build-std=core", "--manifest-path"])
            .arg(self.workspace.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(into);
        if self.trace {
            command.args(["--features", "trace"]);
        }
        forget_ourselves(&mut command);
        command
            .env("CARGO_ENCODED_RUSTFLAGS", self.rustflags(with, flags))
            .env("RUSTC", with.compiler.rustc())
            // `-Z build-std` and the atomics of the shell are unstable on every channel.
            .env("RUSTC_BOOTSTRAP", "1");
        command
    }

    fn rustflags(&self, toolchain: &Toolchain, more: &[&str]) -> String {
        let cfg = format!("--cfg=bpf_target_arch=\"{}\"", self.arch);
        let linker = format!("-Clinker={}", toolchain.linker.path.display());
        // The first version of the instruction set with 32-bit and fetching atomics is v3.
        let own = [
            &cfg,
            "-Cdebuginfo=2",
            "-Clink-arg=--btf",
            // Or else zeroing and moving a few bytes are calls of functions that go byte by byte.
            "-Clink-arg=--disable-expand-memcpy-in-order",
            &linker,
            "-Ctarget-cpu=v3",
        ];
        [&own, more].concat().join(SEPARATOR)
    }
}

fn forget_ourselves(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let ours = OURS.contains(&&*text) || OURS_BY_PREFIX.iter().any(|p| text.starts_with(p));
        if ours {
            command.env_remove(&name);
        }
    }
}
