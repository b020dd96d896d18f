//! The file system that the machine starts with: busybox, the tools of networks, the programs under test with the libraries
//! that they name, and what the command reads.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use super::{jobs::Job, kernel::Kernel};
use crate::shell::{succeeds, which};

const INIT: &str = include_str!("init.sh");
const RUN_TESTS: &str = include_str!("tests.sh");
const DIRS: [&str; 10] = [
    "bin", "dev", "proc", "sys", "tmp", "run", "share", "status", "etc", "root",
];
/// Where `PATH` finds the tools; `ipvsadm` here is the kernel's. The kernel itself asks for modules by `modprobe`, by names that
/// busybox's does not know.
const TOOLS: [&str; 7] = [
    "ip", "tc", "ethtool", "ipvsadm", "modprobe", "nft", "setpriv",
];
/// Taken along where they are.
const MORE_TOOLS: [&str; 3] = ["bpftool", "tcpdump", "conntrack"];
/// Names of services and protocols, which listings without `-n` use.
const ETC: [&str; 2] = ["/etc/services", "/etc/protocols"];

/// The initramfs for a job: the kernel's modules, then all else.
pub(super) fn build(kernel: &Kernel, job: &Job, scratch: &Path) -> Result<PathBuf> {
    let root = scratch.join("root");
    for dir in DIRS {
        fs::create_dir_all(root.join(dir)).with_context(|| format!("making {}", root.display()))?;
    }
    let tools = Tree { root: &root };
    tools.tool("busybox", true)?;
    for tool in TOOLS {
        tools.tool(tool, true)?;
    }
    for tool in MORE_TOOLS {
        tools.tool(tool, false)?;
    }
    for (path, place) in &job.programs {
        tools.program(path, place)?;
    }
    for path in job.files.iter().chain(&ETC.map(PathBuf::from)) {
        tools.copy(path)?;
    }
    tools.script("init", INIT)?;
    tools.script("bin/run-tests", RUN_TESTS)?;
    tools.script("command", &job.script())?;
    symlink("/proc/self/mounts", root.join("etc/mtab"))?;
    let rest = scratch.join("rest.cpio");
    cpio(&root, &rest)?;
    let whole = scratch.join("initrd");
    let mut out = File::create(&whole).with_context(|| whole.display().to_string())?;
    for part in [&kernel.modules, &rest] {
        io::copy(&mut File::open(part)?, &mut out).with_context(|| part.display().to_string())?;
    }
    fs::remove_file(&rest)?;
    fs::remove_dir_all(&root)?;
    Ok(whole)
}

/// Packs a directory as the kernel unpacks it, in whole words so that another may follow.
pub(super) fn cpio(dir: &Path, to: &Path) -> Result<()> {
    let list = Command::new("find")
        .arg(".")
        .current_dir(dir)
        .stdout(Stdio::piped())
        .spawn()
        .context("starting find")?;
    let status = Command::new("cpio")
        .args(["-o", "-H", "newc", "--quiet", "-R", "0:0"])
        .current_dir(dir)
        .stdin(list.stdout.context("find without output")?)
        .stdout(File::create(to).with_context(|| to.display().to_string())?)
        .status()
        .context("starting cpio")?;
    ensure!(status.success(), "cpio of {}: {status}", dir.display());
    Ok(())
}

struct Tree<'a> {
    root: &'a Path,
}

impl Tree<'_> {
    /// A program of this machine, found by its name.
    fn tool(&self, name: &str, must: bool) -> Result<()> {
        match which(name) {
            Some(path) => self.program(&path, &format!("bin/{name}")),
            None if must => anyhow::bail!("no program {name}: cargo xtask setup installs it"),
            None => Ok(()),
        }
    }

    /// A program with its libraries, without its symbols.
    fn program(&self, path: &Path, place: &str) -> Result<()> {
        let to = self.root.join(place.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap_or(self.root))?;
        let strip = Command::new("strip")
            .args(["--strip-debug", "-o"])
            .arg(&to)
            .arg(path)
            .output();
        // An object for BPF, or a static program: as it is.
        if !strip.is_ok_and(|output| output.status.success()) {
            fs::copy(path, &to).with_context(|| path.display().to_string())?;
        }
        libraries(path).iter().try_for_each(|l| self.copy(l))
    }

    /// To the same place.
    fn copy(&self, path: &Path) -> Result<()> {
        let place = path.strip_prefix("/").unwrap_or(path);
        let to = self.root.join(place);
        if path.is_dir() {
            fs::create_dir_all(&to)?;
            let entries = fs::read_dir(path).with_context(|| path.display().to_string())?;
            return entries
                .flatten()
                .try_for_each(|entry| self.copy(&entry.path()));
        }
        if !to.exists() && path.exists() {
            fs::create_dir_all(to.parent().unwrap_or(self.root))?;
            fs::copy(path, &to).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    fn script(&self, place: &str, text: &str) -> Result<()> {
        let path = self.root.join(place);
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        Ok(())
    }
}

/// The loader and the libraries that `ldd` names; none for a static program.
fn libraries(program: &Path) -> Vec<PathBuf> {
    if !succeeds(Command::new("ldd").arg(program)) {
        return Vec::new();
    }
    let output = Command::new("ldd").arg(program).output();
    let text = output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    );
    let words = text.split_whitespace();
    words
        .filter(|w| w.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}
