//! How far a migration got, as the next start finds it, whenever the one before it died.
//!
//! A is the generation that was in force, B the one that takes its place. What was done is told by the links and by what the
//! kernel says of the programs on the interfaces: which tables they work over.
//!
//! ```text
//!    what was done                   current previous programs    a start finds            and does
//! 1  B made, being filled            A       -        A           B has no name            removes B, begins anew of A
//! 2  previous named                  A       A        A           previous is current      the same
//! 3  current named: the swap begins  B       A        A           no program over B        names A again, removes B, and the same
//! 4  some programs swapped           B       A        A and B     programs over B          B goes on; others are refused
//! 5  all swapped, counts carried     B       A        B           programs over B          B goes on; others are refused
//! 6  previous has no name            B       -        B           A has no name            removes A
//! ```
//!
//! "B goes on" means: entries of A that B does not have, or that A's programs met later, come over; what is left is swapped;
//! counts are carried unless the ledger says that they were; A goes. Up to 3 every start may be of A, of B or of a third
//! generation C: what B had is a copy. In 4 and 5 both tables have what the other has not, and only B can put them together.
//! Where no program is on any interface, 3 cannot be told from 4 and 5, and is taken for them.

use std::{collections::BTreeSet, io, os::fd::AsFd as _};

use aya::programs::loaded_programs;

use super::{CURRENT, Instance, PREVIOUS, PinError, failed, remove_all};
use crate::dataplane::bpf::sys;

/// What a start finds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::dataplane::bpf) enum Standing {
    /// This generation is in force, if any, and no other one is there.
    Settled(Option<String>),
    /// Programs may have gone over from one to the other.
    Swapping {
        from: String,
        to: String,
        interfaces: Sides,
    },
}

/// Interfaces by the tables that their programs work over.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::dataplane::bpf) struct Sides {
    pub(in crate::dataplane::bpf) swapped: Vec<String>,
    pub(in crate::dataplane::bpf) waiting: Vec<String>,
}

impl Sides {
    /// Programs are there, and none of them was swapped.
    const fn untouched(&self) -> bool {
        self.swapped.is_empty() && !self.waiting.is_empty()
    }
}

impl Instance {
    /// Takes back what was not begun, removes generations that nothing names, and says what is left.
    pub(in crate::dataplane::bpf) fn standing(&self) -> Result<Standing, PinError> {
        let standing = match (self.current()?, self.previous()?) {
            (Some(to), Some(from)) => {
                let interfaces = self.sides(&to)?;
                if interfaces.untouched() {
                    self.replace_link(CURRENT, &from)
                        .map_err(failed(&self.name))?;
                    self.unlink(PREVIOUS)?;
                    Standing::Settled(Some(from))
                } else {
                    Standing::Swapping {
                        from,
                        to,
                        interfaces,
                    }
                }
            }
            (current, _) => {
                self.unlink(PREVIOUS)?;
                Standing::Settled(current)
            }
        };
        self.sweep()?;
        Ok(standing)
    }

    /// The migration is done. Its name goes first: tables without one are in nobody's way.
    pub fn forget_previous(&self) -> Result<(), PinError> {
        self.unlink(PREVIOUS)?;
        self.sweep()
    }

    /// Removes generations that nothing names.
    fn sweep(&self) -> Result<(), PinError> {
        let known = [self.current()?, self.previous()?];
        let names = self.dir.names().map_err(failed(&self.name))?;
        let made = names
            .iter()
            .filter(|n| n.starts_with('v') && n.contains('-'));
        for name in made.filter(|n| !known.iter().flatten().any(|k| k == *n)) {
            remove_all(&self.dir.path(name)).map_err(failed(&self.name))?;
        }
        Ok(())
    }

    /// Interfaces with a program, by whether it works over this generation.
    fn sides(&self, generation: &str) -> Result<Sides, PinError> {
        let maps = self.maps_of(generation).map_err(failed(&self.name))?;
        let mut sides = Sides::default();
        for interface in self.interfaces()? {
            let link = self.link(&interface).map_err(failed(&self.name))?;
            let program = sys::link_program(&link).map_err(failed(&interface))?;
            let Some(program) = program else { continue };
            let uses = maps_used_by(program).map_err(failed(&interface))?;
            if uses.iter().any(|map| maps.contains(map)) {
                sides.swapped.push(interface);
            } else {
                sides.waiting.push(interface);
            }
        }
        Ok(sides)
    }

    /// The kernel's numbers of the maps that are pinned for a generation.
    fn maps_of(&self, generation: &str) -> io::Result<BTreeSet<u32>> {
        let dir = self.dir.existing(generation)?;
        let each = dir.names()?.into_iter().map(|name| {
            let map = sys::open_pin(&dir.path(name))?;
            Ok(sys::map_info(map.as_fd())?.id)
        });
        each.collect()
    }
}

/// The kernel's numbers of the maps of a program.
fn maps_used_by(program: u32) -> io::Result<Vec<u32>> {
    // One that ends while they are listed is none of ours.
    let mut programs = loaded_programs().filter_map(Result::ok);
    let info = programs.find(|p| p.id() == program);
    let info = info.ok_or_else(|| {
        io::Error::other(format!("the kernel does not tell of program {program}"))
    })?;
    let maps = info.map_ids().map_err(io::Error::other)?;
    maps.ok_or_else(|| io::Error::other(format!("the kernel does not tell the maps of {program}")))
}
