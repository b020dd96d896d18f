//! One line of a difference: what changes, from what to what.

use ipvs_common::ServiceKey;

use crate::model::DestKey;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    pub subject: Subject,
    pub action: Action,
    /// What of the subject; empty: all of it.
    pub field: &'static str,
    pub old: String,
    pub new: String,
    /// Index of a real server that gets no further connections.
    pub leaves: Option<u32>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    Service(ServiceKey),
    Dest(ServiceKey, DestKey),
    /// A match rule, without its mark.
    Match(String),
    /// The order of the match rules.
    MatchOrder,
    /// A knob of ip_vs.
    Sysctl(String),
    /// `[director.timeouts]` or another key of `[director]`.
    Director(String),
    Interface(String),
    /// Key of `[api]`.
    Api(String),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    Added,
    Removed,
    Changed,
}

impl Row {
    #[must_use]
    pub fn added(subject: Subject, new: String) -> Self {
        Self {
            subject,
            action: Action::Added,
            field: "",
            old: String::new(),
            new,
            leaves: None,
        }
    }

    #[must_use]
    pub fn removed(subject: Subject, old: String) -> Self {
        Self {
            subject,
            action: Action::Removed,
            field: "",
            old,
            new: String::new(),
            leaves: None,
        }
    }

    #[must_use]
    pub fn changed(subject: Subject, field: &'static str, old: String, new: String) -> Self {
        Self {
            subject,
            action: Action::Changed,
            field,
            old,
            new,
            leaves: None,
        }
    }

    pub(super) fn leaving(self, dest: Option<u32>) -> Self {
        Self {
            leaves: dest,
            ..self
        }
    }
}
