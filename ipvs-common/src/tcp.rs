//! Connection states, and their names in `ipvsadm -Lc`. TCP's have the kernel's numbers (`IP_VS_TCP_S_*`), SCTP's the kernel's
//! (`IP_VS_SCTP_S_*`) and [`State::OF_SCTP`].

/// State of a connection. 0 to 10 are TCP's; UDP has one of its own, as has a template that proved itself. SCTP begins with
/// [`State::None`], too.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    None = 0,
    Established = 1,
    SynSent = 2,
    SynRecv = 3,
    FinWait = 4,
    TimeWait = 5,
    Close = 6,
    CloseWait = 7,
    LastAck = 8,
    Listen = 9,
    SynAck = 10,
    Udp = 11,
    SctpInit1 = 17,
    SctpInit = 18,
    SctpCookieSent = 19,
    SctpCookieReplied = 20,
    SctpCookieWait = 21,
    SctpCookie = 22,
    SctpCookieEchoed = 23,
    SctpEstablished = 24,
    SctpShutdownSent = 25,
    SctpShutdownReceived = 26,
    SctpShutdownAckSent = 27,
    SctpRejected = 28,
    SctpClosed = 29,
}

impl State {
    /// Slots in a per-state table; a power of two, so that an index can be masked instead of checked.
    pub const SLOTS: usize = 32;

    /// What a state of SCTP has more than the kernel's number.
    pub const OF_SCTP: u8 = 16;

    pub const ALL: [Self; 25] = [
        Self::None,
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait,
        Self::TimeWait,
        Self::Close,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::SynAck,
        Self::Udp,
        Self::SctpInit1,
        Self::SctpInit,
        Self::SctpCookieSent,
        Self::SctpCookieReplied,
        Self::SctpCookieWait,
        Self::SctpCookie,
        Self::SctpCookieEchoed,
        Self::SctpEstablished,
        Self::SctpShutdownSent,
        Self::SctpShutdownReceived,
        Self::SctpShutdownAckSent,
        Self::SctpRejected,
        Self::SctpClosed,
    ];

    #[must_use]
    pub fn from_number(n: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as u8 == n)
    }

    /// The state of SCTP with the kernel's number.
    #[must_use]
    pub fn of_sctp(n: u8) -> Option<Self> {
        match n {
            0 => Some(Self::None),
            1..=13 => Self::from_number(n + Self::OF_SCTP),
            _ => None,
        }
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Established | Self::SctpEstablished => "ESTABLISHED",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::FinWait => "FIN_WAIT",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::Listen => "LISTEN",
            Self::SynAck => "SYNACK",
            Self::Udp => "UDP",
            Self::SctpInit1 => "INIT1",
            Self::SctpInit => "INIT",
            Self::SctpCookieSent => "C-SENT",
            Self::SctpCookieReplied => "C-REPLIED",
            Self::SctpCookieWait => "C-WAIT",
            Self::SctpCookie => "COOKIE",
            Self::SctpCookieEchoed => "C-ECHOED",
            Self::SctpShutdownSent => "S-SENT",
            Self::SctpShutdownReceived => "S-RECEIVED",
            Self::SctpShutdownAckSent => "S-ACK-SENT",
            Self::SctpRejected => "REJECTED",
            Self::SctpClosed => "CLOSED",
        }
    }

    const ACTIVE: u32 = Self::Established.bit()
        | Self::SynSent.bit()
        | Self::SynRecv.bit()
        | Self::SynAck.bit()
        | Self::SctpEstablished.bit();

    /// Whether a connection in this state counts as active; all others count as inactive.
    #[must_use]
    #[inline(always)]
    pub const fn is_active(number: u8) -> bool {
        Self::is_in(number, Self::ACTIVE)
    }

    /// The bit of a state in a set of them.
    #[must_use]
    pub const fn bit(self) -> u32 {
        1 << self as u8
    }

    /// Whether a state's number is that of one in a set of [`Self::bit`]s: without a comparison for each, of which the verifier
    /// would remember the outcome for all that follows.
    #[must_use]
    #[inline(always)]
    pub const fn is_in(number: u8, set: u32) -> bool {
        set.wrapping_shr(number as u32) & 1 != 0
    }

    const ESTABLISHED: u32 = Self::Established.bit() | Self::SctpEstablished.bit();

    /// Whether a connection in this state is established, and its template proved itself.
    #[must_use]
    #[inline(always)]
    pub const fn is_established(number: u8) -> bool {
        Self::is_in(number, Self::ESTABLISHED)
    }

    /// Default timeout in seconds.
    #[must_use]
    pub const fn default_timeout(self) -> u32 {
        match self {
            Self::None => 2,
            Self::Established | Self::SctpEstablished => 900,
            Self::SynRecv | Self::CloseWait => 60,
            Self::SynSent | Self::FinWait | Self::TimeWait | Self::Listen | Self::SynAck => 120,
            Self::Close => 10,
            Self::LastAck => 30,
            Self::Udp => 300,
            Self::SctpInit1 | Self::SctpRejected => 4,
            Self::SctpInit
            | Self::SctpCookieSent
            | Self::SctpCookieReplied
            | Self::SctpCookieWait
            | Self::SctpCookie
            | Self::SctpCookieEchoed
            | Self::SctpShutdownSent
            | Self::SctpShutdownReceived
            | Self::SctpShutdownAckSent
            | Self::SctpClosed => 61,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_sctp_have_the_kernels_numbers() {
        assert_eq!(State::of_sctp(0), Some(State::None));
        assert_eq!(State::of_sctp(1), Some(State::SctpInit1));
        assert_eq!(State::of_sctp(8), Some(State::SctpEstablished));
        assert_eq!(State::of_sctp(13), Some(State::SctpClosed));
        assert_eq!(State::of_sctp(14), None);
    }

    #[test]
    fn every_state_has_a_slot_of_its_own() {
        for state in State::ALL {
            assert!((state as usize) < State::SLOTS);
            assert_eq!(State::from_number(state as u8), Some(state));
        }
    }
}
