//! The knobs that ip_vs has under `/proc/sys/net/ipv4/vs/`, as the director's own: their names, what they take, and what they
//! are at.
//!
//! [`TABLE`] has all of them. Those that apply here are [`Knobs`]; the others say why they do not, and take their default and
//! nothing else. Pure: knows the datapath's settings, and neither files nor the director.

mod defence;
mod knobs;
mod range;
mod table;

pub use defence::Defence;
pub use knobs::{Knob, Knobs};
pub use range::Range;
pub use table::{Applies, Sysctl, TABLE};

use crate::{dataplane::TableError, suggest::suggestion};

/// A knob was not set, and nothing else was.
#[derive(Debug, thiserror::Error)]
pub enum SysctlError {
    #[error("no sysctl `{name}`; {hint}")]
    Unknown { name: String, hint: String },
    #[error("{name} = {value} is out of range: it takes {range}")]
    Range {
        name: &'static str,
        value: String,
        range: Range,
    },
    #[error("{name} = {value} does not apply here: {why}; leave it at {default}")]
    DoesNotApply {
        name: &'static str,
        value: String,
        default: &'static str,
        why: &'static str,
    },
    #[error(transparent)]
    Tables(#[from] TableError),
}

/// A knob as a listing shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SysctlView {
    pub name: &'static str,
    pub value: String,
    pub default: &'static str,
    pub range: Range,
    pub doc: &'static str,
    /// Why it has its default and nothing else; `None`: it can be set.
    pub why_not: Option<&'static str>,
}

/// The entry of a name.
pub fn find(name: &str) -> Result<&'static Sysctl, SysctlError> {
    let found = TABLE.iter().find(|s| s.name == name);
    found.ok_or_else(|| SysctlError::Unknown {
        name: name.to_owned(),
        hint: suggestion(name, &names()),
    })
}

/// All names, in the order of the table.
#[must_use]
pub fn names() -> Vec<&'static str> {
    TABLE.iter().map(|s| s.name).collect()
}

#[cfg(test)]
mod tests;
