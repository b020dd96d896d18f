//! One machine under QEMU, from power on to power off: output comes by a serial port of its own, the exit status by the
//! shared directory, the kernel's messages in a file that is shown if there is no status.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// `shift=3`: that many to the power of 2.
pub(crate) const NS_PER_INSTRUCTION: u32 = 1 << 3;
const QEMU: &str = "qemu-system-x86_64";
/// So much of the kernel's messages is shown.
const LAST_WORDS: usize = 60;

pub(super) struct Machine<'a> {
    pub(super) kernel: &'a Path,
    pub(super) initrd: &'a Path,
    pub(super) share: &'a Path,
    pub(super) scratch: &'a Path,
    /// In megabytes.
    pub(super) memory: u64,
    pub(super) limit: Duration,
    pub(super) icount: bool,
}

impl Machine<'_> {
    /// The command's exit status.
    pub(super) fn run(&self) -> Result<i32> {
        let status = self.scratch.join("status");
        let mut child = Running(
            self.command()
                .spawn()
                .with_context(|| format!("starting {QEMU} (package qemu-system-x86)"))?,
        );
        // A pipe, not our own output: QEMU opens it anew, and two writers of one file overwrite each other.
        let output = child.0.stdout.take().context("no output of QEMU")?;
        let shown = thread::spawn(move || show(output));
        let in_time = child.wait(self.limit)?;
        drop(child);
        let _ = shown.join();
        let told = fs::read_to_string(&status).ok();
        match told.and_then(|text| text.trim().parse().ok()) {
            Some(status) => Ok(status),
            None if !in_time => bail!(
                "the machine was stopped after {} s (--seconds); the kernel's last words:\n{}",
                self.limit.as_secs(),
                self.last_words()
            ),
            None => bail!(
                "the machine ended without the command; the kernel's last words:\n{}",
                self.last_words()
            ),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(QEMU);
        command.args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
        ]);
        command.args(self.processors());
        command.args(["-m", &self.memory.to_string()]);
        command.arg("-kernel").arg(self.kernel);
        command.arg("-initrd").arg(self.initrd);
        command.args(["-append", "console=ttyS0 loglevel=4 panic=-1"]);
        command.args(["-serial", &format!("file:{}", self.console().display())]);
        command.args(["-device", "virtio-serial-pci"]);
        command.args(["-chardev", "file,id=out,path=/dev/stdout,append=on"]);
        command.args(["-device", "virtserialport,chardev=out,name=out"]);
        for (tag, dir) in [("share", self.share), ("status", self.scratch)] {
            let dir = dir.display();
            let share = format!("local,path={dir},mount_tag={tag},security_model=none");
            command.args(["-virtfs", &share]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }

    fn processors(&self) -> Vec<&'static str> {
        if self.icount {
            let virtual_time = [
                "-accel",
                "tcg,thread=single",
                "-icount",
                "shift=3,sleep=off",
            ];
            return [&virtual_time[..], &["-cpu", "max", "-smp", "1"]].concat();
        }
        let accel = if has_kvm() { "kvm" } else { "tcg,thread=multi" };
        vec!["-accel", accel, "-cpu", "max", "-smp", "2"]
    }

    fn console(&self) -> std::path::PathBuf {
        self.scratch.join("console")
    }

    fn last_words(&self) -> String {
        let text = fs::read(self.console()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n")
    }
}

/// As it comes.
fn show(mut output: ChildStdout) {
    let (mut buffer, mut ours) = ([0; 4096], io::stdout());
    while let Ok(len @ 1..) = output.read(&mut buffer) {
        if ours
            .write_all(&buffer[..len])
            .and_then(|()| ours.flush())
            .is_err()
        {
            return;
        }
    }
}

/// A device alone is not enough: without the processor's help KVM emulates, which is slower than QEMU and less complete.
fn has_kvm() -> bool {
    let mut cpus = String::new();
    let read = File::open("/proc/cpuinfo").and_then(|mut file| file.read_to_string(&mut cpus));
    let helps = read.is_ok() && cpus.split_whitespace().any(|w| w == "vmx" || w == "svm");
    helps
        && File::options()
            .read(true)
            .write(true)
            .open("/dev/kvm")
            .is_ok()
}

/// Killed with us.
struct Running(Child);

impl Running {
    /// Whether it ended by itself.
    fn wait(&mut self, limit: Duration) -> Result<bool> {
        let start = Instant::now();
        while start.elapsed() < limit {
            if self.0.try_wait()?.is_some() {
                return Ok(true);
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(false)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
