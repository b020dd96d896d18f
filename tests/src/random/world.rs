//! The services of the random packets: every scheduler, every method, persistence of every kind, thresholds, and real servers
//! that are local, unresolved, quiesced or missing.

use std::net::{Ipv4Addr, SocketAddrV4};

use fastrand::Rng;
use ipvs_common::Proto;

/// Firewall marks by link.
pub const LINK_MARKS: [u32; 4] = [0, 0, 0, 7];

/// Indices of real servers that are in use at most.
pub const DESTS: u32 = 40;

/// The configuration, as lines of ipvsadm.
pub const COMMANDS: [&str; 37] = [
    "ipvsadm -A -t 203.0.113.10:80 -s rr",
    "ipvsadm -a -t 203.0.113.10:80 -r 10.0.1.10:8080 -m",
    "ipvsadm -a -t 203.0.113.10:80 -r 10.0.2.10:8080 -m -w 2",
    "ipvsadm -a -t 203.0.113.10:80 -r 10.0.3.10:80 -m",
    "ipvsadm -A -t 203.0.113.10:25 -s wlc",
    "ipvsadm -a -t 203.0.113.10:25 -r 10.0.1.11 -g",
    "ipvsadm -a -t 203.0.113.10:25 -r 10.0.2.11 -g -w 3",
    "ipvsadm -a -t 203.0.113.10:25 -r 10.0.3.11 -i -w 2",
    "ipvsadm -A -t 203.0.113.11:80 -s lblc",
    "ipvsadm -a -t 203.0.113.11:80 -r 10.0.1.12 -i -w 5",
    "ipvsadm -a -t 203.0.113.11:80 -r 10.0.2.12 -i -w 7",
    "ipvsadm -a -t 203.0.113.11:80 -r 10.0.2.13 -g -w 9",
    "ipvsadm -A -u 203.0.113.10:53 -s rr",
    "ipvsadm -a -u 203.0.113.10:53 -r 10.0.1.13:5353 -m",
    "ipvsadm -a -u 203.0.113.10:53 -r 10.0.3.13:53 -m",
    "ipvsadm -A -u 203.0.113.10:54 -s wlc",
    "ipvsadm -a -u 203.0.113.10:54 -r 10.0.1.14 -i",
    "ipvsadm -a -u 203.0.113.10:54 -r 10.0.2.14 -g",
    "ipvsadm -A -u 203.0.113.12:0 -s rr -p 60",
    "ipvsadm -a -u 203.0.113.12:0 -r 10.0.1.15:0 -m",
    "ipvsadm -a -u 203.0.113.12:0 -r 10.0.2.15:0 -g",
    "ipvsadm -A -t 203.0.113.12:443 -s wlc -p 30 -M 255.255.255.0",
    "ipvsadm -a -t 203.0.113.12:443 -r 10.0.1.16:8443 -m",
    "ipvsadm -a -t 203.0.113.12:443 -r 10.0.2.16:443 -g",
    "ipvsadm -A -t 203.0.113.13:80 -s wlc",
    "ipvsadm -a -t 203.0.113.13:80 -r 10.0.1.17:80 -m -x 20 -y 10",
    "ipvsadm -a -t 203.0.113.13:80 -r 10.0.2.17:80 -g -x 30",
    "ipvsadm -A -t 203.0.113.14:80 -s rr",
    "ipvsadm -A -t 203.0.113.15:80 -s rr",
    "ipvsadm -a -t 203.0.113.15:80 -r 192.0.2.1:8081 -m",
    "ipvsadm -a -t 203.0.113.15:80 -r 10.0.1.77:80 -m",
    "ipvsadm -a -t 203.0.113.15:80 -r 10.0.1.78:80 -g",
    "ipvsadm -a -t 203.0.113.15:80 -r 10.0.1.18:80 -g -w 0",
    "ipvsadm -A -f 7 -s lblc -p 20",
    "ipvsadm -a -f 7 -r 10.0.1.19 -g -w 4",
    "ipvsadm -a -f 7 -r 10.0.2.19 -i -w 4",
    "ipvsadm -a -f 7 -r 10.0.2.18:99 -m -w 4",
];

/// Where a client sends: mostly to a service.
pub(super) fn virtual_address(rng: &mut Rng) -> (Proto, SocketAddrV4) {
    const TCP: [(u8, u16); 8] = [
        (10, 80),
        (10, 25),
        (11, 80),
        (12, 443),
        (13, 80),
        (14, 80),
        (15, 80),
        (10, 81),
    ];
    const UDP: [(u8, u16); 5] = [(10, 53), (10, 54), (12, 1), (12, 2), (11, 9)];
    let (proto, of) = if rng.u8(..3) == 0 {
        (Proto::Udp, &UDP[..])
    } else {
        (Proto::Tcp, &TCP[..])
    };
    let (last, port) = of[rng.usize(..of.len())];
    let last = if rng.u8(..64) == 0 { rng.u8(..) } else { last };
    (
        proto,
        SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, last), port),
    )
}

/// A change in the middle of the traffic. Many are refused, for what they add is there, or what they change is not.
pub fn random_command(rng: &mut Rng) -> String {
    let real_servers: Vec<_> = COMMANDS.iter().filter(|c| c.contains(" -a ")).collect();
    let line = real_servers[rng.usize(..real_servers.len())];
    let (head, _) = line.split_once(" -r ").unwrap_or((line, ""));
    let (_, real) = line.split_once(" -r ").unwrap_or(("", line));
    let real = real.split(' ').next().unwrap_or_default();
    let service = head.replace("ipvsadm -a ", "");
    match rng.u8(..10) {
        0..3 => format!("ipvsadm -d {service} -r {real}"),
        3..7 => (*line).to_owned(),
        7 => format!(
            "{} -w 0",
            line.replace(" -a ", " -e ").replace(" -w ", " -x ")
        ),
        8 => line.replace(" -a ", " -e "),
        _ => {
            let scheduler = ["rr", "wlc", "lblc"][rng.usize(..3)];
            let persistent = if service.contains(":0") { " -p 60" } else { "" };
            format!("ipvsadm -E {service} -s {scheduler}{persistent}")
        }
    }
}
