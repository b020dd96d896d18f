//! `cargo xtask fuzz`: a fuzz target of `tests/fuzz` for a time, with libFuzzer and the stable compiler.
//!
//! The compiler's own instrumentation is unlocked for it alone, in a target directory of its own.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::shell::{cargo, run, say, target_dir, workspace};

pub(crate) const TARGETS: [&str; 3] = ["command", "config", "api"];

/// Counters of edges, and the operands of comparisons.
const INSTRUMENTATION: [&str; 8] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
    "-Cdebug-assertions",
];
/// Longest input.
const LENGTH: usize = 1024;
/// Seconds that one input may take.
const TIMEOUT: u32 = 5;

/// Fuzzes for so many seconds, then leaves the smallest inputs that reach as much in the committed corpus.
pub(crate) fn fuzz(target: &str, seconds: u32) -> Result<()> {
    ensure!(
        TARGETS.contains(&target),
        "no target `{target}`; there are {}",
        TARGETS.join(", ")
    );
    let program = build(target)?;
    let work = target_dir().join("fuzz");
    let corpus = workspace().join("tests/fuzz/corpus").join(target);
    let [found, crashes, smaller] =
        ["found", "crashes", "smaller"].map(|d| work.join(d).join(target));
    fresh(&smaller)?;
    for dir in [&found, &crashes, &corpus] {
        fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    }
    let common = |command: &mut Command| {
        command
            .arg(format!("-max_len={LENGTH}"))
            .arg(format!("-timeout={TIMEOUT}"));
    };
    let mut fuzzing = Command::new(&program);
    common(&mut fuzzing);
    fuzzing
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", crashes.display()))
        .arg("-print_final_stats=1")
        .args([&found, &corpus]);
    run(&mut fuzzing)?;
    let mut merging = Command::new(&program);
    common(&mut merging);
    run(merging
        .arg("-set_cover_merge=1")
        .args([&smaller, &corpus, &found]))?;
    fresh(&corpus)?;
    for entry in fs::read_dir(&smaller)? {
        let entry = entry?;
        fs::copy(entry.path(), corpus.join(entry.file_name()))?;
    }
    say(&format!("the corpus is in {}", corpus.display()));
    Ok(())
}

fn build(target: &str) -> Result<std::path::PathBuf> {
    let dir = target_dir().join("fuzz/build");
    let host = host()?;
    let mut command = cargo(["build", "--release", "--bin", target]);
    command
        .args([
            "--manifest-path",
            "tests/fuzz/Cargo.toml",
            "--target",
            &host,
        ])
        .arg("--target-dir")
        .arg(&dir)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("IPVS_SKIP_BPF", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTATION.join("\u{1f}"));
    run(&mut command)?;
    Ok(dir.join(host).join("release").join(target))
}

/// A target that is named has build scripts built without the instrumentation.
fn host() -> Result<String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .context("asking rustc for its host")?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.to_owned())
}

fn fresh(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| dir.display().to_string())?;
    }
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())
}
