//! The TCP state machine of ip_vs: what a segment does to a connection, by who sent it.

use ipvs_common::State;

use crate::parse::flag;

/// Who sent a segment, and who can be seen at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Direction {
    /// The client, on a connection whose replies pass the director.
    In = 0,
    /// The real server.
    Out = 1,
    /// The client, on a connection whose replies do not pass the director.
    InOnly = 2,
}

/// RST before SYN before FIN before ACK; a segment with none of them closes.
const SYN: usize = 0;
const FIN: usize = 1;
const ACK: usize = 2;
const RST: usize = 3;

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

/// Directions.
const DIRECTIONS: usize = 3;
/// Events.
const EVENTS: usize = 4;
/// States, and none.
const COLUMNS: usize = 16;

/// Next state by direction and event (rows: SYN, FIN, ACK, RST of each direction) and by the state before (columns NO ES SS SR FW
/// TW CL CW LA LI SA, padded). The second half is in force under `secure_tcp`: an entry is established by the real server's ACK
/// alone, or where that is not seen by the client's second one.
#[rustfmt::skip]
static NEXT: [[u8; COLUMNS]; 2 * DIRECTIONS * EVENTS] = [
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

/// The state after a segment with these flags.
#[must_use]
#[inline(always)]
pub fn next(direction: Direction, flags: u8, state: u8, secure: bool) -> u8 {
    let event = if flags & flag::RST != 0 {
        RST
    } else if flags & flag::SYN != 0 {
        SYN
    } else if flags & flag::FIN != 0 {
        FIN
    } else if flags & flag::ACK != 0 {
        ACK
    } else {
        return CL;
    };
    let block = direction as usize + if secure { DIRECTIONS } else { 0 };
    let row = block * EVENTS + event;
    NEXT.get(row)
        .and_then(|r| r.get(usize::from(state) & (COLUMNS - 1)))
        .copied()
        .unwrap_or(CL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_reset_in_syn_recv_keeps_the_connection() {
        assert_eq!(next(Direction::In, flag::RST, SR, false), SR);
        assert_eq!(next(Direction::InOnly, flag::RST, SR, false), SR);
        assert_eq!(next(Direction::Out, flag::RST, SR, false), CL);
    }

    #[test]
    fn segment_without_flags_closes() {
        assert_eq!(next(Direction::In, 0, ES, false), CL);
    }

    #[test]
    fn one_way_connection_goes_to_fin_wait_with_the_clients_fin() {
        assert_eq!(
            next(Direction::InOnly, flag::FIN | flag::ACK, ES, false),
            FW
        );
        assert_eq!(next(Direction::In, flag::FIN | flag::ACK, ES, false), CW);
    }

    #[test]
    fn under_secure_tcp_only_the_real_servers_answer_establishes() {
        let secure = |direction, flags, state| next(direction, flags, state, true);
        assert_eq!(secure(Direction::In, flag::ACK, SR), SR);
        assert_eq!(secure(Direction::Out, flag::SYN | flag::ACK, SR), SA);
        assert_eq!(secure(Direction::In, flag::ACK, SA), SA);
        assert_eq!(secure(Direction::Out, flag::ACK, SA), ES);
        assert_eq!(secure(Direction::InOnly, flag::SYN, NO), SA);
        assert_eq!(secure(Direction::InOnly, flag::ACK, SA), ES);
    }
}
