//! Running other programs: every command is shown before it runs, and a failure says which.
//! Messages go to stderr, so that what a program prints for machines stays clean.

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

/// A headline between steps.
pub(crate) fn say(text: &str) {
    eprintln!("xtask: {text}");
}

/// Runs to the end, with our own input and output.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    eprintln!("+ {}", shown(command));
    let status = command.status().with_context(|| cannot_start(command))?;
    if !status.success() {
        bail!("{status}: {}", words(command));
    }
    Ok(())
}

/// Becomes the other program, so that signals from the terminal reach it and nothing between.
pub(crate) fn exec(command: &mut Command) -> Result<()> {
    eprintln!("+ {}", shown(command));
    let error = command.exec();
    Err(error).with_context(|| cannot_start(command))
}

/// Whether it can be started and succeeds, with its output thrown away.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// The host's cargo, as it was called for us, at the workspace's root.
pub(crate) fn cargo<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(workspace());
    command
}

pub(crate) fn workspace() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// The target directory that this very program was built into.
pub(crate) fn target_dir() -> PathBuf {
    env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.parent()?.to_owned()))
        .unwrap_or_else(|| workspace().join("target"))
}

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// The full path of a program, in the directories of `PATH` and those of the administrator.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(sbin)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start {}", command.get_program().display())
}

/// With the environment that was set for it, to be pasted into a shell.
fn shown(command: &Command) -> String {
    let set = command.get_envs().filter_map(|(name, value)| {
        // Only cargo itself can say flags that contain spaces; a shell has no need to.
        let name = name.to_string_lossy().replace("CARGO_ENCODED_", "");
        let value = value?.to_string_lossy().replace('\x1f', " ");
        Some(format!("{name}={} ", quoted(&value)))
    });
    set.chain([words(command)]).collect()
}

fn words(command: &Command) -> String {
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    words
        .map(|word| quoted(&word.to_string_lossy()))
        .collect::<Vec<_>>()
        .join(" ")
}

/// A word that a shell reads as it is.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_command_can_be_pasted_into_a_shell() {
        let mut command = Command::new("cargo");
        command
            .args(["run", "it's", ""])
            .env("CARGO_ENCODED_RUSTFLAGS", "-a\x1f-b")
            .env_remove("GONE");
        assert_eq!(shown(&command), r"RUSTFLAGS='-a -b' cargo run 'it'\''s' ''");
    }

    #[test]
    fn failed_command_is_named() {
        let error = run(&mut Command::new("false")).unwrap_err();
        assert!(error.to_string().ends_with(": false"), "{error}");
        let error = run(&mut Command::new("/nonexistent/tool")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/tool"), "{error}");
    }
}
