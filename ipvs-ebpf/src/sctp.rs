//! SCTP (RFC 9260), as far as connections go: what the chunks of a packet say, and the state machine of ip_vs.

use ipvs_common::State;

use crate::{conn::tcp_state::Direction, frame::Frame, parse::flag};

/// Bytes of the common header.
pub(crate) const HEADER: usize = 12;
/// Of a chunk without anything in it. A packet has one at least.
pub(crate) const CHUNK: usize = 4;

/// Types of chunks.
pub mod chunk {
    pub const DATA: u8 = 0;
    pub const INIT: u8 = 1;
    pub const INIT_ACK: u8 = 2;
    pub const ABORT: u8 = 6;
    pub const SHUTDOWN: u8 = 7;
    pub const SHUTDOWN_ACK: u8 = 8;
    pub const ERROR: u8 = 9;
    pub const COOKIE_ECHO: u8 = 10;
    pub const COOKIE_ACK: u8 = 11;
    pub const SHUTDOWN_COMPLETE: u8 = 14;
}

/// A packet's flags say of SCTP what TCP's say: INIT opens ([`flag::SYN`]), ABORT resets ([`flag::RST`]), all others go on
/// ([`flag::ACK`]). Which of those it is stands from this bit on.
const WHICH: u32 = 5;
/// An ABORT follows the first chunk. It ends a connection, but the packet does not count as a reset.
const ABORTS_BEHIND: u8 = flag::FIN;

/// Events behind those that have a flag.
const EVENTS: [u8; 8] = [
    chunk::DATA,
    chunk::INIT_ACK,
    chunk::COOKIE_ECHO,
    chunk::COOKIE_ACK,
    chunk::SHUTDOWN,
    chunk::SHUTDOWN_ACK,
    chunk::SHUTDOWN_COMPLETE,
    chunk::ERROR,
];

/// The flags of a packet whose first chunk is of this type. Types that nothing is known of are like data.
#[must_use]
#[inline(always)]
pub fn flags_of(kind: u8) -> u8 {
    FLAGS.get(usize::from(kind)).copied().unwrap_or(flag::ACK)
}

const fn known(kind: u8) -> u8 {
    if kind == chunk::INIT {
        return flag::SYN;
    }
    if kind == chunk::ABORT {
        return flag::RST;
    }
    let mut event = 0;
    while event < EVENTS.len() {
        if EVENTS[event] == kind {
            return flag::ACK | (event as u8) << WHICH;
        }
        event += 1;
    }
    flag::ACK
}

/// The flags by type, up to the last one that matters.
static FLAGS: [u8; 16] = {
    let mut all = [flag::ACK; 16];
    let mut kind = 0;
    while kind < all.len() {
        all[kind] = known(kind as u8);
        kind += 1;
    }
    all
};

/// The flags of a packet that ends at `end` and whose first chunk is at `at`. Behind chunks of some kinds ip_vs looks, too.
#[inline(always)]
pub(crate) fn flags<F: Frame>(f: &mut F, at: usize, chunk: [u8; CHUNK], end: usize) -> u8 {
    let [kind, _, high, low] = chunk;
    let flags = flags_of(kind);
    let length = usize::from(u16::from_be_bytes([high, low]));
    let looks = (kind == chunk::COOKIE_ECHO || kind == chunk::COOKIE_ACK) && length >= CHUNK;
    let second = at + ((length + 3) & !3);
    if looks && second + CHUNK <= end && f.byte(second) == Some(chunk::ABORT) {
        return flags | ABORTS_BEHIND;
    }
    flags
}

const NO: u8 = State::None as u8;
const I1: u8 = State::SctpInit1 as u8;
const IN: u8 = State::SctpInit as u8;
const CS: u8 = State::SctpCookieSent as u8;
const CR: u8 = State::SctpCookieReplied as u8;
const CW: u8 = State::SctpCookieWait as u8;
const CO: u8 = State::SctpCookie as u8;
const CE: u8 = State::SctpCookieEchoed as u8;
const ES: u8 = State::SctpEstablished as u8;
const SS: u8 = State::SctpShutdownSent as u8;
const SR: u8 = State::SctpShutdownReceived as u8;
const SA: u8 = State::SctpShutdownAckSent as u8;
const RJ: u8 = State::SctpRejected as u8;
const CL: u8 = State::SctpClosed as u8;

/// Rows of a direction: the events in the order of [`EVENTS`], then those with a flag.
const ROWS: usize = 10;
const INIT: usize = 8;
const ABORT: usize = 9;
/// Kernel's numbers of states, and none.
const COLUMNS: usize = 16;

