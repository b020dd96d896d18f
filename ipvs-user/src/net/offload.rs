//! Features of a network card by name, as `ethtool --features` has them.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

const SIOCETHTOOL: libc::Ioctl = 0x8946;
const GET_STRINGS: u32 = 0x1b;
const GET_STRING_COUNT: u32 = 0x37;
const GET_FEATURES: u32 = 0x3a;
const SET_FEATURES: u32 = 0x3b;
/// The set of strings that are the features' names.
const FEATURES: u32 = 4;
/// Bytes of a name.
const NAME: usize = 32;
/// Features in a word.
const WORD: usize = 32;

/// Whether a feature is on; `None`: there is no such feature, or nobody can change it.
pub(super) fn is_on(interface: &str, feature: &str) -> io::Result<Option<bool>> {
    let card = Card::open(interface)?;
    let Some(number) = card.number(feature)? else {
        return Ok(None);
    };
    // For each word: available, requested, active, never changed.
    let words = number / WORD + 1;
    let mut request = vec![GET_FEATURES, words as u32];
    request.resize(2 + 4 * words, 0);
    card.ask(&mut request)?;
    let bit = 1 << (number % WORD);
    let [available, _, active, fixed] = &request[2 + 4 * (words - 1)..] else {
        return Ok(None);
    };
    let can_change = available & bit != 0 && fixed & bit == 0;
    Ok((can_change || active & bit != 0).then_some(active & bit != 0))
}

/// Turns it on or off.
pub(super) fn set(interface: &str, feature: &str, on: bool) -> io::Result<()> {
    let card = Card::open(interface)?;
    let number = card.number(feature)?.ok_or(io::ErrorKind::NotFound)?;
    // For each word: which to change, and to what.
    let words = number / WORD + 1;
    let mut request = vec![SET_FEATURES, words as u32];
    request.resize(2 + 2 * words, 0);
    let bit = 1 << (number % WORD);
    request[2 * words] = bit;
    request[2 * words + 1] = if on { bit } else { 0 };
    card.ask(&mut request)
}

/// The kernel's `struct ifreq`, with a pointer.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    data: *mut u32,
    rest: [u8; 16],
}

struct Card {
    socket: OwnedFd,
    name: [u8; libc::IFNAMSIZ],
}

impl Card {
    fn open(interface: &str) -> io::Result<Self> {
        let mut name = [0; libc::IFNAMSIZ];
        let place = name.get_mut(..interface.len().min(libc::IFNAMSIZ - 1));
        let place = place.ok_or(io::ErrorKind::InvalidInput)?;
        place.copy_from_slice(&interface.as_bytes()[..place.len()]);
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        Ok(Self { socket, name })
    }

    /// Place of a feature among all.
    fn number(&self, feature: &str) -> io::Result<Option<usize>> {
        // The count stands behind a mask of 64 bits that says which sets are asked for.
        let mut count = [GET_STRING_COUNT, 0, 1 << FEATURES, 0, 0];
        self.ask(&mut count)?;
        let count = count[4] as usize;
        let mut strings = vec![GET_STRINGS, FEATURES, count as u32];
        strings.resize(3 + count * NAME / size_of::<u32>(), 0);
        self.ask(&mut strings)?;
        let names: &[u8] = bytemuck::cast_slice(&strings[3..]);
        let mut names = names.chunks(NAME);
        Ok(names.position(|name| {
            let end = name.iter().position(|b| *b == 0).unwrap_or(NAME);
            &name[..end] == feature.as_bytes()
        }))
    }

    /// The first word says what is asked; the answer takes the place of the question.
    fn ask(&self, data: &mut [u32]) -> io::Result<()> {
        let mut request = Request {
            name: self.name,
            data: data.as_mut_ptr(),
            rest: [0; 16],
        };
        // SAFETY: the kernel reads and writes as much of `data` as the counts in it say, for which there is room.
        let done = unsafe { libc::ioctl(self.socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_of_the_loopback_device_is_found_by_its_name() {
        assert_eq!(is_on("lo", "rx-checksum").unwrap(), Some(true));
        assert_eq!(is_on("lo", "no-such-feature").unwrap(), None);
        assert!(is_on("no-such-device", "rx-checksum").is_err());
    }
}
