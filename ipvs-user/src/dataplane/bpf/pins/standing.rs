//! How far a migration got, as the next start finds it, whenever the one before it died.
//!
//! A is the generation that was in force, B the one that takes its place. Three names tell what was done; the kernel need not be
//! asked which program works over what, because that takes more rights than the daemon has.
//!
//! ```text
//!    what was done                   current previous swapping   a start finds            and does
//! 1  B made, being filled            A       -        -           B has no name            removes B, begins anew of A
//! 2  previous named                  A       A        -           previous is current      the same
//! 3  current named                   B       A        -           nothing was swapped      names A again, removes B, and the same
//! 4  swapping: some programs swapped B       A        B           swapping                 B goes on; others are refused
//! 5  all swapped, counts carried     B       A        B           swapping                 B goes on; others are refused
//! 6  previous has no name            B       -        B           A has no name            removes A
//! ```
//!
//! "B goes on" means: entries of A that B does not have, or that A's programs met later, come over; what is left is swapped;
//! counts are carried unless the ledger says that they were; A goes. Up to 3 every start may be of A, of B or of a third
//! generation C: what B had is a copy. In 4 and 5 both tables have what the other has not, and only B can put them together.

use super::{CURRENT, Instance, PREVIOUS, PinError, SWAPPING, failed, remove_all};

/// What a start finds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::dataplane::bpf) enum Standing {
    /// This generation is in force, if any, and no other one is there.
    Settled(Option<String>),
    /// Programs may have gone over from one to the other.
    Swapping { from: String, to: String },
}

impl Instance {
    /// Takes back what was not begun, removes generations that nothing names, and says what is left.
    pub(in crate::dataplane::bpf) fn standing(&self) -> Result<Standing, PinError> {
        let standing = match (self.current()?, self.previous()?) {
            (Some(to), Some(from)) => {
                if self.named(SWAPPING)?.as_ref() == Some(&to) {
                    Standing::Swapping { from, to }
                } else {
                    self.replace_link(CURRENT, &from)
                        .map_err(failed(&self.name))?;
                    self.unlink(PREVIOUS)?;
                    Standing::Settled(Some(from))
                }
            }
            (current, _) => {
                self.unlink(PREVIOUS)?;
                self.unlink(SWAPPING)?;
                Standing::Settled(current)
            }
        };
        self.sweep()?;
        Ok(standing)
    }

    /// From here on programs go over to the generation in force: no other one can be gone back to. False: that was so before.
    pub fn begin_swap(&self) -> Result<bool, PinError> {
        let (current, swapping) = (self.current()?, self.named(SWAPPING)?);
        let Some(current) = current.filter(|c| swapping.as_ref() != Some(c)) else {
            return Ok(false);
        };
        let named = self.replace_link(SWAPPING, &current);
        named.map(|()| true).map_err(failed(&self.name))
    }

    /// None went over.
    pub fn withdraw_swap(&self) -> Result<(), PinError> {
        self.unlink(SWAPPING)
    }

    /// The migration is done. Its name goes first: tables without one are in nobody's way.
    pub fn forget_previous(&self) -> Result<(), PinError> {
        self.unlink(PREVIOUS)?;
        self.unlink(SWAPPING)?;
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
}