/// Next state by direction and event, and by the state before (columns NO I1 IN CS CR CW CO CE ES SS SR SA RJ CL, padded).
#[rustfmt::skip]
const STATES: [[u8; COLUMNS]; 3 * ROWS] = [
    // The client, replies seen.
    [ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL, NO, NO],
    [CW, CW, CW, CS, CR, CO, CO, CE, ES, SS, SR, SA, RJ, CL, NO, NO],
    [CR, IN, IN, CR, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL, NO, NO],
    [ES, I1, IN, CS, CR, CW, CO, ES, ES, SS, SR, SA, RJ, CL, NO, NO],
    [SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL, NO, NO],
    [CL, IN, IN, CS, CR, CW, CO, CE, ES, CL, SR, CL, RJ, CL, NO, NO],
    [CL, CL, CL, CS, CR, CW, CO, CE, ES, SS, SR, CL, RJ, CL, NO, NO],
    [CL, I1, IN, CS, CR, CW, CO, CL, ES, SS, SR, SA, RJ, CL, NO, NO],
    [I1, IN, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, IN, IN, NO, NO],
    [CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL, NO, NO],
    // The real server.
    [ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL, NO, NO],
    [CS, CS, CS, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL, NO, NO],
    [CE, CE, CE, CE, CE, CE, CE, CE, ES, SS, SR, SA, RJ, CL, NO, NO],
    [ES, ES, ES, ES, ES, ES, ES, ES, ES, SS, SR, SA, RJ, CL, NO, NO],
    [SS, SS, SS, SS, SS, SS, SS, SS, SS, SS, SR, SA, RJ, CL, NO, NO],
    [SA, SA, SA, SA, SA, CW, CO, CE, ES, SA, SA, SA, RJ, CL, NO, NO],
    [CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL, NO, NO],
    [CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, SR, SA, RJ, CL, NO, NO],
    [CW, CW, CW, CW, CW, CW, CW, CW, ES, CW, CW, CW, CW, CW, NO, NO],
    [CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, NO, NO],
    // The client, replies not seen.
    [ES, I1, IN, CS, CR, ES, CO, CE, ES, SS, SR, SA, RJ, CL, NO, NO],
    [CE, CE, CE, CE, CE, CE, CO, CE, ES, SS, SR, SA, RJ, CL, NO, NO],
    [ES, ES, ES, ES, ES, ES, CO, CE, ES, SS, SR, SA, RJ, CL, NO, NO],
    [ES, I1, IN, ES, ES, CW, ES, ES, ES, SS, SR, SA, RJ, CL, NO, NO],
    [SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL, NO, NO],
    [CL, IN, IN, CS, CR, CW, CO, CE, CL, CL, SR, CL, RJ, CL, NO, NO],
    [CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, CL, CL, RJ, CL, NO, NO],
    [CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL, NO, NO],
    [I1, IN, IN, IN, IN, IN, CO, CE, ES, SS, SR, SA, IN, IN, NO, NO],
    [CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL, NO, NO],
];

/// The same by direction, with room for rows between them. What comes back on a connection whose replies are not seen does so all the
/// same.
static NEXT: [[u8; COLUMNS]; 4 * COLUMNS] = {
    let mut next = [[CL; COLUMNS]; 4 * COLUMNS];
    let of = [
        (Direction::IN.number(), 0),
        (Direction::OUT.number(), 1),
        (Direction::IN_ONLY.number(), 2),
        (Direction::OUT.number() | Direction::IN_ONLY.number(), 1),
    ];
    let mut at = 0;
    while at < of.len() {
        let (direction, block) = of[at];
        let mut event = 0;
        while event < ROWS {
            next[direction as usize * COLUMNS + event] = STATES[block * ROWS + event];
            event += 1;
        }
        at += 1;
    }
    next
};

/// The state after a packet with these flags.
#[must_use]
#[inline(always)]
pub fn next(direction: Direction, flags: u8, state: u8) -> u8 {
    let event = if flags & (flag::RST | ABORTS_BEHIND) != 0 {
        ABORT
    } else if flags & flag::SYN != 0 {
        INIT
    } else {
        usize::from(flags >> WHICH)
    };
    NEXT.get(usize::from(direction.number()) * COLUMNS + event)
        .and_then(|row| row.get(usize::from(state) & (COLUMNS - 1)))
        .copied()
        .unwrap_or(CL)
}
