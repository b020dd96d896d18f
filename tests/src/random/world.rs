//! The services of the random packets: every scheduler, every method, persistence of every kind, thresholds, and real servers
//! that are local, unresolved, quiesced or missing.

use std::net::{Ipv4Addr, SocketAddrV4};

use fastrand::Rng;
use ipvs_common::{Proto, Scheduler};

/// Firewall marks by link.
pub const LINK_MARKS: [u32; 4] = [0, 0, 0, 7];

/// Indices of real servers that are in use at most.
pub const DESTS: u32 = 64;

/// The configuration, as lines of ipvsadm; `~` is before addresses of the other family.
pub const COMMANDS: [&str; 73] = [
    "ipvsadm -A -t 203.0.113.10:80 -s rr",
    "ipvsadm -a -t 203.0.113.10:80 -r 10.0.1.10:8080 -m",
    "ipvsadm -a -t 203.0.113.10:80 -r 10.0.2.10:8080 -m -w 2",
    "ipvsadm -a -t 203.0.113.10:80 -r 10.0.3.10:80 -m",
    "ipvsadm -A -t 203.0.113.10:25 -s wlc",
    "ipvsadm -a -t 203.0.113.10:25 -r 10.0.1.11 -g",
    "ipvsadm -a -t 203.0.113.10:25 -r 10.0.2.11 -g -w 3",
    "ipvsadm -a -t 203.0.113.10:25 -r 10.0.3.11 -i --tun-type gre -w 2",
    "ipvsadm -A -t 203.0.113.11:80 -s lblc",
    "ipvsadm -a -t 203.0.113.11:80 -r 10.0.1.12 -i --tun-type gue --tun-port 6080 -w 5",
    "ipvsadm -a -t 203.0.113.11:80 -r 10.0.2.12 -i -w 7",
    "ipvsadm -a -t 203.0.113.11:80 -r 10.0.2.13 -g -w 9",
    "ipvsadm -A -u 203.0.113.10:53 -s rr",
    "ipvsadm -a -u 203.0.113.10:53 -r 10.0.1.13:5353 -m",
    "ipvsadm -a -u 203.0.113.10:53 -r 10.0.3.13:53 -m",
    "ipvsadm -A -u 203.0.113.10:54 -s wlc",
    "ipvsadm -a -u 203.0.113.10:54 -r 10.0.1.14 -i --tun-type gue --tun-port 6081 --tun-csum",
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
    "ipvsadm -a -f 7 -r ~10.0.2.19 -i -w 4",
    "ipvsadm -a -f 7 -r 10.0.2.18:99 -m -w 4",
    "ipvsadm -A -f 8 -s lblcr",
    "ipvsadm -a -f 8 -r 10.0.1.18 -g -w 3",
    "ipvsadm -a -f 8 -r 10.0.2.14 -i -w 2",
    "ipvsadm -a -f 8 -r 10.0.3.12 -m",
    "ipvsadm -A -f 10 -s rr",
    "ipvsadm -A -t 203.0.113.16:80 -s mh -b mh-fallback,mh-port",
    "ipvsadm -a -t 203.0.113.16:80 -r 10.0.1.10:8080 -m -w 3",
    "ipvsadm -a -t 203.0.113.16:80 -r 10.0.2.10:8080 -m -x 12",
    "ipvsadm -a -t 203.0.113.16:80 -r 10.0.3.10:80 -g -w 9",
    "ipvsadm -A -t 203.0.113.17:80 -s sh -b sh-fallback",
    "ipvsadm -a -t 203.0.113.17:80 -r 10.0.1.11 -g -w 0",
    "ipvsadm -a -t 203.0.113.17:80 -r 10.0.2.11 -i --tun-type gre --tun-csum -w 2 -x 15 -y 3",
    "ipvsadm -a -t 203.0.113.17:80 -r 10.0.3.11 -g -w 2",
    "ipvsadm -A -t 203.0.113.18:80 -s lblcr",
    "ipvsadm -a -t 203.0.113.18:80 -r 10.0.1.12 -g -w 2",
    "ipvsadm -a -t 203.0.113.18:80 -r 10.0.2.12 -g -w 3 -x 25",
    "ipvsadm -a -t 203.0.113.18:80 -r ~10.0.2.13:80 -i --tun-type gue --tun-port 6080 --tun-remcsum -w 4",
    "ipvsadm -A -t 203.0.113.19:21 -s wrr -p 50",
    "ipvsadm -a -t 203.0.113.19:21 -r 10.0.1.13 -m -w 6",
    "ipvsadm -a -t 203.0.113.19:21 -r 10.0.3.13 -g -w 4",
    "ipvsadm -A -u 203.0.113.16:53 -s dh -o",
    "ipvsadm -a -u 203.0.113.16:53 -r 10.0.1.14 -g",
    "ipvsadm -a -u 203.0.113.16:53 -r 10.0.2.14 -g",
    "ipvsadm -A -u 203.0.113.17:53 -s ovf -o -p 40",
    "ipvsadm -a -u 203.0.113.17:53 -r 10.0.1.15 -m",
    "ipvsadm -a -u 203.0.113.17:53 -r 10.0.2.15 -g",
    "ipvsadm -A -t 203.0.113.18:81 -s nq",
    "ipvsadm -a -t 203.0.113.18:81 -r 10.0.1.16 -g",
    "ipvsadm -A --sctp-service 203.0.113.10:36 -s rr",
    "ipvsadm -a --sctp-service 203.0.113.10:36 -r 10.0.1.10:3600 -m",
    "ipvsadm -a --sctp-service 203.0.113.10:36 -r 10.0.2.10:36 -m",
    "ipvsadm -a --sctp-service 203.0.113.10:36 -r 10.0.3.10:36 -g",
    "ipvsadm -A --sctp-service 203.0.113.11:36 -s wlc -p 40",
    "ipvsadm -a --sctp-service 203.0.113.11:36 -r 10.0.1.12 -i -x 9",
    "ipvsadm -a --sctp-service 203.0.113.11:36 -r 10.0.2.12 -i --tun-type gue --tun-port 6080 --tun-csum",
    "ipvsadm -a --sctp-service 203.0.113.11:36 -r 10.0.3.12:37 -m",
];

