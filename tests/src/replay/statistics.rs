//! Statistics as the kernel tells them: late. It adds up what its CPUs counted every two seconds, and the rates with it, so
//! that a recorded listing is right if it is the director's own at some moment about then.

use std::collections::VecDeque;

use ipvs_user::proc::File;

use super::listing::proc_file;
use crate::backend::HZ;

/// How late the kernel's counters may be.
const LATE: u64 = 2 * HZ + HZ / 4;
/// Its rates are reckoned at the same times as the counters are added up, ours maybe at others.
const EARLY: u64 = 2 * HZ;
const COLUMNS: usize = 5;
const REAL_SERVER: &str = "->";

/// Whether a command lists statistics.
pub(super) fn is_of_statistics(command: &str) -> bool {
    command.contains("--stats") || is_of_rates(command)
}

fn is_of_rates(command: &str) -> bool {
    command.contains("--rate") || proc_file(command) == Some(File::IpVsStats)
}

/// A listing of statistics.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Sheet {
    titles: Vec<String>,
    /// The words before the numbers, those of the service before a real server's, and the numbers as they are printed.
    rows: Vec<(String, [String; COLUMNS])>,
}

impl Sheet {
    pub(super) fn read(listing: &str) -> Self {
        let mut sheet = Self::default();
        let mut service = String::new();
        for line in listing.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            let Some((label, numbers)) = words.split_last_chunk::<COLUMNS>().filter(|(_, n)| {
                n.iter()
                    .all(|n| n.starts_with(|c: char| matches!(c, '0'..='9' | 'A'..='F')))
            }) else {
                sheet.titles.push(line.to_owned());
                continue;
            };
            let label = match label {
                [] => format!("row {}", sheet.rows.len()),
                words => words.join(" "),
            };
            let label = if label.starts_with(REAL_SERVER) {
                format!("{service} {label}")
            } else {
                service.clone_from(&label);
                label
            };
            sheet.rows.push((label, numbers.map(str::to_owned)));
        }
        sheet
    }

    /// The numbers of the real server of this address and port.
    pub(super) fn of_real_server(&self, address: &str) -> Option<[u64; COLUMNS]> {
        let label = format!("{REAL_SERVER} {address}");
        let row = self.rows.iter().find(|r| r.0.ends_with(&label))?;
        let mut numbers = [0; COLUMNS];
        for (number, text) in numbers.iter_mut().zip(&row.1) {
            *number = text.parse().ok()?;
        }
        Some(numbers)
    }

    fn has_rows_of(&self, other: &Self) -> bool {
        let labels = |s: &Self| s.rows.iter().map(|r| r.0.clone()).collect::<Vec<_>>();
        self.titles == other.titles && labels(self) == labels(other)
    }

    /// Whether the numbers are the same; a row that was not there yet has none.
    fn has_numbers_of(&self, earlier: &Self) -> bool {
        self.rows.iter().all(|(label, numbers)| {
            let then = earlier.rows.iter().find(|r| r.0 == *label);
            then.map_or(numbers.iter().all(|n| n == "0"), |t| t.1 == *numbers)
        })
    }
}

/// A recorded listing that was not found so far.
pub(super) struct Open {
    pub(super) command: String,
    pub(super) expected: String,
    /// What we had then.
    pub(super) printed: String,
    sheet: Sheet,
    until: u64,
    /// For whoever asks.
    pub(super) step: usize,
    pub(super) note: String,
}

/// What was listed lately, and what is still to be found.
#[derive(Default)]
pub(super) struct Statistics {
    /// Command, time, listing.
    lately: VecDeque<(String, u64, Sheet)>,
    open: Vec<Open>,
}

impl Statistics {
    /// Notes what a command lists now; returns what can not be found any more.
    pub(super) fn note(&mut self, command: &str, now: u64, listing: &str) -> Vec<Open> {
        let sheet = Sheet::read(listing);
        self.open
            .retain(|o| o.command != command || !o.sheet.has_numbers_of(&sheet));
        while self
            .lately
            .front()
            .is_some_and(|(_, at, _)| at + LATE < now)
            && self.is_stale(now)
        {
            self.lately.pop_front();
        }
        self.lately.push_back((command.to_owned(), now, sheet));
        self.given_up(now)
    }

