//! The TCP state machine of ip_vs: what a segment does to a connection, by who sent it.

use ipvs_common::{ConnFlags, State, Status};

use crate::parse::flag;

/// Who sent a segment, and who can be seen at all: the low two bits of a connection's flags, as a number, because a branch for
/// each would make the verifier follow all behind it once for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Direction(u8);

impl Direction {
    /// The client, on a connection whose replies pass the director.
    pub const IN: Self = Self(0);
    /// The real server.
    pub const OUT: Self = Self(ConnFlags::REPLY);
    /// The client, on a connection whose replies do not pass the director.
    pub const IN_ONLY: Self = Self(ConnFlags::NO_OUTPUT);

    /// As a number, and back.
    #[must_use]
    #[inline(always)]
    pub const fn number(self) -> u8 {
        self.0
    }

    #[must_use]
    #[inline(always)]
    pub const fn of_number(n: u8) -> Self {
        Self(n & (ConnFlags::REPLY | ConnFlags::NO_OUTPUT))
    }

    /// By which entry a packet came.
    #[must_use]
    #[inline(always)]
    pub const fn by(status: Status) -> Self {
        Self(status.flags & (ConnFlags::REPLY | ConnFlags::NO_OUTPUT))
    }
}

/// RST before SYN before FIN before ACK; a segment with none of them closes.
const SYN: u8 = 0;
const FIN: u8 = 1;
const ACK: u8 = 2;
const RST: u8 = 3;
const NONE: u8 = 4;

/// Bits of TCP's flags up to ACK.
const FLAGS: usize = 32;

/// Events by flags.
static EVENT: [u8; FLAGS] = {
    let mut events = [NONE; FLAGS];
    let mut flags = 0;
    while flags < FLAGS {
        events[flags] = event(flags as u8);
        flags += 1;
    }
    events
};

const fn event(flags: u8) -> u8 {
    if flags & flag::RST != 0 {
        RST
    } else if flags & flag::SYN != 0 {
        SYN
    } else if flags & flag::FIN != 0 {
        FIN
    } else if flags & flag::ACK != 0 {
        ACK
    } else {
        NONE
    }
}

const NO: u8 = State::None as u8;
const ES: u8 = State::Established as u8;
const SS: u8 = State::SynSent as u8;
const SR: u8 = State::SynRecv as u8;
const FW: u8 = State::FinWait as u8;
const TW: u8 = State::TimeWait as u8;
const CL: u8 = State::Close as u8;
const CW: u8 = State::CloseWait as u8;
const LA: u8 = State::LastAck as u8;
const LI: u8 = State::Listen as u8;

const SA: u8 = State::SynAck as u8;

/// Directions with rows of their own.
const DIRECTIONS: usize = 3;
/// Events with rows of their own.
const EVENTS: usize = 4;
/// States, and none.
const COLUMNS: usize = 16;

/// Next state by direction and event (rows: SYN, FIN, ACK, RST of each direction) and by the state before (columns NO ES SS SR FW
/// TW CL CW LA LI SA, padded). The second half is in force under `secure_tcp`: an entry is established by the real server's ACK
/// alone, or where that is not seen by the client's second one.
#[rustfmt::skip]
const STATES: [[u8; COLUMNS]; 2 * DIRECTIONS * EVENTS] = [
    // The client, replies seen.
    [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR, NO, NO, NO, NO, NO],
    [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW, NO, NO, NO, NO, NO],
    [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES, NO, NO, NO, NO, NO],
    [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR, NO, NO, NO, NO, NO],
    // The real server.
    [SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR, NO, NO, NO, NO, NO],
    [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW, NO, NO, NO, NO, NO],
    [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES, NO, NO, NO, NO, NO],
    [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL, NO, NO, NO, NO, NO],
    // The client, replies not seen.
    [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR, NO, NO, NO, NO, NO],
    [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW, NO, NO, NO, NO, NO],
    [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES, NO, NO, NO, NO, NO],
    [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL, NO, NO, NO, NO, NO],
    // The same three under `secure_tcp`.
    [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SA, NO, NO, NO, NO, NO],
    [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, SA, NO, NO, NO, NO, NO],
    [ES, ES, SS, SR, FW, TW, CL, CW, CL, LI, SA, NO, NO, NO, NO, NO],
    [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL, NO, NO, NO, NO, NO],
    [SS, ES, SS, SA, SS, SS, SS, SS, SS, LI, SA, NO, NO, NO, NO, NO],
    [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW, NO, NO, NO, NO, NO],
    [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES, NO, NO, NO, NO, NO],
    [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL, NO, NO, NO, NO, NO],
    [SA, ES, ES, SR, SA, SA, SA, SA, SA, SA, SA, NO, NO, NO, NO, NO],
    [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW, NO, NO, NO, NO, NO],
    [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES, NO, NO, NO, NO, NO],
    [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL, NO, NO, NO, NO, NO],
];

