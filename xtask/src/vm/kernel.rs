//! Debian's kernel packages: fetched with apt from whichever release has them, without a word to the system's own sources,
//! and cut down to the image and the modules that networks want. Needs no root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{cache, modules};
use crate::shell::{run, say};

const MIRROR: &str = "http://deb.debian.org/debian";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A name for `--kernel`, the release of Debian that has it, and how its package's name goes on after `linux-image-`.
const KNOWN: [(&str, &str, &str); 4] = [
    ("5.10", "bullseye", "5.10."),
    ("6.1", "bookworm", "6.1."),
    ("6.12", "trixie", "6.12."),
    ("newest", "sid", ""),
];

/// A kernel ready to boot.
#[derive(Debug)]
pub(super) struct Kernel {
    /// As `uname -r` says it.
    pub(super) release: String,
    pub(super) image: PathBuf,
    /// Archive of its modules, for an initramfs.
    pub(super) modules: PathBuf,
}

impl Kernel {
    /// From the cache, else from Debian.
    pub(super) fn find(name: &str) -> Result<Self> {
        if Path::new(name).is_dir() {
            let dir = cache().join("kernels/own");
            return Self::cut(Path::new(name), &dir);
        }
        let Some((_, suite, prefix)) = KNOWN.iter().find(|known| known.0 == name) else {
            let names = KNOWN.map(|known| known.0).join(", ");
            bail!(
                "--kernel {name}: write one of {names}, or the folder of an unpacked kernel package"
            );
        };
        let dir = cache().join("kernels").join(name);
        match Self::cached(&dir) {
            Some(kernel) => Ok(kernel),
            None => fetch(suite, prefix, &dir),
        }
    }

    fn cached(dir: &Path) -> Option<Self> {
        let release = fs::read_to_string(dir.join("release")).ok()?;
        Some(Self {
            release,
            image: dir.join("vmlinuz"),
            modules: dir.join("modules.cpio"),
        })
    }

    /// Keeps of the unpacked package in `from` what is wanted, in `dir`.
    fn cut(from: &Path, dir: &Path) -> Result<Self> {
        let made = fs::create_dir_all(dir);
        made.with_context(|| format!("making {}", dir.display()))?;
        let image = only(&from.join("boot"), "vmlinuz-")?;
        let release = image.file_name().unwrap_or_default().to_string_lossy();
        let release = release.trim_start_matches("vmlinuz-").to_owned();
        fs::copy(&image, dir.join("vmlinuz")).with_context(|| image.display().to_string())?;
        modules::archive(from, &release, &dir.join("modules.cpio"))?;
        fs::write(dir.join("release"), &release)?;
        Self::cached(dir).context("the kernel was cut, but is not there")
    }
}

fn fetch(suite: &str, prefix: &str, dir: &Path) -> Result<Kernel> {
    ensure!(
        Path::new(KEYRING).exists(),
        "{KEYRING} does not exist: install debian-archive-keyring, or name the folder of an unpacked kernel package"
    );
    let work = dir.join("fetch");
    let apt = Apt::new(suite, &work)?;
    run(apt.command("apt-get").args(["-q", "update"]))?;
    let package = newest(&apt.names()?, prefix)
        .with_context(|| format!("{suite} has no linux-image-{prefix}*"))?;
    run(apt
        .command("apt-get")
        .args(["-q", "download", &package])
        .current_dir(&work))?;
    let unpacked = work.join("unpacked");
    run(Command::new("dpkg")
        .arg("-x")
        .arg(only(&work, &package)?)
        .arg(&unpacked))?;
    say(&format!("cutting {package} down to what networks want"));
    let kernel = Kernel::cut(&unpacked, dir);
    fs::remove_dir_all(&work).with_context(|| format!("removing {}", work.display()))?;
    kernel
}

/// apt with state, cache and sources of its own.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn new(suite: &str, dir: &Path) -> Result<Self> {
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(part))
                .with_context(|| format!("making {}", dir.display()))?;
        }
        let sources = dir.join("sources.list");
        let line = format!("deb [signed-by={KEYRING}] {MIRROR} {suite} main\n");
        fs::write(&sources, line).with_context(|| sources.display().to_string())?;
        let shown = dir.display();
        let options = [
            format!("Dir::Etc::sourcelist={shown}/sources.list"),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            format!("Dir::State::Lists={shown}/lists"),
            format!("Dir::Cache={shown}/cache"),
            "APT::Sandbox::User=".to_owned(),
        ];
        let options = options.into_iter().flat_map(|o| ["-o".to_owned(), o]);
        Ok(Self {
            options: options.collect(),
        })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options);
        command
    }

    /// All packages with a kernel.
    fn names(&self) -> Result<Vec<String>> {
        let output = self
            .command("apt-cache")
            .args(["pkgnames", "linux-image-"])
            .output()
            .context("starting apt-cache")?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().map(str::to_owned).collect())
    }
}

/// The newest package of a plain kernel whose version begins with `prefix`.
fn newest(names: &[String], prefix: &str) -> Option<String> {
    let plain = |name: &&String| {
        let version = name.strip_prefix("linux-image-");
        let version = version.and_then(|v| v.strip_suffix("-amd64"));
        version.is_some_and(|v| {
            let odd = ["-rt", "-cloud", "unsigned", "dbg"];
            v.starts_with(prefix)
                && v.starts_with(|c: char| c.is_ascii_digit())
                && !odd.iter().any(|part| v.contains(part))
        })
    };
    names
        .iter()
        .filter(plain)
        .max_by_key(|n| numbers(n))
        .cloned()
}

/// What versions are ordered by.
fn numbers(name: &str) -> Vec<u64> {
    let parts = name.split(|c: char| !c.is_ascii_digit());
    parts.filter_map(|part| part.parse().ok()).collect()
}

/// The file in `dir` whose name begins like this.
fn only(dir: &Path, prefix: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
    let found = entries.flatten().map(|entry| entry.path()).find(|path| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with(prefix)
    });
    found.with_context(|| format!("no {prefix}* in {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_plain_kernel_is_taken_by_number_not_by_letter() {
        let names = [
            "linux-image-6.1.0-9-amd64",
            "linux-image-6.1.0-50-amd64",
            "linux-image-6.1.0-51-rt-amd64",
            "linux-image-6.1.0-52-amd64-unsigned",
            "linux-image-6.12.1-amd64",
            "linux-image-amd64",
        ]
        .map(str::to_owned);
        assert_eq!(
            newest(&names, "6.1.").unwrap(),
            "linux-image-6.1.0-50-amd64"
        );
        assert_eq!(newest(&names, "").unwrap(), "linux-image-6.12.1-amd64");
        assert_eq!(newest(&names, "5.10."), None);
    }

    #[test]
    fn unknown_kernel_is_refused_with_the_names_there_are() {
        let error = Kernel::find("9.9").unwrap_err().to_string();
        assert!(error.contains("5.10, 6.1, 6.12, newest"), "{error}");
    }
}
