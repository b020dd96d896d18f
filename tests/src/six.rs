//! The IPv6 twin of everything that the tests know by an IPv4 address: packets, commands, networks.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Networks of 24 bits become such of 64.
pub const PREFIX: u8 = 64;
/// A mask of 24 bits in commands, and what takes its place.
const MASK: (&str, &str) = ("255.255.255.0", "64");

/// The twin of an address.
#[must_use]
pub const fn six(v4: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = v4.octets();
    let ab = u16::from_be_bytes([a, b]);
    Ipv6Addr::new(0x2001, 0xdb8, ab, c as u16, 0, 0, 0, d as u16)
}

/// Whose twin it is.
#[must_use]
pub const fn four(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let [0x2001, 0xdb8, ab, c @ ..=255, 0, 0, 0, d @ ..=255] = v6.segments() else {
        return None;
    };
    let [a, b] = ab.to_be_bytes();
    Some(Ipv4Addr::new(a, b, c as u8, d as u8))
}

/// Before an address in a command: of the other family.
const OTHER: char = '~';

/// A line of ipvsadm for services of IPv4.
#[must_use]
pub fn command_of_four(line: &str) -> String {
    let word = |word: &str| {
        let other = word.strip_prefix(OTHER).and_then(twin);
        other.unwrap_or_else(|| word.to_owned())
    };
    let words: Vec<_> = line.split(' ').map(word).collect();
    words.join(" ")
}

/// The twin of an address, perhaps with a port.
fn twin(word: &str) -> Option<String> {
    let (address, port) = word.split_once(':').unwrap_or((word, ""));
    let address = six(address.parse::<Ipv4Addr>().ok()?);
    Some(if port.is_empty() {
        address.to_string()
    } else {
        format!("[{address}]:{port}")
    })
}

/// The twin of a line of ipvsadm.
#[must_use]
pub fn command(line: &str) -> String {
    let word = |word: &str| {
        if word == MASK.0 {
            return MASK.1.to_owned();
        }
        if let Some(other) = word.strip_prefix(OTHER) {
            return other.to_owned();
        }
        twin(word).unwrap_or_else(|| word.to_owned())
    };
    let mut words: Vec<_> = line.split(' ').map(word).collect();
    if let Some(mark) = words.iter().position(|w| w == "-f") {
        words.insert(mark + 2, "-6".to_owned());
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twins_are_found_again() {
        let v4 = Ipv4Addr::new(203, 0, 113, 10);
        assert_eq!(six(v4).to_string(), "2001:db8:cb00:71::a");
        assert_eq!(four(six(v4)), Some(v4));
        assert_eq!(four(Ipv6Addr::LOCALHOST), None);
    }

    #[test]
    fn a_command_has_a_twin() {
        assert_eq!(
            command("ipvsadm -a -t 203.0.113.10:80 -r 10.0.1.10 -g -w 3"),
            "ipvsadm -a -t [2001:db8:cb00:71::a]:80 -r 2001:db8:a00:1::a -g -w 3"
        );
        assert_eq!(command("ipvsadm -A -f 7 -s rr"), "ipvsadm -A -f 7 -6 -s rr");
        assert_eq!(
            command("ipvsadm -A -t 1.2.3.4:80 -p 30 -M 255.255.255.0"),
            "ipvsadm -A -t [2001:db8:102:3::4]:80 -p 30 -M 64"
        );
        let other = "ipvsadm -a -f 7 -r ~10.0.1.10:80 -i";
        assert_eq!(command(other), "ipvsadm -a -f 7 -6 -r 10.0.1.10:80 -i");
        assert_eq!(
            command_of_four(other),
            "ipvsadm -a -f 7 -r [2001:db8:a00:1::a]:80 -i"
        );
    }
}
