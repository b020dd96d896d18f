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

/// Next state by direction and event (rows) and by the state before (columns NO ES SS SR FW TW CL CW LA LI SA, padded).
static NEXT: [[u8; State::SLOTS]; 12] = [
    [
        SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR, NO, NO, NO, NO, NO,
    ],
    [
        CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW, NO, NO, NO, NO, NO,
    ],
    [
        ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES, NO, NO, NO, NO, NO,
    ],
    [
        CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR, NO, NO, NO, NO, NO,
    ],
    [
        SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR, NO, NO, NO, NO, NO,
    ],
    [
        TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW, NO, NO, NO, NO, NO,
    ],
    [
        ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES, NO, NO, NO, NO, NO,
    ],
    [
        CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL, NO, NO, NO, NO, NO,
    ],
    [
        SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR, NO, NO, NO, NO, NO,
    ],
    [
        CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW, NO, NO, NO, NO, NO,
    ],
    [
        ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES, NO, NO, NO, NO, NO,
    ],
    [
        CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL, NO, NO, NO, NO, NO,
    ],
];

/// The state after a segment with these flags.
#[must_use]
#[inline(always)]
pub fn next(direction: Direction, flags: u8, state: u8) -> u8 {
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
    let row = direction as usize * 4 + event;
    NEXT.get(row)
        .and_then(|r| r.get(usize::from(state) & (State::SLOTS - 1)))
        .copied()
        .unwrap_or(CL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_reset_in_syn_recv_keeps_the_connection() {
        assert_eq!(next(Direction::In, flag::RST, SR), SR);
        assert_eq!(next(Direction::InOnly, flag::RST, SR), SR);
        assert_eq!(next(Direction::Out, flag::RST, SR), CL);
    }

    #[test]
    fn segment_without_flags_closes() {
        assert_eq!(next(Direction::In, 0, ES), CL);
    }

    #[test]
    fn one_way_connection_goes_to_fin_wait_with_the_clients_fin() {
        assert_eq!(next(Direction::InOnly, flag::FIN | flag::ACK, ES), FW);
        assert_eq!(next(Direction::In, flag::FIN | flag::ACK, ES), CW);
    }
}
