//! Commands of `ip` that traces give, as far as the network of the traces knows what they mean.

use std::net::Ipv4Addr;

use ipvs_common::Mac;

use super::mac;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IpCommand {
    /// Packets with this mark are routed by this table.
    Rule { mark: u32, table: u32 },
    /// Everything routed by this table is the director's own.
    AllLocal { table: u32 },
    /// A neighbour that is always known, on the link of this name.
    Neighbour {
        addr: Ipv4Addr,
        mac: Mac,
        link: String,
    },
}

impl IpCommand {
    /// The arguments of `ip` on a line; `None`: not a line of `ip`.
    #[must_use]
    pub fn arguments(line: &str) -> Option<Vec<&str>> {
        let mut words = line.split_whitespace();
        let program = words.next()?;
        (program.rsplit('/').next() == Some("ip")).then(|| words.collect())
    }

    /// `None` for what nothing is known about.
    #[must_use]
    pub fn parse(arguments: &[&str]) -> Option<Self> {
        let number = |word: &str| word.parse().ok();
        Some(match arguments {
            ["rule", "add", "fwmark", mark, "lookup" | "table", table] => Self::Rule {
                mark: number(mark)?,
                table: number(table)?,
            },
            [
                "route",
                "add",
                "local",
                "default" | "0.0.0.0/0",
                "dev",
                "lo",
                "table",
                table,
            ] => Self::AllLocal {
                table: number(table)?,
            },
            [
                "neigh" | "neighbour",
                "add" | "replace",
                addr,
                "lladdr",
                lladdr,
                "dev",
                link,
                ..,
            ] => Self::Neighbour {
                addr: addr.parse().ok()?,
                mac: mac(lladdr)?,
                link: (*link).to_owned(),
            },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_ip_are_understood_and_others_refused() {
        let parse = |line| IpCommand::parse(&IpCommand::arguments(line)?);
        assert_eq!(
            parse("/usr/bin/ip rule add fwmark 1 lookup 100"),
            Some(IpCommand::Rule {
                mark: 1,
                table: 100
            })
        );
        assert_eq!(
            parse("ip route add local default dev lo table 100"),
            Some(IpCommand::AllLocal { table: 100 })
        );
        assert!(
            parse("ip neigh add 10.0.3.77 lladdr 02:00:00:01:03:4d dev r3 nud permanent").is_some()
        );
        assert_eq!(parse("ip link set c0 down"), None);
        assert_eq!(IpCommand::arguments("ipvsadm -Ln"), None);
    }
}