    /// Whether the second of the listings is old as well: the oldest one stood until then.
    fn is_stale(&self, now: u64) -> bool {
        let first = self.lately.front().map(|f| &f.0);
        let mut same = self.lately.iter().filter(|l| Some(&l.0) == first);
        same.nth(1).is_some_and(|(_, at, _)| at + LATE < now)
    }

    /// Looks for a recorded listing among those of late; what is not there may come.
    pub(super) fn find(&mut self, now: u64, listing: Open) {
        let found = self.lately.iter().any(|(command, _, earlier)| {
            *command == listing.command && listing.sheet.has_numbers_of(earlier)
        });
        if !found || !listing.has_rows() {
            self.open.push(Open {
                until: if listing.has_rows() && is_of_rates(&listing.command) {
                    now + EARLY
                } else {
                    0
                },
                ..listing
            });
        }
    }

    /// What can not be found any more at this time.
    pub(super) fn given_up(&mut self, now: u64) -> Vec<Open> {
        self.open.extract_if(.., |o| o.until < now).collect()
    }

    /// Until when something may still be found.
    pub(super) fn until(&self) -> Option<u64> {
        self.open.iter().map(|o| o.until).max()
    }
}

impl Open {
    pub(super) fn new(
        command: &str,
        expected: &str,
        printed: &str,
        step: usize,
        note: &str,
    ) -> Self {
        Self {
            command: command.to_owned(),
            expected: expected.to_owned(),
            printed: printed.to_owned(),
            sheet: Sheet::read(expected),
            until: 0,
            step,
            note: note.to_owned(),
        }
    }

    /// Whether everything but the numbers is right.
    fn has_rows(&self) -> bool {
        self.sheet.has_rows_of(&Sheet::read(&self.printed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(n: u32) -> String {
        format!(
            "Prot LocalAddress:Port\nTCP  203.0.113.10:80   {n} 0 0 0 0\n  -> 10.0.1.10:80  {n} 0 0 0 0\n"
        )
    }

    fn lags(command: &str, recorded: u32, at: u64) -> bool {
        let mut s = Statistics::default();
        for (n, now) in [(0, 0), (1, 1000), (2, 1500), (2, 3300), (3, 9000)] {
            if at < now {
                break;
            }
            assert!(s.note(command, now, &listing(n)).is_empty());
        }
        let own = if at < 9000 { 2 } else { 3 };
        s.find(
            at,
            Open::new(command, &listing(recorded), &listing(own), 0, ""),
        );
        s.given_up(at).is_empty()
    }

    #[test]
    fn listing_may_be_late_but_not_later_than_the_kernels() {
        assert!(lags("--stats", 1, 3400));
        assert!(lags("--stats", 2, 3400));
        assert!(!lags("--stats", 0, 3400));
        assert!(!lags("--stats", 4, 3400));
    }

    #[test]
    fn rates_may_be_reckoned_a_little_later_here() {
        for (later, found) in [(1900, true), (2100, false)] {
            let mut s = Statistics::default();
            s.note("--rate", 0, &listing(4));
            s.find(100, Open::new("--rate", &listing(3), &listing(4), 0, ""));
            assert!(s.given_up(100).is_empty());
            let given_up = s.given_up(100 + later).is_empty();
            s.note("--rate", 100 + later, &listing(3));
            assert_eq!(given_up, found, "{later}");
        }
    }

    #[test]
    fn real_server_is_found_in_a_listing() {
        let sheet = Sheet::read(&listing(7));
        assert_eq!(sheet.of_real_server("10.0.1.10:80"), Some([7, 0, 0, 0, 0]));
        assert_eq!(sheet.of_real_server("10.0.1.10:8"), None);
    }
}
