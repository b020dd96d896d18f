//! A frame in memory.

use bytemuck::Pod;
use ipvs_common::{DropReason, PuntHeader};

use crate::{
    frame::Frame,
    rewrite::{crc32c, csum},
};

/// Bytes in front of the frame, as XDP has them.
const HEADROOM: usize = 256;

/// A frame in memory.
#[derive(Clone, Debug)]
pub struct HostFrame {
    buffer: Vec<u8>,
    start: usize,
    /// What was given to the daemon, as it was then.
    pub handed: Option<(PuntHeader, Vec<u8>)>,
}

impl HostFrame {
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut buffer = vec![0; HEADROOM];
        buffer.extend_from_slice(bytes);
        Self {
            buffer,
            start: HEADROOM,
            handed: None,
        }
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }
}

impl Frame for HostFrame {
    fn len(&self) -> usize {
        self.bytes().len()
    }

    fn at<T: Pod>(&mut self, off: usize) -> Result<&mut T, DropReason> {
        const { assert!(align_of::<T>() == 1) };
        let start = self.start + off;
        let bytes = self
            .buffer
            .get_mut(start..start + size_of::<T>())
            .ok_or(DropReason::Truncated)?;
        Ok(bytemuck::from_bytes_mut(bytes))
    }

    fn words<const N: usize>(&mut self, off: usize) -> Result<[u64; N], DropReason> {
        let mut words = [0; N];
        for (n, word) in words.iter_mut().enumerate() {
            *word = u64::from_ne_bytes(*self.at(off + n * size_of::<u64>())?);
        }
        Ok(words)
    }

    fn grow_head(&mut self, by: usize) -> Result<(), DropReason> {
        self.start = self.start.checked_sub(by).ok_or(DropReason::NoHeadroom)?;
        Ok(())
    }

    fn shrink_head(&mut self, by: usize) -> Result<(), DropReason> {
        if by > self.len() {
            return Err(DropReason::Truncated);
        }
        self.start += by;
        Ok(())
    }

    fn truncate(&mut self, len: usize) -> Result<(), DropReason> {
        if len > self.len() {
            return Err(DropReason::Truncated);
        }
        self.buffer.truncate(self.start + len);
        Ok(())
    }

    fn sum(&mut self, off: usize, len: usize) -> Result<u32, DropReason> {
        let bytes = self
            .bytes()
            .get(off..off + len)
            .ok_or(DropReason::Truncated)?;
        let words = bytes
            .chunks(2)
            .map(|w| csum::word([w[0], w.get(1).copied().unwrap_or(0)]));
        Ok(u32::from(csum::fold(
            words.fold(0, |s, w| u32::from(csum::fold(s)) + w),
        )))
    }

    fn byte(&mut self, off: usize) -> Option<u8> {
        self.bytes().get(off).copied()
    }

    fn crc(&mut self, off: usize, len: usize) -> Result<u32, DropReason> {
        let bytes = self
            .bytes()
            .get(off..off + len)
            .ok_or(DropReason::Truncated)?;
        Ok(bytes
            .iter()
            .fold(crc32c::START, |sum, byte| crc32c::byte(sum, *byte)))
    }

    fn hand_over(&mut self, header: &PuntHeader) -> bool {
        self.handed = Some((*header, self.bytes().to_vec()));
        true
    }
}