/// Rows of the same by [`row`].
const ROWS: usize = 64;
static NEXT: [[u8; COLUMNS]; ROWS] = {
    let mut next = [[CL; COLUMNS]; ROWS];
    let mut block = 0;
    while block < 2 * DIRECTIONS {
        // What comes back on a connection whose replies are not seen does so all the same.
        let of = [
            Direction::IN.0,
            Direction::OUT.0,
            Direction::IN_ONLY.0,
            Direction::OUT.0 | Direction::IN_ONLY.0,
        ];
        let mut at = 0;
        while at < of.len() {
            let same = at == block % DIRECTIONS || (at == 3 && block % DIRECTIONS == 1);
            let mut event = 0;
            while same && event < EVENTS {
                let secure = block >= DIRECTIONS;
                next[row(Direction(of[at]), event as u8, secure)] = STATES[block * EVENTS + event];
                event += 1;
            }
            at += 1;
        }
        block += 1;
    }
    next
};

/// Where the states after an event stand. Added and masked last: the verifier of Linux 6.1 forgets the bounds of what is put
/// together by `|`.
#[inline(always)]
const fn row(direction: Direction, event: u8, secure: bool) -> usize {
    (((secure as usize) << 5) + ((direction.0 as usize) << 3) + event as usize) & (ROWS - 1)
}

/// The state after a segment with these flags.
#[must_use]
#[inline(always)]
pub fn next(direction: Direction, flags: u8, state: u8, secure: bool) -> u8 {
    let event = EVENT[usize::from(flags) & (FLAGS - 1)];
    NEXT[row(direction, event, secure)][usize::from(state) & (COLUMNS - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_reset_in_syn_recv_keeps_the_connection() {
        assert_eq!(next(Direction::IN, flag::RST, SR, false), SR);
        assert_eq!(next(Direction::IN_ONLY, flag::RST, SR, false), SR);
        assert_eq!(next(Direction::OUT, flag::RST, SR, false), CL);
    }

    #[test]
    fn segment_without_flags_closes() {
        assert_eq!(next(Direction::IN, 0, ES, false), CL);
    }

    #[test]
    fn one_way_connection_goes_to_fin_wait_with_the_clients_fin() {
        assert_eq!(
            next(Direction::IN_ONLY, flag::FIN | flag::ACK, ES, false),
            FW
        );
        assert_eq!(next(Direction::IN, flag::FIN | flag::ACK, ES, false), CW);
    }

    #[test]
    fn under_secure_tcp_only_the_real_servers_answer_establishes() {
        let secure = |direction, flags, state| next(direction, flags, state, true);
        assert_eq!(secure(Direction::IN, flag::ACK, SR), SR);
        assert_eq!(secure(Direction::OUT, flag::SYN | flag::ACK, SR), SA);
        assert_eq!(secure(Direction::IN, flag::ACK, SA), SA);
        assert_eq!(secure(Direction::OUT, flag::ACK, SA), ES);
        assert_eq!(secure(Direction::IN_ONLY, flag::SYN, NO), SA);
        assert_eq!(secure(Direction::IN_ONLY, flag::ACK, SA), ES);
    }
}
