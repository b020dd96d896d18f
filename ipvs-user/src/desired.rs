//! A configuration as the state that is wished for: what has to change to get there, and what was changed by hand since.
//!
//! Three are compared: what was applied last, what is, and what shall be. Where the new one says the same as the last one and
//! the running one differs, somebody changed it by hand, and it is left so unless that is overridden; everywhere else the new
//! one holds. Pure: reads the model and the knobs, and changes nothing.

mod fields;
mod half;
mod matches;
mod merge;
mod row;
mod settings;
mod slots;
mod snapshot;

pub use half::{Half, half};
pub use merge::{Difference, Rule, compare};
pub use row::{Action, Row, Subject};
pub use slots::{Moved, moved};
pub use snapshot::{foreseen, snapshot};
