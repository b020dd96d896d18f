//! What a receiver's kernel counted as broken (`/proc/net/snmp`).

use std::fs;

use anyhow::{Context as _, Result};

use super::Netns;

/// Packets that a stack refused to take. A new namespace starts at zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Refused {
    pub tcp_checksum: u64,
    pub udp_checksum: u64,
    pub icmp_checksum: u64,
    pub ip_header: u64,
}

impl Refused {
    pub fn by(netns: &Netns) -> Result<Self> {
        // Not `/proc/net`: that is the namespace of the process's first thread.
        let text = netns.enter(|| fs::read_to_string("/proc/thread-self/net/snmp"));
        let text = text.with_context(|| format!("counters of {}", netns.name()))?;
        let get = |protocol, name| counter(&text, protocol, name);
        Ok(Self {
            tcp_checksum: get("Tcp", "InCsumErrors")?,
            udp_checksum: get("Udp", "InCsumErrors")?,
            icmp_checksum: get("Icmp", "InCsumErrors")?,
            ip_header: get("Ip", "InHdrErrors")?,
        })
    }
}

/// The file has two lines to a protocol: names, and values in the same order.
fn counter(text: &str, protocol: &str, name: &str) -> Result<u64> {
    let mut lines = text.lines().filter_map(|line| {
        let (head, rest) = line.split_once(": ")?;
        (head == protocol).then_some(rest)
    });
    let found = lines.next().zip(lines.next()).and_then(|(names, values)| {
        let at = names.split(' ').position(|n| n == name)?;
        values.split(' ').nth(at)?.parse().ok()
    });
    found.with_context(|| format!("no counter {protocol} {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counter_is_the_value_below_its_name() {
        let text = "Ip: Forwarding InHdrErrors\nIp: 1 7\nTcp: MaxConn InCsumErrors\nTcp: -1 3\n";
        assert_eq!(counter(text, "Ip", "InHdrErrors").unwrap(), 7);
        assert_eq!(counter(text, "Tcp", "InCsumErrors").unwrap(), 3);
        assert!(counter(text, "Udp", "InCsumErrors").is_err());
    }
}
