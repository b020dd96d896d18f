//! Listings of ipvsadm: compared with the recorded ones, but for what cannot be reproduced: the order of connections and
//! of services without sorting, a second of an expiry, and that the kernel is late.
//!
//! Its timers fire up to an eighth of their time late, so that it lists a connection with no time to go for a while. Here
//! such a one may be gone.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4},
};

use ipvs_user::proc::File;

/// Seconds that an expiry may be off.
const SLACK: u64 = 1;
/// How a listing ends that was too long to be kept whole.
const CUT: &str = "...truncated\n";

/// A connection as it is listed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Row {
    pub(super) proto: String,
    pub(super) state: String,
    /// Seconds to go.
    pub(super) left: u64,
    pub(super) client: SocketAddrV4,
    pub(super) virt: SocketAddrV4,
    pub(super) real: SocketAddrV4,
}

/// The connections of a listing over IPv4, in numbers.
pub(super) fn rows(listing: &str) -> Vec<Row> {
    listing.lines().skip(2).filter_map(row).collect()
}

fn row(line: &str) -> Option<Row> {
    let [proto, left, state, client, virt, real, ..] =
        line.split_whitespace().collect::<Vec<_>>()[..]
    else {
        return None;
    };
    Some(Row {
        proto: proto.to_owned(),
        state: state.to_owned(),
        left: seconds(left)?,
        client: client.parse().ok()?,
        virt: virt.parse().ok()?,
        real: real.parse().ok()?,
    })
}

impl Row {
    /// Whether it stands for connections to come.
    pub(super) fn is_template(&self) -> bool {
        self.client.port() == 0 || self.client.ip() == &Ipv4Addr::UNSPECIFIED
    }
}

pub(super) fn is_whole(listing: &str) -> bool {
    !listing.ends_with(CUT)
}

/// Whether a command lists connections.
pub(super) fn is_of_connections(command: &str) -> bool {
    let mut words = command.split_whitespace().skip(1);
    words.any(|w| {
        w == "--connection" || (w.starts_with('-') && !w.starts_with("--") && w.contains('c'))
    })
}

/// The file of ip_vs that a command prints.
pub(super) fn proc_file(command: &str) -> Option<File> {
    match command.strip_prefix("cat /proc/net/")? {
        "ip_vs" => Some(File::IpVs),
        "ip_vs_conn" => Some(File::IpVsConn),
        "ip_vs_stats" => Some(File::IpVsStats),
        _ => None,
    }
}

pub(super) fn same(command: &str, expected: &str, printed: &str) -> bool {
    if is_of_connections(command) {
        same_connections(expected, printed, LIST)
    } else if proc_file(command) == Some(File::IpVsConn) {
        same_connections(expected, printed, PROC)
    } else if command.contains("--nosort") || proc_file(command) == Some(File::IpVs) {
        blocks(expected) == blocks(printed)
    } else {
        expected == printed
    }
}

/// Whether a time to go is the same as `left`, as it is told in a listing.
pub(super) fn is_close(told: &str, left: u64) -> bool {
    seconds(told).is_some_and(|s| s.abs_diff(left) <= SLACK)
}

/// The title, and each service with its real servers, in an order of their own.
fn blocks(listing: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    let titles = listing.lines().take(3);
    blocks.extend(titles.map(str::to_owned));
    let mut services: Vec<String> = Vec::new();
    for line in listing.lines().skip(3) {
        match services.last_mut() {
            Some(block) if line.starts_with("  ->") => {
                block.push('\n');
                block.push_str(line);
            }
            Some(_) | None => services.push(line.to_owned()),
        }
    }
    services.sort();
    blocks.extend(services);
    blocks
}

/// Where a list of connections has what: its lines of title, and the column of the time to go.
#[derive(Clone, Copy)]
struct Layout {
    titles: usize,
    time: usize,
}

const LIST: Layout = Layout { titles: 2, time: 1 };
const PROC: Layout = Layout { titles: 1, time: 8 };

