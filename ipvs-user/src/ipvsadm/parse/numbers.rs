//! Numbers in their ranges, with the original's words for those that are not.

use std::ops::RangeInclusive;

use super::Usage;

/// Persistence timeout when `-p` comes without one, in seconds.
const DEFAULT_PERSISTENCE: u32 = 360;
/// 31 days.
const MAX_TIMEOUT: u32 = 31 * 24 * 3600;

pub(super) fn persistence(value: Option<&str>) -> Result<u32, Usage> {
    value.map_or(Ok(DEFAULT_PERSISTENCE), |text| {
        timeout(text, 1..=MAX_TIMEOUT)
    })
}

/// The words after `--set`.
pub(super) fn timeouts<'a>(words: &mut impl Iterator<Item = &'a str>) -> Result<[u32; 3], Usage> {
    let missing = || Usage::mistake("--set option requires 3 timeout values");
    let mut word = || words.next().ok_or_else(missing);
    let words = [word()?, word()?, word()?];
    let seconds = words.map(|text| timeout(text, 0..=MAX_TIMEOUT));
    let [tcp, tcp_fin, udp] = seconds;
    Ok([tcp?, tcp_fin?, udp?])
}

fn timeout(text: &str, range: RangeInclusive<u32>) -> Result<u32, Usage> {
    let seconds = within(text, range);
    let invalid = || Usage::mistake(format!("invalid timeout value `{text}' specified"));
    seconds.ok_or_else(invalid)
}

pub(super) fn within(text: &str, range: RangeInclusive<u32>) -> Option<u32> {
    text.trim_start().parse().ok().filter(|n| range.contains(n))
}

/// The kernel keeps weights and thresholds in signed integers.
pub(super) fn number(text: &str, message: &str) -> Result<u32, Usage> {
    let n = within(text, 0..=i32::MAX as u32);
    n.ok_or_else(|| Usage::mistake(message))
}
