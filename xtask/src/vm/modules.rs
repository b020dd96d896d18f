//! The modules of a kernel package that networks want, with all that they depend on, as an archive for an initramfs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::initramfs::cpio;
use crate::shell::run;

/// Modules whose path contains one of these are wanted.
const WANTED: [&str; 20] = [
    "kernel/net/netfilter/",
    "kernel/net/ipv4/",
    "kernel/net/ipv6/",
    "kernel/net/bridge/",
    "kernel/net/sched/",
    "kernel/net/8021q/",
    "kernel/net/9p/",
    "kernel/net/sctp/",
    "kernel/net/packet/",
    "kernel/fs/9p/",
    "kernel/drivers/virtio/",
    "kernel/drivers/char/virtio_console",
    "kernel/drivers/net/veth",
    "kernel/drivers/net/dummy",
    "kernel/drivers/net/tun",
    "kernel/drivers/net/macvlan",
    "kernel/drivers/net/ifb",
    "kernel/crypto/crc32c",
    "kernel/lib/libcrc32c",
    "kernel/arch/x86/crypto/crc32c",
];

/// Writes the archive of the modules of the package unpacked in `from`.
pub(super) fn archive(from: &Path, release: &str, to: &Path) -> Result<()> {
    let staging = to.with_extension("staging");
    let target = staging.join("lib/modules").join(release);
    let made = fs::create_dir_all(&target);
    made.with_context(|| format!("making {}", target.display()))?;
    let source = folder(from, release);
    let base = source.ancestors().nth(3).unwrap_or(from);
    run(&mut depmod(base, release))?;
    for module in closure(&dependencies(&source)?) {
        let (old, new) = (source.join(&module), target.join(&module));
        fs::create_dir_all(new.parent().unwrap_or(&target))?;
        fs::copy(&old, &new).with_context(|| old.display().to_string())?;
        if new.extension().is_some_and(|end| end == "xz") {
            run(Command::new("xz").arg("--decompress").arg(&new))?;
        }
    }
    for file in [
        "modules.order",
        "modules.builtin",
        "modules.builtin.modinfo",
    ] {
        fs::copy(source.join(file), target.join(file)).with_context(|| file.to_owned())?;
    }
    run(&mut depmod(&staging, release))?;
    cpio(&staging, to)?;
    fs::remove_dir_all(&staging).with_context(|| format!("removing {}", staging.display()))
}

/// Where packages have their modules: newer ones below `usr`.
fn folder(from: &Path, release: &str) -> PathBuf {
    let dirs = ["usr/lib/modules", "lib/modules"];
    let mut dirs = dirs.map(|dir| from.join(dir).join(release)).into_iter();
    let first = dirs.find(|dir| dir.is_dir());
    first.unwrap_or_else(|| from.join("lib/modules").join(release))
}

fn depmod(base: &Path, release: &str) -> Command {
    let mut command = Command::new(crate::shell::which("depmod").unwrap_or("depmod".into()));
    command.arg("-b").arg(base).arg(release);
    command
}

/// Each module, and those that it needs.
type Dependencies = BTreeMap<String, Vec<String>>;

fn dependencies(modules: &Path) -> Result<Dependencies> {
    let path = modules.join("modules.dep");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    Ok(lines
        .map(|(module, needs)| {
            let needs = needs.split_whitespace().map(str::to_owned).collect();
            (module.to_owned(), needs)
        })
        .collect())
}

/// `modules.dep` lists all that a module needs, directly or not.
fn closure(all: &Dependencies) -> BTreeSet<String> {
    let wanted = all
        .iter()
        .filter(|(module, _)| WANTED.iter().any(|part| module.contains(part)));
    wanted
        .flat_map(|(module, needs)| needs.iter().chain([module]).cloned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wanted_modules_come_with_what_they_need_and_no_others() {
        let all = Dependencies::from([
            (
                "kernel/net/netfilter/ipvs/ip_vs.ko".into(),
                vec!["kernel/lib/a.ko".into()],
            ),
            ("kernel/lib/a.ko".into(), vec![]),
            (
                "kernel/drivers/gpu/b.ko".into(),
                vec!["kernel/lib/c.ko".into()],
            ),
        ]);
        let found: Vec<_> = closure(&all).into_iter().collect();
        assert_eq!(
            found,
            ["kernel/lib/a.ko", "kernel/net/netfilter/ipvs/ip_vs.ko"]
        );
    }
}
