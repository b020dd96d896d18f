//! A network namespace without a name: it lives as long as a descriptor of it is open, so it is gone with the process
//! however that ends. Knows nothing of what is built inside.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    panic::resume_unwind,
    process::{Command, Stdio},
    sync::Arc,
    thread,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sched::{CloneFlags, setns, unshare},
    sys::{prctl, signal::Signal},
};

/// Cheap to clone; all clones are the same namespace.
#[derive(Clone, Debug)]
pub struct Netns {
    name: &'static str,
    fd: Arc<OwnedFd>,
}

impl Netns {
    /// A new one with nothing but a loopback interface, which is up. The name is for messages.
    pub fn new(name: &'static str) -> Result<Self> {
        let made = on_a_thread(|| -> io::Result<OwnedFd> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Ok(File::open("/proc/thread-self/ns/net")?.into())
        });
        let fd = made.with_context(|| format!("making network namespace {name} (needs root)"))?;
        let this = Self {
            name,
            fd: Arc::new(fd),
        };
        this.ip("link set lo up")?;
        Ok(this)
    }

    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where commands find it while this process lives: `nsenter --net=PATH`, `ip link set … netns PATH`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.fd.as_raw_fd())
    }

    /// Runs `f` inside. Sockets made there stay inside; a process started there would be killed when `f` returns (see
    /// [`Self::command`]).
    ///
    /// # Panics
    /// If `f` does, or if this process may not enter.
    pub fn enter<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        on_a_thread(|| {
            setns(self.fd.as_fd(), CloneFlags::CLONE_NEWNET).expect("root may enter");
            f()
        })
    }

    /// A command that runs inside, and is killed when the thread that spawns it ends.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let fd = Arc::clone(&self.fd);
        let prepare = move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            setns(fd.as_fd(), CloneFlags::CLONE_NEWNET)?;
            Ok(())
        };
        // SAFETY: between fork and exec the closure makes two system calls and allocates nothing.
        unsafe { command.pre_exec(prepare) };
        command
    }

    /// Runs lines of the `ip` command, all or up to the first that fails.
    pub fn ip(&self, lines: &str) -> Result<()> {
        let mut child = self
            .command("ip")
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting ip (package iproute2)")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(lines.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("ip in {}: {said}of\n{lines}", self.name);
        }
        Ok(())
    }

    /// Runs a command inside: its standard output, or what it complained of.
    pub fn output(&self, program: &str, args: &[&str]) -> Result<String> {
        let mut command = self.command(program);
        let output = command.args(args).output();
        let output = output.with_context(|| format!("starting {program}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{program} {} in {}: {said}", args.join(" "), self.name);
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Sets `net.KEY`, with slashes for dots.
    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/net/{key}");
        self.enter(|| fs::write(&path, value))
            .with_context(|| format!("{} in {}", path, self.name))
    }

    /// Reads `net.KEY`, with slashes for dots.
    pub fn get(&self, key: &str) -> Result<String> {
        let path = format!("/proc/sys/net/{key}");
        let text = self.enter(|| fs::read_to_string(&path));
        let text = text.with_context(|| format!("{} in {}", path, self.name))?;
        Ok(text.trim().to_owned())
    }
}

/// What a thread does to itself stays with it, so each visit to a namespace has a thread of its own.
fn on_a_thread<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| match scope.spawn(f).join() {
        Ok(value) => value,
        Err(panic) => resume_unwind(panic),
    })
}
