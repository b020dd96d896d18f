//! How many failures in a row are borne before one ends the daemon, and with it the forwarding. Knows not what failed.

use tracing::warn;

/// A failure that stays for so many attempts does not go away by itself.
const FAILURES: u32 = 10;

#[derive(Default)]
pub(super) struct Patience {
    failed: u32,
}

impl Patience {
    /// Passes on only the last failure of too many in a row; the others are a warning, for the caller to try again.
    pub(super) fn judge(&mut self, done: anyhow::Result<()>) -> anyhow::Result<()> {
        let Err(e) = done else {
            self.failed = 0;
            return Ok(());
        };
        self.failed += 1;
        if self.failed >= FAILURES {
            return Err(e.context(format!("{FAILURES} attempts in a row failed")));
        }
        warn!("{e:#}; trying again");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn fail(patience: &mut Patience) -> anyhow::Result<()> {
        patience.judge(Err(anyhow!("no memory")))
    }

    #[test]
    fn the_tenth_failure_in_a_row_ends_it() {
        let mut patience = Patience::default();
        for _ in 1..FAILURES {
            assert!(fail(&mut patience).is_ok());
        }
        assert!(fail(&mut patience).is_err());
    }

    #[test]
    fn a_success_in_between_starts_the_count_anew() {
        let mut patience = Patience::default();
        for _ in 0..3 * FAILURES {
            assert!(fail(&mut patience).is_ok());
            assert!(patience.judge(Ok(())).is_ok());
        }
    }
}
