//! Mail of any length, and what it is known by.

use std::{
    fmt,
    io::{self, BufRead, Write},
};

use sha2::{Digest as _, Sha256};

/// SHA-256 of a message, line ends included, without the transport's dots.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A message as it is stored: lines that end in CR LF.
#[derive(Clone, Debug)]
pub struct Message(Vec<u8>);

impl Message {
    /// One of at least `bytes`; the contents do not repeat, and some lines begin with a dot.
    #[must_use]
    pub fn of(bytes: usize) -> Self {
        let mut text = b"Subject: A message of some length\r\n\r\n".to_vec();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ bytes as u64;
        while text.len() < bytes {
            if state.is_multiple_of(16) {
                text.push(b'.');
            }
            for _ in 0..7 {
                state = next(state);
                text.extend(state.to_be_bytes().map(printable));
            }
            text.extend_from_slice(b"\r\n");
        }
        Self(text)
    }

    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.len() as u64
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest(Sha256::digest(&self.0).into())
    }

    /// Writes it with its end, as `DATA` has it: a dot before each dot that begins a line.
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        for line in self.0.split_inclusive(|byte| *byte == b'\n') {
            if line.starts_with(b".") {
                to.write_all(b".")?;
            }
            to.write_all(line)?;
        }
        to.write_all(b".\r\n")?;
        to.flush()
    }

    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Self> {
        let mut text = Vec::new();
        loop {
            let start = text.len();
            if from.read_until(b'\n', &mut text)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match &text[start..] {
                b".\r\n" => {
                    text.truncate(start);
                    return Ok(Self(text));
                }
                [b'.', ..] => _ = text.remove(start),
                _ => {}
            }
        }
    }
}

/// Marsaglia's xorshift: different for each line, the same for each run.
const fn next(mut x: u64) -> u64 {
    x ^= x << 13;
    x ^= x >> 7;
    x ^ x << 17
}

const fn printable(byte: u8) -> u8 {
    b'@' + (byte & 0x1f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_of_one_dot_does_not_end_a_message() {
        let message = Message(b"a\r\n.\r\n..b\r\n".to_vec());
        let mut wire = Vec::new();
        message.write(&mut wire).unwrap();
        assert_eq!(wire, b"a\r\n..\r\n...b\r\n.\r\n");
        assert_eq!(Message::read(&mut &wire[..]).unwrap().0, message.0);
    }

    #[test]
    fn digest_survives_being_written() {
        let digest = Message::of(10).digest();
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
    }
}
