//! Interfaces at the start: what another daemon left goes on without a gap, and a start that fails leaves all as it was.

use anyhow::{Result, anyhow};
use tracing::{debug, error, warn};

use super::{
    interfaces::{Interfaces, Wanted, constants, found},
    steps::Step,
    vlans,
};
use crate::{
    dataplane::bpf::{AttachError, Successor},
    net::Link,
};
use ipvs_common::{AttachMode, Iface};

/// A moment of the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Swap {
    /// Programs are loaded and about to be put in force.
    Next,
    /// The first one is about to take the place of another daemon's.
    Now,
    /// It did not.
    Not,
    /// They have.
    Done,
}

/// What is to be done at the start: loaded, and nothing of it in force.
pub(super) struct Beginning {
    links: Vec<Link>,
    /// On interfaces without a program.
    new: Vec<Step>,
    /// In the place of programs that another daemon left, in their mode.
    successors: Vec<(Wanted, Link, Successor)>,
    /// From that mode into another.
    turns: Vec<Step>,
}

impl Beginning {
    /// Interfaces, and the constants of the programs that they are to have.
    fn ports(&self) -> Vec<(String, Iface)> {
        let new = self.new.iter().map(|step| (step.name(), *step.iface()));
        let others = self.successors.iter();
        let others = others.map(|(wanted, _, s)| (wanted.name.as_str(), *s.iface()));
        let each = new.chain(others);
        each.map(|(name, iface)| (name.to_owned(), iface)).collect()
    }
}

impl Interfaces {
    /// Every interface must be free of others' programs, and those that whoever starts this `named` must be there. What only the
    /// daemon before named may have gone since: it is attached to when it comes back.
    pub(super) fn begin(&mut self, links: Vec<Link>, named: &[Wanted]) -> Result<Beginning> {
        let mut wanted = Vec::new();
        for one in &self.wanted {
            match found(&links, &one.name) {
                Ok(link) => wanted.push((one, link.clone())),
                Err(e) if named.iter().any(|n| n.name == one.name) => return Err(anyhow!(e)),
                Err(_) => one.is_awaited(),
            }
        }
        let mut beginning = Beginning {
            links,
            new: Vec::new(),
            successors: Vec::new(),
            turns: Vec::new(),
        };
        for (one, link) in wanted {
            if vlans::port_of(&beginning.links, &self.wanted, &link).is_none() {
                self.begin_one(&mut beginning, one, link)?;
            }
        }
        let ports = beginning.ports();
        self.expect_vlans(&beginning.links, &ports);
        Ok(beginning)
    }

    /// The kernel is asked for the link and for its mode, and not the notes: a daemon may have ended before it wrote them.
    fn begin_one(
        &self,
        beginning: &mut Beginning,
        wanted: &Wanted,
        link: Link,
    ) -> Result<(), AttachError> {
        let mode = if link.generic {
            AttachMode::Generic
        } else {
            AttachMode::Native
        };
        let iface = constants(wanted, &link);
        let Some(successor) = Successor::load(&self.loader, &wanted.name, iface, mode)? else {
            beginning.new.push(Step::attach(self, wanted, &link)?);
            return Ok(());
        };
        if !wanted.policy.allows(mode) {
            warn!(
                interface = wanted.name,
                "is attached in a mode that is no longer wanted"
            );
            beginning.turns.push(Step::turn(self, wanted, &link)?);
        }
        let successor = (wanted.clone(), link, successor);
        beginning.successors.push(successor);
        Ok(())
    }

    /// Those that have no program yet come first: what refuses does so before anything that was there is touched.
    pub(super) fn attach_new(&mut self, beginning: &mut Beginning) -> Result<()> {
        let new = std::mem::take(&mut beginning.new);
        let done = self.carry_out(new).map_err(|e| anyhow!(e))?;
        self.undecided.extend(done);
        Ok(())
    }

    /// Programs that another daemon left give way to ours, then modes change; those of interfaces that are no longer wanted
    /// end. New ones that are not attached yet are first. `around` is called before and after programs are put in force.
    pub(super) fn take_over(
        &mut self,
        mut beginning: Beginning,
        mut around: impl FnMut(Swap) -> Result<()>,
    ) -> Result<()> {
        around(Swap::Next)?;
        self.attach_new(&mut beginning)?;
        let Beginning {
            links,
            successors,
            turns,
            ..
        } = beginning;
        // Without a pause in between: a packet in and its answer may meet both sides of a swap.
        let mut swapped = Vec::new();
        around(Swap::Now)?;
        for (wanted, link, successor) in successors {
            let attachment = match successor.succeed() {
                Err(e) if swapped.is_empty() => {
                    around(Swap::Not)?;
                    return Err(e.into());
                }
                succeeded => succeeded?,
            };
            self.attached.insert(wanted.name.clone(), attachment);
            debug!(interface = wanted.name, ifindex = link.ifindex, "swapped");
            swapped.push((wanted, link));
        }
        around(Swap::Done)?;
        for (wanted, link) in &swapped {
            self.prepare(wanted, link);
        }
        let turned = self.carry_out(turns).map_err(|e| anyhow!(e))?;
        self.settle(turned, &links);
        self.undecided.clear();
        self.serve_vlans(&links);
        self.forget_programs_of_served();
        self.let_unwanted_go()
    }

    /// Known by the notes, or by a link that was not noted yet.
    fn let_unwanted_go(&mut self) -> Result<()> {
        let noted = self.keeper.notes().interfaces.keys().cloned();
        let mut unwanted: Vec<_> = noted.chain(self.loader.pinned()?).collect();
        let served = &self.vlans.served;
        unwanted.retain(|n| !self.attached.contains_key(n) && !served.contains_key(n));
        unwanted.sort();
        unwanted.dedup();
        let awaited = |name: &String| self.wanted.iter().any(|w| w.name == *name);
        let (awaited, unwanted): (Vec<_>, Vec<_>) = unwanted.into_iter().partition(awaited);
        for name in &awaited {
            // What is pinned is about one that is gone; one that comes back is another.
            if let Err(e) = self.let_go(name) {
                error!("{e}");
            }
        }
        self.let_all_go(&unwanted);
        Ok(())
    }
}