/// Knobs that decide about packets, with values that one would give them.
const KNOBS: [(&str, &[&str]); 13] = [
    ("am_droprate", &["2", "10"]),
    ("cache_bypass", &["0", "1"]),
    ("conn_reuse_mode", &["0", "1", "2", "3"]),
    ("drop_packet", &["0", "0", "3"]),
    ("expire_nodest_conn", &["0", "0", "0", "1"]),
    ("expire_quiescent_template", &["0", "1"]),
    ("lblcr_expiration", &["1", "60", "86400"]),
    ("nat_icmp_send", &["0", "1"]),
    ("pmtu_disc", &["0", "1", "1"]),
    ("schedule_icmp", &["0", "1"]),
    ("secure_tcp", &["0", "3"]),
    ("sloppy_sctp", &["0", "1"]),
    ("sloppy_tcp", &["0", "1"]),
];

/// A turn of one of the knobs.
pub fn random_knob(rng: &mut Rng) -> (&'static str, &'static str) {
    let (name, values) = KNOBS[rng.usize(..KNOBS.len())];
    (name, values[rng.usize(..values.len())])
}

/// Where a client sends: mostly to a service.
pub(super) fn virtual_address(rng: &mut Rng) -> (Proto, SocketAddrV4) {
    const TCP: [(u8, u16); 15] = [
        (10, 80),
        (10, 25),
        (11, 80),
        (12, 443),
        (13, 80),
        (14, 80),
        (15, 80),
        (10, 81),
        (16, 80),
        (17, 80),
        (18, 80),
        (18, 81),
        (19, 20),
        (19, 21),
        (19, 2000),
    ];
    const UDP: [(u8, u16); 7] = [
        (10, 53),
        (10, 54),
        (12, 1),
        (12, 2),
        (11, 9),
        (16, 53),
        (17, 53),
    ];
    const SCTP: [(u8, u16); 3] = [(10, 36), (11, 36), (12, 36)];
    let (proto, of) = match rng.u8(..8) {
        0 | 1 => (Proto::Udp, &UDP[..]),
        2 => (Proto::Sctp, &SCTP[..]),
        _ => (Proto::Tcp, &TCP[..]),
    };
    let (last, port) = of[rng.usize(..of.len())];
    if rng.u8(..32) == 0 {
        // Not the director's, unless a match rule says so.
        let elsewhere = Ipv4Addr::new(198, 18, 0, rng.u8(..));
        return (proto, SocketAddrV4::new(elsewhere, port));
    }
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
    match rng.u8(..24) {
        0..4 => format!("ipvsadm -d {service} -r {real}"),
        4..13 => (*line).to_owned(),
        13..15 => format!(
            "{} -w 0",
            line.replace(" -a ", " -e ").replace(" -w ", " -x ")
        ),
        15 => line.replace(" -a ", " -e "),
        16..19 => {
            let method = ["-m", "-g", "-i"].into_iter().find(|m| line.contains(m));
            let (weight, upper) = (rng.u32(..12), rng.u32(..20));
            let (method, lower) = (method.unwrap_or_default(), upper / 3);
            format!("ipvsadm -e {service} -r {real} {method} -w {weight} -x {upper} -y {lower}")
        }
        19..22 => edit_of(rng, &service),
        22 if rng.u8(..4) == 0 => format!("ipvsadm -D {service}"),
        _ => {
            let of_service = format!("-A {service}");
            let add = COMMANDS.iter().find(|c| c.contains(&of_service));
            add.map_or_else(String::new, |add| (*add).to_owned())
        }
    }
}

/// Another scheduler with other flags, now persistent and now not. (Neither twos, which is random, nor none.)
fn edit_of(rng: &mut Rng, service: &str) -> String {
    let names = Scheduler::NAMES
        .iter()
        .filter(|name| !["none", "twos"].contains(name));
    let names: Vec<_> = names.collect();
    let scheduler = names[rng.usize(..names.len())];
    let flags = ["", " -b flag-1", " -b flag-2", " -b flag-1,flag-2"][rng.usize(..4)];
    let persistent = if service.contains(":0") || rng.u8(..3) == 0 {
        " -p 60"
    } else {
        ""
    };
    let one_packet =
        if !service.contains("-t ") && !service.contains("--sctp-service") && rng.u8(..4) == 0 {
            " -o"
        } else {
            ""
        };
    format!("ipvsadm -E {service} -s {scheduler}{flags}{persistent}{one_packet}")
}
