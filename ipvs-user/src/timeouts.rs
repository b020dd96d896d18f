//! Timeouts that can be set (`ipvsadm --set`): of established TCP connections, of closing ones, and of UDP. Those of the other
//! states are fixed.

use ipvs_common::{Settings, State};

/// 31 days.
pub const MAX_SECONDS: u32 = 31 * 24 * 3600;

/// Seconds after which idle connections end; `None`: as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Timeouts {
    pub tcp: Option<u32>,
    pub tcp_fin: Option<u32>,
    pub udp: Option<u32>,
}

/// A timeout is out of range.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{name} = {seconds} is out of range: a timeout takes 1 to {MAX_SECONDS} seconds")]
pub struct TimeoutError {
    pub name: &'static str,
    pub seconds: u32,
}

impl Timeouts {
    const fn each(&self) -> [(&'static str, State, Option<u32>); 3] {
        [
            ("tcp", State::Established, self.tcp),
            ("tcp_fin", State::FinWait, self.tcp_fin),
            ("udp", State::Udp, self.udp),
        ]
    }

    pub fn check(&self) -> Result<(), TimeoutError> {
        for (name, _, seconds) in self.each() {
            match seconds {
                Some(seconds) if !(1..=MAX_SECONDS).contains(&seconds) => {
                    return Err(TimeoutError { name, seconds });
                }
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    /// Puts them in the place of those in the settings, which are in ticks.
    pub fn put(&self, settings: &mut Settings) {
        for (_, state, seconds) in self.each() {
            if let Some(seconds) = seconds {
                settings.timeouts[state as usize] = seconds.saturating_mul(settings.hz);
            }
        }
    }
}
