//! `drop_entry`: which connections make room when memory runs short. The rule is ip_vs's; how often it is asked, and about
//! which part of the table, is not decided here.

use ipvs_common::{Address, Conn, Settings, State};
use ipvs_datapath::expire::is_opening;

/// Of the idle connections with so many packets, one in so many goes; 0: none. More packets than these keep a connection.
const ONE_IN: [u8; Conn::MANY as usize] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
/// Seconds for which a connection must have been idle.
const IDLE: u64 = 60;

/// Counts the connections that were spared, by their packets.
#[derive(Debug, Default)]
pub(super) struct DropEntry([u8; ONE_IN.len()]);

impl DropEntry {
    /// Whether the connection of this client's entry goes.
    pub(super) fn picks<A: Address>(
        &mut self,
        conn: &Conn<A>,
        now: u64,
        settings: &Settings,
    ) -> bool {
        if is_opening(conn.status.state) {
            return true;
        }
        match State::from_number(conn.status.state) {
            Some(state @ (State::Established | State::Udp | State::SctpEstablished)) => {
                let timeout = settings.timeouts[state as usize];
                is_idle(conn, now, timeout.into(), settings.hz.into())
                    && self.turn_comes(conn.packets)
            }
            _ => false,
        }
    }

    fn turn_comes(&mut self, packets: u8) -> bool {
        let of_packets = usize::from(packets);
        let Some(one_in @ 1..) = ONE_IN.get(of_packets).copied() else {
            return false;
        };
        let spared = &mut self.0[of_packets];
        if let Some(left) = spared.checked_sub(1)
            && left > 0
        {
            *spared = left;
            return false;
        }
        *spared = one_in;
        true
    }
}

/// Whether the timer was last set a minute ago or earlier.
const fn is_idle<A: Address>(conn: &Conn<A>, now: u64, timeout: u64, hz: u64) -> bool {
    now + timeout >= conn.expires + IDLE * hz
}

#[cfg(test)]
mod tests {
    use ipvs_common::Status;

    use super::*;

    const NOW: u64 = 1_000_000;
    const HZ: u32 = 100;

    fn conn(state: State, packets: u8, idle: u64) -> Conn {
        let timeout = u64::from(Settings::with_hz(HZ).timeouts[state as usize]);
        Conn {
            expires: NOW + timeout - idle * u64::from(HZ),
            packets,
            status: Status {
                state: state as u8,
                ..Status::default()
            },
            ..Conn::default()
        }
    }

    fn picked(conns: impl IntoIterator<Item = Conn>) -> usize {
        let settings = Settings::with_hz(HZ);
        let mut defence = DropEntry::default();
        let conns = conns.into_iter();
        conns.filter(|c| defence.picks(c, NOW, &settings)).count()
    }

    #[test]
    fn connections_being_opened_go_however_young() {
        for state in [
            State::SynRecv,
            State::SynAck,
            State::SctpInit1,
            State::SctpInit,
        ] {
            assert_eq!(picked(vec![conn(state, 1, 0); 20]), 20, "{state:?}");
        }
    }

    #[test]
    fn connections_on_their_way_out_stay() {
        for state in State::ALL {
            let known = [
                State::SynRecv,
                State::SynAck,
                State::Established,
                State::Udp,
                State::SctpInit1,
                State::SctpInit,
                State::SctpEstablished,
            ];
            if !known.contains(&state) {
                assert_eq!(picked(vec![conn(state, 1, 0); 20]), 0, "{state:?}");
            }
        }
    }

    #[test]
    fn one_in_as_many_as_it_had_packets_goes() {
        for packets in 1..=8_u8 {
            let conns = vec![conn(State::Established, packets, 61); 8 * 840];
            assert_eq!(picked(conns), 8 * 840 / usize::from(packets), "{packets}");
        }
    }

    #[test]
    fn connections_with_many_packets_or_none_stay() {
        for packets in [0, Conn::MANY] {
            assert_eq!(picked(vec![conn(State::Udp, packets, 200); 50]), 0);
        }
    }

    #[test]
    fn connections_used_within_a_minute_stay() {
        assert_eq!(picked(vec![conn(State::Udp, 1, 59); 50]), 0);
        assert_eq!(picked(vec![conn(State::Udp, 1, 60); 50]), 50);
    }
}
