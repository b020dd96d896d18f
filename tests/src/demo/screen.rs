//! What the demonstration looks like, and the account of its steps.

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::{Error, Result};

use crate::topology::Director;

const BOLD: &str = "1";
const DIM: &str = "2";
const GREEN: &str = "32";
const RED: &str = "31";
const CYAN: &str = "36";
/// Between acts, for a person's eyes.
const PAUSE: Duration = Duration::from_millis(800);
const WIDTH: usize = 100;

#[derive(Debug)]
pub(super) struct Screen {
    terminal: bool,
    acts: u32,
    held: u32,
    failed: u32,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self {
            terminal: io::stdout().is_terminal(),
            acts: 0,
            held: 0,
            failed: 0,
        }
    }

    pub(super) fn act(&mut self, title: &str) {
        if self.terminal && self.acts != 0 {
            thread::sleep(PAUSE);
        }
        self.acts += 1;
        let title = format!("── {}. {title} ", self.acts);
        let rule = "─".repeat(WIDTH.saturating_sub(title.chars().count()));
        println!("\n{}", self.paint(BOLD, &format!("{title}{rule}")));
    }

    /// What is about to happen.
    #[expect(clippy::unused_self, reason = "it is the screen that says it")]
    pub(super) fn says(&self, text: &str) {
        for line in text.lines() {
            println!("   {line}");
        }
    }

    pub(super) fn picture(&self, text: &str) {
        for line in text.lines() {
            println!("   {}", self.paint(DIM, line));
        }
    }

    /// Types a command to the director, and shows what it prints.
    pub(super) fn types(&self, director: &Director, line: &str) -> Result<String> {
        println!("   {}", self.paint(CYAN, &format!("# {line}")));
        let output = director.run(line)?;
        self.picture(output.trim_end());
        Ok(output)
    }

    /// What a step proves, if it held.
    pub(super) fn proves(&mut self, claim: &str, result: Result<()>) {
        match result {
            Ok(()) => {
                self.held += 1;
                println!("   {} {claim}", self.paint(GREEN, "✓"));
            }
            Err(e) => self.fails(claim, &e),
        }
    }

    pub(super) fn fails(&mut self, claim: &str, error: &Error) {
        self.failed += 1;
        println!("   {} {claim}", self.paint(RED, "✗"));
        println!("     {}", self.paint(RED, &format!("{error:#}")));
    }

    pub(super) fn summary(&self, time: Duration) -> ExitCode {
        let all = self.held + self.failed;
        let seconds = time.as_secs_f32();
        let (colour, verdict) = if self.failed == 0 {
            (GREEN, format!("all {all} steps held"))
        } else {
            (RED, format!("{} of {all} steps failed", self.failed))
        };
        println!(
            "\n{} ({seconds:.0} s; nothing is left behind)",
            self.paint(colour, &verdict)
        );
        if self.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.terminal {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
