//! Where a run of a scenario takes place: addresses that no other run of this boot has. Knows the numbering plan of the
//! oracle's networks, and nothing of interfaces.

use std::net::{Ipv4Addr, SocketAddrV4};

use ipvs_common::Mac;

/// Real servers: so many links of so many.
pub(super) const REAL_LINKS: u8 = 2;
pub(super) const REALS_PER_LINK: u8 = 10;
const FIRST_HOST: u8 = 10;
/// What addresses begin with; the number of the run follows.
const CLIENTS: u8 = 100;
const VIRTUAL: u8 = 203;
const FIRST_VIP: u8 = 10;
/// Virtual addresses of all runs, as a route.
pub(super) const VIPS: &str = "203.0.0.0/8";

/// The addresses of one run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place(u16);

impl Place {
    pub(super) const fn new(number: u16) -> Self {
        Self(number)
    }

    pub(super) const fn client(self, index: u8) -> Ipv4Addr {
        let [high, low] = self.0.to_be_bytes();
        Ipv4Addr::new(CLIENTS, high, low, index)
    }

    pub(super) const fn vip(self, index: u8) -> Ipv4Addr {
        let [high, low] = self.0.to_be_bytes();
        Ipv4Addr::new(VIRTUAL, high, low, FIRST_VIP + index)
    }

    /// A command with its addresses put in.
    pub(super) fn command(self, template: &str) -> String {
        let words = template.split(' ').map(|word| {
            if let Some((index, rest)) = numbered(word, "VIP") {
                format!("{}{rest}", self.vip(index))
            } else if let Some((index, rest)) = numbered(word, "REAL") {
                format!("{}{rest}", real(index))
            } else {
                word.to_owned()
            }
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// Whether a frame is of this run, or about one that is.
    pub(super) fn is_in(self, frame: &[u8]) -> bool {
        let [high, low] = self.0.to_be_bytes();
        let mut parts = frame.windows(3);
        parts.any(|part| part == [CLIENTS, high, low] || part == [VIRTUAL, high, low])
    }

    /// Whether a line of a listing tells of this run. Lines about nobody's connections do.
    pub(super) fn concerns(self, line: &str) -> bool {
        let [high, low] = self.0.to_be_bytes();
        line.contains(&format!(" {CLIENTS}.{high}.{low}."))
    }
}

/// Real servers are the same in all runs: alternating between the links.
pub(super) const fn real(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(
        10,
        0,
        index % REAL_LINKS + 1,
        FIRST_HOST + index / REAL_LINKS,
    )
}

pub(super) const fn real_mac(address: Ipv4Addr) -> Mac {
    let [_, _, link, host] = address.octets();
    [2, 0, 0, 1, link, host]
}

/// The link of a real server, from 0.
pub(super) const fn real_link(address: SocketAddrV4) -> u8 {
    address.ip().octets()[2].saturating_sub(1)
}

/// `VIP3:80` is 3 and `:80`.
fn numbered<'a>(word: &'a str, name: &str) -> Option<(u8, &'a str)> {
    let rest = word.strip_prefix(name)?;
    let end = rest.find(|c: char| !c.is_ascii_digit());
    let (number, rest) = rest.split_at(end.unwrap_or(rest.len()));
    Some((number.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_get_the_addresses_of_their_run() {
        let command = Place::new(0x0102).command("-a -t VIP1:80 -r REAL3:81 -m");
        assert_eq!(command, "-a -t 203.1.2.11:80 -r 10.0.2.11:81 -m");
    }

    #[test]
    fn frames_of_other_runs_are_not_of_this_one() {
        let frame = [0, 0, 203, 1, 2, 10, 0];
        assert!(Place::new(0x0102).is_in(&frame));
        assert!(!Place::new(0x0103).is_in(&frame));
    }

    #[test]
    fn lines_of_other_runs_do_not_concern_this_one() {
        let line = "TCP 00:58  SYN_RECV    100.1.2.3:4000 203.1.2.10:80 10.0.1.10:80";
        assert!(Place::new(0x0102).concerns(line));
        assert!(!Place::new(0x0103).concerns(line));
    }
}
