//! SCTP's ports and checksum, which covers no addresses.
//!
//! A changed port changes the checksum by what it is, so a wrong one stays wrong. A sender on the same machine leaves the checksum
//! to its card, and 0 in its place: that is completed where the frame leaves without metadata, and stays where it is kept.

use ipvs_common::{DropReason, Event};

use super::{
    crc32c,
    l4::{End, Partial, Translation},
};
use crate::{Ip, exit::Exit, frame::Frame, parse::Packet, sctp::HEADER, tables::Tables};

/// What is to become of a port and of the checksum. One register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Job(pub u64);

impl Job {
    const SOURCE: u64 = 1 << 16;
    const DESTINATION: u64 = 1 << 17;
    const WHOLE: u64 = 1 << 18;
    const PUT: u64 = 1 << 19;

    #[inline(always)]
    const fn of_packet(whole: bool) -> Self {
        Self(if whole { Self::WHOLE } else { 0 })
    }

    /// Nothing but a checksum.
    #[inline(always)]
    const fn put(sum: u32) -> Self {
        Self(Self::PUT | (sum as u64) << 32)
    }

    #[inline(always)]
    const fn with_port(self, end: End, port: [u8; 2]) -> Self {
        let end = match end {
            End::Source => Self::SOURCE,
            End::Destination => Self::DESTINATION,
        };
        Self(self.0 | end | u16::from_ne_bytes(port) as u64)
    }

    #[inline(always)]
    const fn has(self, bit: u64) -> bool {
        self.0 & bit != 0
    }

    #[inline(always)]
    const fn port(self) -> [u8; 2] {
        (self.0 as u16).to_ne_bytes()
    }
}

/// What became of it. One register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settled(pub u32);

impl Settled {
    /// The checksum is that of the packet as it goes.
    const DONE: Self = Self(0);
    /// It is partial, as it was.
    const PARTIAL: Self = Self(1);
    /// The frame ends too early.
    const TRUNCATED: Self = Self(2);
    /// Nobody can tell the checksum of a packet that is not all there.
    const IN_PIECES: Self = Self(3);
}

/// Does it, for a packet with so many bytes from `l4` on.
#[inline(always)]
pub fn settle<F: Frame>(f: &mut F, l4: usize, len: u16, job: Job) -> Settled {
    let Ok(head) = f.at::<[u8; HEADER]>(l4) else {
        return Settled::TRUNCATED;
    };
    if job.has(Job::PUT) {
        return put(head, crc32c::field((job.0 >> 32) as u32));
    }
    let [s0, s1, d0, d1, _, _, _, _, check @ ..] = *head;
    // What is behind the port that changes.
    let (old, behind) = if job.has(Job::SOURCE) {
        ([s0, s1], len.wrapping_sub(2))
    } else {
        ([d0, d1], len.wrapping_sub(4))
    };
    let new = job.port();
    let changes = job.has(Job::SOURCE | Job::DESTINATION) && old != new;
    if changes && !job.has(Job::WHOLE) {
        return Settled::IN_PIECES;
    }
    let [first, second] = new;
    if changes && job.has(Job::SOURCE) {
        (head[0], head[1]) = (first, second);
    } else if changes {
        (head[2], head[3]) = (first, second);
    }
    if check == [0; 4] && job.has(Job::WHOLE) {
        return Settled::PARTIAL;
    }
    if !changes {
        return Settled::DONE;
    }
    put(head, crc32c::patch(check, old, new, behind))
}

#[inline(always)]
fn put(head: &mut [u8; HEADER], check: [u8; 4]) -> Settled {
    let [_, _, _, _, _, _, _, _, field @ ..] = head;
    *field = check;
    Settled::DONE
}

/// [`super::l4::translate`].
#[inline(always)]
pub(super) fn translate<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    p: &Packet<T::A>,
    to: &Translation<T::A>,
) -> Result<(), Exit> {
    let job = Job::of_packet(p.is_whole()).with_port(to.end, to.port);
    work(f, t, p, job, to.partial == Partial::Complete)
}

/// [`super::l4::complete`].
#[inline(always)]
pub(super) fn complete<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    p: &Packet<T::A>,
) -> Result<(), Exit> {
    work(f, t, p, Job::of_packet(true), true)
}

#[inline(always)]
fn work<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    p: &Packet<T::A>,
    job: Job,
    completes: bool,
) -> Result<(), Exit> {
    match f.settle(p.l4, p.l4_len, job) {
        Settled::DONE => return Ok(()),
        Settled::PARTIAL => {}
        Settled::IN_PIECES => return Err(DropReason::FragmentCrc.into()),
        _ => return Err(DropReason::Truncated.into()),
    }
    t.event(Event::ChecksumPartial);
    if completes {
        let sum = f.crc(p.l4, usize::from(p.l4_len))?;
        f.settle(p.l4, p.l4_len, Job::put(sum));
        t.event(Event::ChecksumCompleted);
    }
    Ok(())
}

/// What a partial checksum adds to the sum of a packet's words when it is complete; 0 of one that is.
#[inline(always)]
pub(super) fn missing<F: Frame, A: Ip>(f: &mut F, p: &Packet<A>) -> Result<u32, Exit> {
    if f.settle(p.l4, p.l4_len, Job::of_packet(true)) != Settled::PARTIAL {
        return Ok(0);
    }
    let sum = f.crc(p.l4, usize::from(p.l4_len))?;
    Ok(crc32c::field(sum).sum())
}
