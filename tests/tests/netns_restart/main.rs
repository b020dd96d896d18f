//! Daemons that die, end and start again while data goes to and fro: packets flow on, and nothing is forgotten.

mod load;
mod migration;
mod traces;
mod upgrade;

use std::time::Duration;

use anyhow::{Result, ensure};
use ipvs_tests::topology::{Director, Left, Start};

/// Longer than a second of silence and the retransmission timer that has grown meanwhile.
const SOON: Duration = Duration::from_secs(15);

/// A daemon whose end is not that of its packets.
fn stays() -> Start {
    Start {
        stays: true,
        ..Start::default()
    }
}

/// Starts the next one, which must go on where the one before ended.
fn goes_on(left: Left, how: &Start) -> Result<Director> {
    let director = left.start(how)?;
    let log = director.log();
    ensure!(log.contains("goes on where"), "{log}");
    Ok(director)
}

/// The list of connections without what time changes.
fn connections(director: &Director) -> Result<Vec<String>> {
    let list = director.run("ipvsadm -Lnc")?;
    let lines = list.lines().skip(2);
    let mut lines: Vec<String> = lines
        .map(|line| {
            let mut words: Vec<_> = line.split_whitespace().collect();
            if words.len() > 1 {
                words.remove(1);
            }
            words.join(" ")
        })
        .collect();
    lines.sort();
    Ok(lines)
}

/// Packets that were dropped, by reason.
fn dropped(director: &Director) -> Result<Vec<String>> {
    let reasons = director.run("ipvsd reasons")?;
    let dropped = reasons.lines().filter(|l| l.contains(" drop "));
    Ok(dropped.map(str::to_owned).collect())
}
