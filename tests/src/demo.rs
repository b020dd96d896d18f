//! The demonstration: an administrator's day on the network of [`crate::topology`], with real commands and real mail. Each
//! step says what it proves, and is held against what happened.

mod acts;
mod screen;

use std::{process::ExitCode, time::Instant};

use anyhow::Result;
use nix::unistd::Uid;

use crate::topology::clean_up_on_interrupt;
use screen::Screen;

/// Success only if every step held.
#[must_use]
pub fn play() -> ExitCode {
    clean_up_on_interrupt("\ninterrupted; network and programs are gone\n");
    if !Uid::effective().is_root() {
        eprintln!("ipvs-demo makes network namespaces and loads BPF: run it as root");
        return ExitCode::FAILURE;
    }
    let start = Instant::now();
    let mut screen = Screen::new();
    if let Err(e) = all(&mut screen) {
        screen.fails("this was as far as it went", &e);
    }
    screen.summary(start.elapsed())
}

fn all(screen: &mut Screen) -> Result<()> {
    let net = acts::network(screen)?;
    let director = acts::director(screen, &net)?;
    acts::masquerading(screen, &net, &director)?;
    acts::maintenance(screen, &net, &director)?;
    acts::direct_routing(screen, &net, &director)?;
    acts::tunnel(screen, &net, &director)?;
    acts::end(screen, &net, director)
}
