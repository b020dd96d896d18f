//! The comparison of knobs, timeouts and the rate of ICMP errors. What a configuration does not name has its default, and so
//! has everything where no configuration was applied before.

use ipvs_common::{Settings, State};

use super::{
    merge::{Merge, Outcome},
    row::{Row, Subject},
};
use crate::{config::Config, director::Director, timeouts::Timeouts};

/// Knobs that the director itself moves between 1 and 2, as memory is.
const AUTOMATIC: [&str; 3] = ["drop_entry", "drop_packet", "secure_tcp"];

pub(super) fn compare(merge: &mut Merge, last: Option<&Config>, running: &Director, new: &Config) {
    sysctls(merge, last, running, new);
    numbers(merge, last, running, new);
}

fn sysctls(merge: &mut Merge, last: Option<&Config>, running: &Director, new: &Config) {
    for view in running.sysctls().iter().filter(|v| v.why_not.is_none()) {
        let of = |config: &Config| {
            let given = config.sysctls.iter().rev().find(|(n, _)| n == view.name);
            settled(view.name, given.map_or(view.default, |(_, value)| value))
        };
        let (is, new) = (settled(view.name, &view.value), of(new));
        let subject = Subject::Sysctl(view.name.to_owned());
        let was = last.map_or_else(|| view.default.to_owned(), of);
        if merge.take(&subject, [&was, &is, &new]) {
            let change = (view.name.to_owned(), new);
            merge.difference.changes.sysctls.push(change);
        }
    }
}

/// What a knob was turned to.
#[must_use]
pub(super) fn settled(name: &str, value: &str) -> String {
    match value {
        "2" if AUTOMATIC.contains(&name) => "1".to_owned(),
        other => other.to_owned(),
    }
}

/// A number of `[director]`.
struct Number {
    name: &'static str,
    of_config: fn(&Config) -> Option<u32>,
    /// In the unit of the file.
    of_settings: fn(&Settings) -> u32,
    put: fn(&mut Timeouts, &mut Option<u32>, u32),
}

const NUMBERS: [Number; 4] = [
    Number {
        name: "timeouts.tcp",
        of_config: |c| c.timeouts.tcp,
        of_settings: |s| seconds(s, State::Established),
        put: |t, _, value| t.tcp = Some(value),
    },
    Number {
        name: "timeouts.tcp_fin",
        of_config: |c| c.timeouts.tcp_fin,
        of_settings: |s| seconds(s, State::FinWait),
        put: |t, _, value| t.tcp_fin = Some(value),
    },
    Number {
        name: "timeouts.udp",
        of_config: |c| c.timeouts.udp,
        of_settings: |s| seconds(s, State::Udp),
        put: |t, _, value| t.udp = Some(value),
    },
    Number {
        name: "icmp_rate",
        of_config: |c| c.icmp_rate,
        of_settings: |s| s.icmp_rate,
        put: |_, rate, value| *rate = Some(value),
    },
];

fn seconds(settings: &Settings, state: State) -> u32 {
    settings.timeouts[state as usize] / settings.hz.max(1)
}

fn numbers(merge: &mut Merge, last: Option<&Config>, running: &Director, new: &Config) {
    let defaults = Settings::with_hz(running.hz());
    for number in &NUMBERS {
        let default = (number.of_settings)(&defaults);
        let of = |config: &Config| (number.of_config)(config).unwrap_or(default);
        let subject = Subject::Director(number.name.to_owned());
        let is = (number.of_settings)(running.settings());
        let (was, shall) = (last.map_or(default, of), of(new));
        if merge.take(&subject, [&was, &is, &shall]) {
            let changes = &mut merge.difference.changes;
            (number.put)(&mut changes.timeouts, &mut changes.icmp_rate, shall);
        }
    }
}

impl Merge {
    /// Notes what becomes of a value; true: it changes.
    fn take<T: PartialEq + ToString>(
        &mut self,
        subject: &Subject,
        [was, is, new]: [&T; 3],
    ) -> bool {
        let outcome = self.judge(Some(was), is, new);
        let row =
            |old: &T, new: &T| Row::changed(subject.clone(), "", old.to_string(), new.to_string());
        match outcome {
            Outcome::Same => false,
            Outcome::Kept => {
                self.difference.kept.push(row(was, is));
                false
            }
            Outcome::New(over_hand) => {
                let by_hand = over_hand.then(|| row(was, is));
                self.difference.overridden.extend(by_hand);
                self.difference.rows.push(row(is, new));
                true
            }
        }
    }
}

/// The same numbers as a configuration would name them: those that are not at their default.
pub(super) fn numbers_of(running: &Director) -> (Timeouts, Option<u32>) {
    let defaults = Settings::with_hz(running.hz());
    let (mut timeouts, mut rate) = (Timeouts::default(), None);
    for number in &NUMBERS {
        let value = (number.of_settings)(running.settings());
        if value != (number.of_settings)(&defaults) {
            (number.put)(&mut timeouts, &mut rate, value);
        }
    }
    (timeouts, rate)
}
