//! Differences as text, for people: in the log and on the command line alike.

use std::fmt;

use super::{Action, Change, Moved, Plan, ServiceId, Waiting};

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp {address}"),
            Self::Udp(address) => write!(f, "udp {address}"),
            Self::Sctp(address) => write!(f, "sctp {address}"),
            Self::Fwmark6(mark) => write!(f, "fwmark6 {mark}"),
            Self::Fwmark(mark) => write!(f, "fwmark {mark}"),
        }
    }
}

impl Change {
    fn subject(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.service, &self.dest, &self.setting) {
            (Some(service), Some(dest), _) => write!(f, "{service}, real server {dest}"),
            (Some(service), None, _) => write!(f, "{service}"),
            (None, _, Some(setting)) => f.write_str(setting),
            (None, _, None) => f.write_str("?"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.action {
            Action::Added => '+',
            Action::Removed => '-',
            Action::Changed => '~',
        };
        write!(f, "{sign} ")?;
        self.subject(f)?;
        f.write_str(": ")?;
        if let Some(field) = &self.field {
            write!(f, "{field} ")?;
        }
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => write!(f, "{old} -> {new}")?,
            (Some(one), None) | (None, Some(one)) => f.write_str(one)?,
            (None, None) => {}
        }
        match &self.conns {
            Some(c) => write!(
                f,
                " ({} active, {} inactive, {} persistent go on)",
                c.active, c.inactive, c.persistent
            ),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = f64::from(self.moved) * 100.0 / f64::from(self.slots.max(1));
        write!(
            f,
            "{}: {} of {} hash slots move ({share:.1} %)",
            self.service, self.moved, self.slots
        )
    }
}

/// Sections that have nothing in them are left out.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.changes.is_empty() {
            writeln!(f, "nothing to change")?;
        } else if self.applied {
            writeln!(f, "changed:")?;
        } else {
            writeln!(f, "would change:")?;
        }
        lines(f, &self.changes)?;
        section(f, "hashed clients that go elsewhere:", &self.moved)?;
        let since = self.since.map_or_else(String::new, since);
        section(
            f,
            &format!("changed by hand{since}, and left so (--force overrides):"),
            &self.kept,
        )?;
        section(
            f,
            &format!("changed by hand{since}, and overridden:"),
            &self.overridden,
        )?;
        section(f, "needs a restart:", &self.needs_restart)?;
        if let Some(seconds) = self.confirm {
            writeln!(
                f,
                "goes back by itself in {seconds} seconds unless `ipvsd confirm` comes before"
            )?;
        }
        match &self.waiting {
            Some(waiting) => writeln!(f, "{waiting}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, failed) = (self.seconds, self.failed);
        f.write_str("a change waits to be confirmed")?;
        if let Some(trouble) = &self.trouble {
            write!(
                f,
                ", and going back failed ({failed} of 10 attempts, the last one: {trouble})"
            )
        } else {
            write!(f, ", and goes back by itself in {seconds} seconds")
        }
    }
}

fn since(seconds: u64) -> String {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    format!(" since {}", humantime::format_rfc3339_seconds(at))
}

fn section<T: fmt::Display>(f: &mut fmt::Formatter<'_>, title: &str, each: &[T]) -> fmt::Result {
    if each.is_empty() {
        return Ok(());
    }
    writeln!(f, "{title}")?;
    lines(f, each)
}

fn lines<T: fmt::Display>(f: &mut fmt::Formatter<'_>, each: &[T]) -> fmt::Result {
    each.iter().try_for_each(|one| writeln!(f, "  {one}"))
}
