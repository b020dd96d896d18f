//! What masqueraded real servers hear of their packets in no connection.

use std::net::Ipv4Addr;

use ipvs_tests::{
    backend::{Backend as _, Outcome, Verdict},
    packet::{ETHERNET, Packet, checksum, checksum_of_six, flag},
    six::six,
};

use crate::rig::{C0, MASQ, R1, Rig, client, link, real, syn};

/// The director's address towards the first real server.
const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);

fn told() -> Rig {
    let rig = Rig::new(&MASQ);
    rig.knob("nat_icmp_send", "1");
    rig
}

/// A segment of the first real server, to a client that it has no connection with.
fn stray(flags: u8) -> Packet {
    Packet::tcp(real(1, 8080), client(9), flags)
}

fn passes(out: &Outcome) -> bool {
    out.verdict == Verdict::Pass
}

#[test]
fn masqueraded_real_server_hears_of_a_packet_in_no_connection() {
    let mut rig = told();
    for packet in [stray(flag::ACK), Packet::udp(real(1, 5353), client(9))] {
        let out = rig.send(R1, packet);
        assert_eq!(link(&out), Some(R1));
        let packet = &out.frame[ETHERNET..];
        assert_eq!(packet[12..16], OWN.octets());
        assert_eq!(packet[16..20], real(1, 0).ip().octets());
        assert_eq!(packet[20..22], [3, 3]);
        assert_eq!(checksum(&packet[20..]), 0);
        let quoted = &packet[28..];
        assert_eq!((quoted[8], checksum(&quoted[..20])), (63, 0));
        assert_eq!(quoted[12..16], real(1, 0).ip().octets());
    }
    assert_eq!(rig.reason("no_connection"), 2);
    assert_eq!(rig.host.counters(1).unwrap().dest_stats[&0].out_packets, 0);
}

#[test]
fn masqueraded_real_server_of_ipv6_hears_of_it_too() {
    let mut rig = Rig::over_six(&MASQ);
    rig.knob("nat_icmp_send", "1");
    let out = rig.send(R1, stray(flag::ACK));
    assert_eq!(link(&out), Some(R1));
    let packet = &out.frame[ETHERNET..];
    let (own, server) = (six(OWN), six(*real(1, 0).ip()));
    assert_eq!(packet[8..24], own.octets());
    assert_eq!(packet[24..40], server.octets());
    assert_eq!(packet[40..42], [1, 4]);
    assert_eq!(checksum_of_six(own, server, &packet[40..]), 0);
    assert_eq!(packet[48 + 7], 63);
}

#[test]
fn nobody_else_hears_of_it() {
    let mut rig = told();
    let others = [
        // A reset asks for no answer.
        stray(flag::RST),
        Packet::tcp(real(1, 8081), client(9), flag::ACK),
        Packet::udp(real(1, 8080), client(9)),
        Packet::tcp(real(2, 8080), client(9), flag::ACK),
        // Of this the stack tells.
        Packet {
            ttl: 1,
            ..stray(flag::ACK)
        },
    ];
    for packet in others {
        assert!(passes(&rig.send(R1, packet.clone())), "{packet:?}");
    }
    assert_eq!(rig.reason("no_connection"), 0);
}

#[test]
fn what_is_for_the_director_itself_is_its_own() {
    let mut rig = told();
    let answer = Packet::tcp(
        real(1, 8080),
        std::net::SocketAddrV4::new(OWN, 40000),
        flag::ACK,
    );
    assert!(passes(&rig.send(R1, answer)));
}

#[test]
fn answers_in_a_connection_go_on() {
    let mut rig = told();
    rig.send(C0, syn(1));
    let answer = Packet::tcp(real(1, 8080), client(1), flag::SYN | flag::ACK);
    assert_eq!(link(&rig.send(R1, answer)), Some(C0));
}

#[test]
fn knob_and_real_servers_are_followed() {
    let mut rig = Rig::new(&MASQ);
    assert!(passes(&rig.send(R1, stray(flag::ACK))));
    rig.knob("nat_icmp_send", "1");
    assert!(!passes(&rig.send(R1, stray(flag::ACK))));
    rig.ipvsadm("-e -t 203.0.113.10:80 -r 10.0.1.10:8080 -m -w 0");
    assert!(!passes(&rig.send(R1, stray(flag::ACK))));
    rig.ipvsadm("-d -t 203.0.113.10:80 -r 10.0.1.10:8080");
    assert!(passes(&rig.send(R1, stray(flag::ACK))));
    // Another service has it, too, and by a mark it is known for both protocols.
    rig.ipvsadm("-A -f 7 -s rr");
    rig.ipvsadm("-a -f 7 -r 10.0.1.10:8080 -m");
    assert!(!passes(&rig.send(R1, stray(flag::ACK))));
    let datagram = Packet::udp(real(1, 8080), client(9));
    assert!(!passes(&rig.send(R1, datagram)));
    rig.knob("nat_icmp_send", "0");
    assert!(passes(&rig.send(R1, stray(flag::ACK))));
}
