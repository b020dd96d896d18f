//! Runs the commands that README.md shows, so that they stay true.
//!
//! Every fenced block marked `sh` is run as a script of its own, from the workspace's root. Blocks
//! that only show something (another machine's shell, an example with output) are marked
//! `console`, and left alone. Calls of `cargo xtask ci` and `test` are left out: ci has just run
//! them.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::shell::{run, say, workspace};

/// Longer than any command has a reason to take, the first build of everything included.
const LIMIT: &str = "1200";

pub(crate) fn run_commands() -> Result<()> {
    let path = workspace().join("README.md");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let scripts = scripts(&text);
    ensure!(
        !scripts.is_empty(),
        "README.md has no block marked `sh` to run"
    );
    scripts.iter().try_for_each(|script| {
        say("README.md says:");
        let shell = [
            "--kill-after=10",
            LIMIT,
            "bash",
            "-euo",
            "pipefail",
            "-c",
            script,
        ];
        run(Command::new("timeout").args(shell).current_dir(workspace()))
    })
}

fn scripts(text: &str) -> Vec<String> {
    let mut scripts = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else {
            continue;
        };
        let block = lines
            .by_ref()
            .take_while(|line| !line.trim_start().starts_with("```"));
        let commands: Vec<_> = block.filter(|line| !is_ours(line)).collect();
        if language.trim() == "sh" && commands.iter().any(|line| !line.trim().is_empty()) {
            scripts.push(commands.join("\n"));
        }
    }
    scripts
}

fn is_ours(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next() == Some("cargo")
        && words.next() == Some("xtask")
        && matches!(words.next(), Some("ci" | "test"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blocks_marked_sh_are_run() {
        let text =
            "# t\n```sh\na\nb\n```\n```console\n$ no\n```\n```\nno\n```\n  ```sh\n  c\n  ```\n";
        assert_eq!(scripts(text), ["a\nb", "  c"]);
    }

    #[test]
    fn readme_does_not_run_ci_inside_of_ci() {
        assert_eq!(scripts("```sh\ncargo xtask ci\n```\n"), [""; 0]);
        assert_eq!(
            scripts("```sh\ncargo xtask test  # all\ncargo xtask run\n```\n"),
            ["cargo xtask run"]
        );
    }
}
