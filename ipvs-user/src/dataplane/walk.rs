//! What a walk over the tables is for, how far it goes at once, and where it stands.

use std::{collections::BTreeSet, fmt, time::Duration};

use ipvs_common::{Entry, Flow, Template, Tie};

/// What ends. Whatever a walk finds is looked at again where it ends, for packets come meanwhile.
pub enum Task<'a> {
    /// What is past its deadline.
    Expire,
    /// The same, and whatever else is met among the established connections and the templates is shown.
    ExpireAndShow(&'a mut See<'a>),
    /// What leads to one of these real servers, if that is deleted; templates once they have no children.
    EndOf(&'a BTreeSet<u32>),
    /// Connections that this picks; it is asked about clients' entries. Templates are left alone.
    Drop(&'a mut Pick<'a>),
}

/// What a walk meets that is not due.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// The client's entry of an established connection.
    Connection(&'a Flow, &'a Entry),
    Template(&'a Tie, &'a Template),
}

/// Looks at what a walk meets.
pub type See<'a> = dyn FnMut(Seen<'_>) + 'a;

/// Tells whether a connection is to make room.
pub type Pick<'a> = dyn FnMut(&Flow, &Entry) -> bool + 'a;

impl fmt::Debug for Task<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expire => "Expire",
            Self::ExpireAndShow(_) => "ExpireAndShow",
            Self::EndOf(_) => "EndOf",
            Self::Drop(_) => "Drop",
        })
    }
}

/// How far a walk goes at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// To its end.
    Never,
    /// Until so much time went by. A walk over tables on the host takes no time.
    After(Duration),
    /// One part in so many of the tables.
    Part(u32),
}

/// Where a walk stands; the default is its beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// Which of the tables, in the order of the walk.
    pub(super) table: usize,
    /// Where in it; what that means is the dataplane's business.
    pub(super) at: u32,
    /// Walks that came to their end.
    pub(super) rounds: u32,
    /// How much further it is than it should be.
    pub(super) ahead: u64,
}

impl Place {
    /// Nothing of this round was walked yet.
    #[must_use]
    pub const fn is_beginning(&self) -> bool {
        self.table == 0 && self.at == 0
    }

    /// The beginning of the next walk.
    pub(super) const fn next_round(self) -> Self {
        Self {
            table: 0,
            at: 0,
            rounds: self.rounds.wrapping_add(1),
            ahead: self.ahead,
        }
    }
}

/// One of the scheduler's caches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Cache {
    Lblc,
    Lblcr,
}
