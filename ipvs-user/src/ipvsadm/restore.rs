//! `-R`: a command on each line of the standard input. They are one change, carried out as a whole or not at all; with
//! `--partial` one after the other, up to the first that is wrong.

use std::io::Read;

use super::{
    Outcome, REFUSED, Usage, act, failed,
    lower::{self, Action},
    names::Names,
    parse, refusal,
};
use crate::api::{
    client::{Client, ClientError},
    wire::{Command, TimeoutChanges},
};

/// Where the lines come from.
pub type Input<'a> = &'a mut dyn Read;

/// A line that says something.
struct Line<'a> {
    /// Counted from 1.
    number: usize,
    text: &'a str,
}

/// Without the name of the program, which may stand before the command. Comments and empty lines say nothing.
fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let numbered = (1..).zip(text.lines());
    let said = numbered.map(|(number, text)| Line {
        number,
        text: text.trim().strip_prefix("ipvsadm ").unwrap_or(text).trim(),
    });
    said.filter(|line| !line.text.is_empty() && !line.text.starts_with('#'))
}

impl Line<'_> {
    fn understood(&self, program: &str, names: &dyn Names) -> Result<Action, Usage> {
        let words: Vec<_> = self.text.split_whitespace().map(str::to_owned).collect();
        parse::parse(program, &words, names).and_then(|args| lower::lower(&args))
    }

    fn is_wrong(&self, program: &str, status: u8, what: &str) -> Outcome {
        let number = self.number;
        Outcome::failed(
            status,
            &format!("{program}: line {number}: {}", what.trim_end()),
        )
    }
}

fn read(program: &str, input: Input<'_>) -> Result<String, Outcome> {
    let mut bytes = Vec::new();
    let unread = |e| {
        Outcome::failed(
            REFUSED,
            &format!("{program}: cannot read the commands: {e}"),
        )
    };
    input.read_to_end(&mut bytes).map_err(unread)?;
    // A line that is no text is not understood, and says so with its number.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Commands and the lines they stand on; timeouts, which are set last, as nothing can refuse them.
#[derive(Default)]
struct Whole {
    commands: Vec<Command>,
    numbers: Vec<usize>,
    timeouts: Option<TimeoutChanges>,
}

impl Whole {
    fn of(text: &str, program: &str, names: &dyn Names) -> Result<Self, Outcome> {
        let mut whole = Self::default();
        for line in lines(text) {
            let action = line.understood(program, names);
            match action.map_err(|e| line.is_wrong(program, e.status, &e.message))? {
                Action::Change(command) => {
                    whole.commands.push(command);
                    whole.numbers.push(line.number);
                }
                Action::SetTimeouts(changes) => {
                    let before = whole.timeouts.unwrap_or_default();
                    whole.timeouts = Some(TimeoutChanges {
                        tcp: changes.tcp.or(before.tcp),
                        tcp_fin: changes.tcp_fin.or(before.tcp_fin),
                        udp: changes.udp.or(before.udp),
                    });
                }
                Action::Help
                | Action::Version
                | Action::Save { .. }
                | Action::Restore { .. }
                | Action::StartDaemon(_)
                | Action::StopDaemon(_)
                | Action::ListAll(_)
                | Action::ListOne(..)
                | Action::ListConnections(_)
                | Action::ListTimeouts
                | Action::ListDaemon => {
                    let what = "not a change of services, real servers or timeouts; leave it out, or give -R --partial";
                    return Err(line.is_wrong(program, super::MISTAKEN, what));
                }
            }
        }
        Ok(whole)
    }
}

/// The changes that lines of rules ask for, or what is wrong with the first that cannot be understood.
pub fn rules(program: &str, text: &str, names: &dyn Names) -> Result<Vec<Command>, Outcome> {
    Whole::of(text, program, names).map(|whole| whole.commands)
}

pub(super) async fn restore(
    program: &str,
    client: &Client,
    names: &dyn Names,
    input: Input<'_>,
    partial: bool,
) -> Result<Outcome, ClientError> {
    match read(program, input) {
        Err(outcome) => Ok(outcome),
        Ok(text) if partial => one_by_one(&text, program, client, names).await,
        Ok(text) => whole(&text, program, client, names).await,
    }
}

async fn whole(
    text: &str,
    program: &str,
    client: &Client,
    names: &dyn Names,
) -> Result<Outcome, ClientError> {
    let whole = match Whole::of(text, program, names) {
        Ok(whole) => whole,
        Err(outcome) => return Ok(outcome),
    };
    match client.apply(&whole.commands).await {
        Err(ClientError::Refused(e)) if e.command.is_some() => {
            let at = e.command.and_then(|n| whole.numbers.get(n.checked_sub(1)?));
            let line = Line {
                number: at.copied().unwrap_or_default(),
                text: "",
            };
            let text = refusal::text_of_one(&e, whole.commands.len());
            return Ok(line.is_wrong(program, REFUSED, text));
        }
        other => other?,
    }
    if let Some(changes) = whole.timeouts {
        client.set_timeouts(changes).await?;
    }
    Ok(Outcome::default())
}

async fn one_by_one(
    text: &str,
    program: &str,
    client: &Client,
    names: &dyn Names,
) -> Result<Outcome, ClientError> {
    let mut all = Outcome::default();
    for line in lines(text) {
        let done = match line.understood(program, names) {
            Err(e) => Outcome::failed(e.status, &e.message),
            Ok(action) => {
                let done = act(&action, program, client, names).await;
                done.unwrap_or_else(|e| failed(program, &e))
            }
        };
        all.stdout += &done.stdout;
        if done.status != 0 {
            let stdout = all.stdout;
            return Ok(Outcome { stdout, ..done });
        }
    }
    Ok(all)
}
