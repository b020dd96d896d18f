//! Connection states, with the kernel's numbers (`IP_VS_TCP_S_*`), and their names in `ipvsadm -Lc`.

/// State of a connection. 0 to 10 are TCP's; UDP has one of its own, as has a template that proved itself.
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
}

impl State {
    /// Slots in a per-state table; a power of two, so that an index can be masked instead of checked.
    pub const SLOTS: usize = 16;

    pub const ALL: [Self; 12] = [
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
    ];

    #[must_use]
    pub fn from_number(n: u8) -> Option<Self> {
        Self::ALL.get(usize::from(n)).copied()
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Established => "ESTABLISHED",
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
        }
    }

    const ACTIVE: u32 =
        Self::Established.bit() | Self::SynSent.bit() | Self::SynRecv.bit() | Self::SynAck.bit();

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

    /// Default timeout in seconds.
    #[must_use]
    pub const fn default_timeout(self) -> u32 {
        match self {
            Self::None => 2,
            Self::Established => 900,
            Self::SynRecv | Self::CloseWait => 60,
            Self::SynSent | Self::FinWait | Self::TimeWait | Self::Listen | Self::SynAck => 120,
            Self::Close => 10,
            Self::LastAck => 30,
            Self::Udp => 300,
        }
    }
}
