//! `ipvsd sysctl`: looks at ip_vs's knobs and turns them. Knows the API's client, and nothing of what is behind it.

use std::fmt::Write as _;

use anyhow::{Result, bail};

use crate::{
    api::{
        client::Client,
        wire::{Sysctl, SysctlChanges, SysctlValue},
    },
    suggest::suggestion,
};

/// Without words, all knobs; `NAME` is looked at, `NAME=VALUE` set before that. Returns what to print.
pub async fn run(client: &Client, words: &[String]) -> Result<String> {
    let mut changes = SysctlChanges::new();
    for (name, value) in words.iter().filter_map(|word| word.split_once('=')) {
        let value = SysctlValue::Text(value.trim().to_owned());
        if changes.insert(name.trim().to_owned(), value).is_some() {
            bail!("{} is set twice", name.trim());
        }
    }
    // Before anything is set: a misspelt name that is only looked at would be noticed too late.
    let names: Vec<_> = words.iter().map(|w| name_of(w)).collect();
    let known = client.sysctls().await?;
    check(&names, &known)?;
    if !changes.is_empty() {
        client.set_sysctls(&changes).await?;
    }
    let all = client.sysctls().await?;
    if names.is_empty() {
        return Ok(all.iter().map(long_line).collect());
    }
    let asked = names
        .iter()
        .filter_map(|n| all.iter().find(|s| s.name == *n));
    let mut text = String::new();
    for s in asked {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} = {}", s.name, s.value);
    }
    Ok(text)
}

fn name_of(word: &str) -> &str {
    word.split_once('=').map_or(word, |(name, _)| name).trim()
}

fn check(names: &[&str], known: &[Sysctl]) -> Result<()> {
    let all: Vec<_> = known.iter().map(|s| s.name.as_str()).collect();
    match names.iter().find(|name| !all.contains(name)) {
        Some(name) => bail!("no sysctl `{name}`; {}", suggestion(name, &all)),
        None => Ok(()),
    }
}

/// What it is at, what it does, and what it takes or why it takes nothing.
fn long_line(s: &Sysctl) -> String {
    let mut line = format!("{} = {}\n    {}\n", s.name, s.value, s.doc);
    let _ = match &s.why_not {
        None => writeln!(line, "    takes {}; default {}", s.range, s.default),
        Some(why) => writeln!(line, "    cannot be set: {why}"),
    };
    line
}

#[cfg(test)]
mod tests;