fn same_connections(expected: &str, printed: &str, layout: Layout) -> bool {
    let kept = expected.strip_suffix(CUT);
    // The last line may have been cut as well.
    let whole_lines = kept.and_then(|k| k.rsplit_once('\n')).map(|(k, _)| k);
    let (Some((titles, a)), Some((own_titles, b))) = (
        connections(whole_lines.unwrap_or(expected), layout),
        connections(printed, layout),
    ) else {
        return false;
    };
    let is_there = |row: &Vec<&str>, times: &Vec<u64>| match b.get(row) {
        Some(own) => close(times, own),
        None => times.iter().all(|left| *left == 0),
    };
    titles == own_titles
        && a.iter().all(|(row, times)| is_there(row, times))
        && (kept.is_some() || b.keys().all(|row| a.contains_key(row)))
}

fn close(a: &[u64], b: &[u64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.abs_diff(*b) <= SLACK)
}

/// The lines of title, and the seconds to go by what else a row says.
type Connections<'a> = (Vec<&'a str>, BTreeMap<Vec<&'a str>, Vec<u64>>);

fn connections(listing: &str, layout: Layout) -> Option<Connections<'_>> {
    let mut rows: BTreeMap<Vec<&str>, Vec<u64>> = BTreeMap::new();
    for line in listing.lines().skip(layout.titles) {
        let mut words: Vec<_> = line.split_whitespace().collect();
        if words.len() < 6.max(layout.time + 1) {
            return None;
        }
        let left = seconds(words.remove(layout.time))?;
        rows.entry(words).or_default().push(left);
    }
    for times in rows.values_mut() {
        times.sort_unstable();
    }
    Some((listing.lines().take(layout.titles).collect(), rows))
}

fn seconds(told: &str) -> Option<u64> {
    let (minutes, seconds) = told.split_once(':').unwrap_or(("0", told));
    Some(minutes.parse::<u64>().ok()? * 60 + seconds.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TITLES: &str = "IPVS connection entries\npro expire state source virtual destination\n";

    #[test]
    fn connections_of_a_file_are_compared_alike() {
        let listing = |left: &str| {
            format!("Pro FromIP\nTCP C6336401 9C40 CB00710A 0050 0A00020A 0050 SYN_RECV {left}\n")
        };
        let same = |x, y| same("cat /proc/net/ip_vs_conn", &listing(x), &listing(y));
        assert!(same("57", "58"));
        assert!(!same("57", "59"));
    }

    #[test]
    fn connections_are_compared_without_order_and_to_the_second() {
        let listing = |rows: &[&str]| format!("{TITLES}{}\n", rows.join("\n"));
        let a = "TCP 00:59  SYN_RECV    1.2.3.4:5 6.7.8.9:80 10.0.1.10:80";
        let later = "TCP 01:00  SYN_RECV    1.2.3.4:5 6.7.8.9:80 10.0.1.10:80";
        let much_later = "TCP 01:01  SYN_RECV    1.2.3.4:5 6.7.8.9:80 10.0.1.10:80";
        let b = "UDP 04:59  UDP    1.2.3.4:6 6.7.8.9:80 10.0.1.10:80";
        let same = |x: &str, y: &str| same("ipvsadm -Lnc", x, y);
        assert!(same(&listing(&[a, b]), &listing(&[b, later])));
        assert!(!same(&listing(&[a, b]), &listing(&[b, much_later])));
        assert!(!same(&listing(&[a]), &listing(&[a, b])));
        let over = "UDP 00:00  UDP    1.2.3.4:6 6.7.8.9:80 10.0.1.10:80";
        assert!(same(&listing(&[a, over]), &listing(&[a])));
        assert!(!same(&listing(&[a]), &listing(&[a, over])));
        let cut = format!("{TITLES}{a}\nUDP 04:5...truncated\n");
        assert!(same(&cut, &listing(&[b, a])));
        assert!(!same(&cut, &listing(&[b])));
    }
}
