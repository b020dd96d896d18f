//! `cargo xtask vm`: a command under one of Debian's stock kernels, in a virtual machine that lives as long as the command.
//!
//! Knows nothing of what is tested: which programs go in for which word stands in `vm/jobs.rs`.

mod boot;
mod initramfs;
mod jobs;
mod kernel;
mod modules;

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::{
    packages,
    shell::{say, target_dir},
};
use boot::Machine;
pub(crate) use boot::NS_PER_INSTRUCTION;
use kernel::Kernel;

/// The kernel that the project is tested on besides the developer's own.
const DEFAULT_KERNEL: &str = "6.1";
/// The number of the process follows.
const RUN: &str = "run-";
/// In megabytes; the director's tables take most of it.
const DEFAULT_MEMORY: u64 = 3072;
/// Of this machine's time, which may have others to serve: a hang of a test in the machine has a limit of its own.
const DEFAULT_SECONDS: u64 = 7200;
/// For what takes minutes.
const SHORT_SECONDS: u64 = 3600;

#[derive(Args, Clone, Debug)]
pub(crate) struct Vm {
    /// 5.10, 6.1, 6.12 or newest (Debian's), or a folder with an unpacked kernel package
    #[arg(long, default_value = DEFAULT_KERNEL)]
    kernel: String,
    /// Virtual time that only instructions pass: hours of timers in seconds, on one CPU
    #[arg(long)]
    icount: bool,
    /// The machine is stopped after so long
    #[arg(long, default_value_t = DEFAULT_SECONDS, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Memory of the machine in megabytes
    #[arg(long, default_value_t = DEFAULT_MEMORY, value_parser = clap::value_parser!(u64).range(512..))]
    memory: u64,
    /// What to run: load, conformance, replay, netns, a test of tests/tests or oracle, each with arguments of its own; matrix (the
    /// first four) or short, without; or any command
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl Vm {
    /// On the kernel that the project is tested on. Instructions are its clock.
    pub(crate) fn counting(command: Vec<OsString>) -> Self {
        Self {
            kernel: DEFAULT_KERNEL.to_owned(),
            icount: true,
            seconds: DEFAULT_SECONDS,
            memory: DEFAULT_MEMORY,
            command,
        }
    }

    /// Whether another kernel takes the programs.
    pub(crate) fn load(kernel: &str) -> Self {
        Self {
            kernel: kernel.to_owned(),
            seconds: SHORT_SECONDS,
            ..Self::counting(vec!["load".into()])
        }
    }

    /// What takes minutes, and holds or not however busy this machine is, as long as it gets there in [`SHORT_SECONDS`].
    pub(crate) fn short() -> Self {
        Self {
            seconds: SHORT_SECONDS,
            ..Self::counting(vec!["short".into()])
        }
    }
}

/// Runs the command, with its output as ours, and fails if it did.
pub(crate) fn vm(vm: &Vm) -> Result<()> {
    packages::ensure(&packages::VM, "virtual machines")?;
    let kernel = Kernel::find(&vm.kernel)?;
    let job = jobs::prepare(&vm.command)?;
    let scratch = Scratch::new()?;
    let initrd = initramfs::build(&kernel, &job, &scratch.0)?;
    let share = share()?;
    say(&format!("{} runs {}", kernel.release, job.name));
    let start = Instant::now();
    let status = Machine {
        kernel: &kernel.image,
        initrd: &initrd,
        share: &share,
        scratch: &scratch.0,
        memory: vm.memory,
        limit: Duration::from_secs(vm.seconds),
        icount: vm.icount,
    }
    .run()?;
    say(&format!("after {} s", start.elapsed().as_secs()));
    ensure!(
        status == 0,
        "{} ended with status {status} under {}",
        job.name,
        kernel.release
    );
    Ok(())
}

/// Everything that is kept between runs.
fn cache() -> PathBuf {
    target_dir().join("vm")
}

/// `/share` in the machine.
fn share() -> Result<PathBuf> {
    let dir = cache().join("share");
    fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    Ok(dir)
}

/// A directory for one run.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        sweep();
        let dir = cache().join(format!("{RUN}{}", std::process::id()));
        fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes what processes left that were killed.
fn sweep() {
    for entry in fs::read_dir(cache()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(RUN));
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
