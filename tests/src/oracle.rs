//! The oracle: the same scenario drives the kernel's own ip_vs with its own ipvsadm, and our director with ours, each in a
//! network namespace of its own on the same machine, and what comes out is compared: frames byte for byte, what commands
//! print and how they end.
//!
//! Scenarios are data (`scenario`), drawn from a seed (`generate`) and told without addresses, so that each run takes fresh
//! ones (`place`) and no run meets what another left.

mod clean;
mod contrast;
mod expect;
mod frames;
mod generate;
mod listing;
mod place;
mod run;
mod scenario;
mod score;
mod shrink;
mod side;
mod speed;
mod world;

pub use expect::{Expectations, Verdict};
pub use generate::{generate, generate_sctp};
pub use run::{Difference, Oracle, Outcome};
pub use scenario::{Packet, Scenario, Step};
pub use score::Score;
pub use shrink::shrink;
pub use side::load;
pub use speed::{Effort, Versus, versus};
