//! The states of a TCP connection, as a table for people.

use ipvs_tests::packet::flag;

/// Name, seconds, and whether it counts as active.
const STATES: [(&str, u64, bool); 10] = [
    ("NO", 2, false),
    ("ES", 900, true),
    ("SS", 120, true),
    ("SR", 60, true),
    ("FW", 120, false),
    ("TW", 120, false),
    ("CL", 10, false),
    ("CW", 60, false),
    ("LA", 30, false),
    ("LI", 120, false),
];

/// Who sent it and what, and the next state by the one before, in the order of [`STATES`].
const NEXT: [(&str, &str); 12] = [
    ("client syn", "SR ES ES SR SR SR SR SR SR SR"),
    ("client fin", "CL CW SS TW TW TW CL CW LA LI"),
    ("client ack", "ES ES SS ES FW TW CL CW CL LI"),
    ("client rst", "CL CL CL SR CL CL CL CL LA LI"),
    ("server syn", "SS ES SS SR SS SS SS SS SS LI"),
    ("server fin", "TW FW SS TW FW TW CL TW LA LI"),
    ("server ack", "ES ES SS ES FW TW CL CW LA ES"),
    ("server rst", "CL CL SS CL CL TW CL CL CL CL"),
    ("one-way syn", "SR ES ES SR SR SR SR SR SR SR"),
    ("one-way fin", "CL FW SS TW FW TW CL CW LA LI"),
    ("one-way ack", "ES ES SS ES FW TW CL CW CL LI"),
    ("one-way rst", "CL CL CL SR CL CL CL CL LA LI"),
];

/// A state by its place in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct State(usize);

impl State {
    pub(crate) const NONE: Self = Self(0);

    fn named(name: &str) -> Self {
        Self(STATES.iter().position(|s| s.0 == name).unwrap())
    }

    pub(crate) fn after(self, sender: &str, flags: u8) -> Self {
        let order = [
            (flag::RST, "rst"),
            (flag::SYN, "syn"),
            (flag::FIN, "fin"),
            (flag::ACK, "ack"),
        ];
        let Some((_, what)) = order.iter().find(|(bit, _)| flags & bit != 0) else {
            return Self::named("CL");
        };
        let row = NEXT.iter().find(|r| r.0 == format!("{sender} {what}"));
        Self::named(row.unwrap().1.split(' ').nth(self.0).unwrap())
    }

    pub(crate) const fn seconds(self) -> u64 {
        STATES[self.0].1
    }

    pub(crate) const fn is_active(self) -> bool {
        STATES[self.0].2
    }

    pub(crate) fn is_closed(self) -> bool {
        self == Self::named("TW") || self == Self::named("CL")
    }
}
