//! Which kernel this is.

use nix::sys::utsname::uname;

/// As `uname -r` says it.
#[must_use]
pub fn release() -> String {
    let name = uname().map(|name| name.release().to_string_lossy().into_owned());
    name.unwrap_or_default()
}

/// 6 and 1 of `6.1.0-50-amd64`.
#[must_use]
pub fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
