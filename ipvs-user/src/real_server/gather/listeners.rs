//! Where sockets wait for somebody (`/proc/net/tcp` and its like).

use std::{
    collections::BTreeSet,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use anyhow::{Context as _, Result};

/// The state of a socket that listens, and of one of UDP that is not connected.
const FILES: [(&str, &str); 4] = [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")];

pub(super) fn read() -> Result<BTreeSet<SocketAddr>> {
    let mut all = BTreeSet::new();
    for (file, state) in FILES {
        let path = format!("/proc/thread-self/net/{file}");
        match fs::read_to_string(&path) {
            Ok(text) => all.extend(parse(&text, state)),
            // A kernel without IPv6.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e).context(path),
        }
    }
    Ok(all)
}

fn parse(text: &str, state: &str) -> Vec<SocketAddr> {
    let lines = text.lines().skip(1);
    let sockets = lines.filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (local, _, is) = (words.next()?, words.next()?, words.next()?);
        (is == state).then(|| address(local)).flatten()
    });
    sockets.collect()
}

/// `0500000A:0019`: words of the address as this machine has them in memory.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| -> Option<[u8; 4]> {
        let word = u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let ip: IpAddr = if ip.len() == 8 {
        Ipv4Addr::from(word(0)?).into()
    } else {
        let bytes = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
        let bytes: [u8; 16] = bytes.try_into().ok()?;
        Ipv6Addr::from(bytes).to_canonical()
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn sockets_that_wait_are_read_and_no_others() {
        let text = "  sl  local_address rem_address   st tx_queue\n\
             0: 0500000A:0019 00000000:0000 0A 00000000:00000000\n\
             1: 0100007F:0050 0100007F:1F90 01 00000000:00000000\n";
        assert_eq!(parse(text, "0A"), ["10.0.0.5:25".parse().unwrap()]);
        let six = "  sl  local_address\n\
             0: B80D0120000000000000000005000000:0050 0:0 0A\n\
             1: 00000000000000000000000000000000:0051 0:0 0A\n";
        let found = parse(six, "0A");
        assert_eq!(found[0], "[2001:db8::5]:80".parse().unwrap());
        assert_eq!(found[1], "[::]:81".parse().unwrap());
    }

    #[test]
    fn the_socket_of_this_test_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(read().unwrap().contains(&listener.local_addr().unwrap()));
    }
}
