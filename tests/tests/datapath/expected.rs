//! Connections that a helper announced before their client's port is known.

use std::net::SocketAddrV4;

use ipvs_common::{Proto, State};
use ipvs_tests::{
    backend::{Backend, Verdict},
    packet::{Packet, flag},
};
use ipvs_user::director::{ExpectError, Expectation};

use crate::rig::{C0, DROUTE, MASQ, R1, Rig, client, real, syn, tcp_service, vip};

/// Of the virtual address, where no service is.
const DATA: u16 = 40000;

fn announced(to: SocketAddrV4) -> Expectation {
    Expectation {
        protocol: Proto::Tcp,
        client: *client(0).ip(),
        virt: vip(DATA),
        service: tcp_service(80),
        real: to.into(),
        timeout: 60,
    }
}

fn announce(rig: &Rig, e: Expectation) {
    rig.console.director().expect(&e).unwrap();
}

fn data_syn(n: u16) -> Packet {
    Packet::tcp(client(n), vip(DATA), flag::SYN)
}

#[test]
fn any_port_of_the_client_meets_it_and_only_once() {
    let mut rig = Rig::new(&DROUTE);
    for n in [5, 77] {
        announce(&rig, announced(real(1, DATA)));
        assert_eq!(rig.counts(1), (0, 0, 0));
        assert_eq!(rig.counts(0).1, 1, "waits as an inactive one");
        assert_eq!(rig.leaves_by(data_syn(n)), Some(R1));
        assert_eq!(rig.counts(0).1, 0);
        assert_eq!(rig.leaves_by(data_syn(n)), Some(R1), "the same connection");
        assert_eq!(rig.send(C0, data_syn(n + 1)).verdict, Verdict::Pass);
    }
    assert_eq!(rig.counts(0), (2, 0, 0));
}

#[test]
fn nobody_elses_packet_meets_it() {
    let mut rig = Rig::new(&DROUTE);
    announce(&rig, announced(real(1, DATA)));
    let other = SocketAddrV4::new([198, 51, 100, 2].into(), 5);
    let to_data = |from| Packet::tcp(from, vip(DATA), flag::SYN);
    assert_eq!(rig.send(C0, to_data(other)).verdict, Verdict::Pass);
    let elsewhere = Packet::tcp(client(1), vip(DATA + 1), flag::SYN);
    assert_eq!(rig.send(C0, elsewhere).verdict, Verdict::Pass);
    let datagram = Packet::udp(client(1), vip(DATA));
    assert_eq!(rig.send(C0, datagram).verdict, Verdict::Pass);
    let ack = Packet::tcp(client(1), vip(DATA), flag::ACK);
    assert_eq!(rig.send(C0, ack).verdict, Verdict::Pass, "opens nothing");
    assert_eq!(rig.leaves_by(data_syn(1)), Some(R1));
}

#[test]
fn it_goes_where_it_was_announced_though_the_scheduler_would_choose_another() {
    let mut rig = Rig::new(&DROUTE);
    for (n, link) in (0..).zip([1, 1, 2, 2, 1]) {
        let e = Expectation {
            virt: vip(80),
            ..announced(real(link, 80))
        };
        announce(&rig, e);
        let way = rig.leaves_by(syn(n));
        assert_eq!(way, Some(usize::from(link)));
    }
}

#[test]
fn a_clients_port_0_is_a_port_like_any_other() {
    let mut rig = Rig::new(&MASQ);
    announce(&rig, announced(real(1, 20)));
    let zero = SocketAddrV4::new(*client(0).ip(), 0);
    let packet = |flags| Packet::tcp(zero, vip(DATA), flags);
    assert_eq!(rig.leaves_by(packet(flag::SYN)), Some(R1));
    assert_eq!(rig.leaves_by(packet(flag::ACK)), Some(R1));
    assert_eq!(rig.counts(0), (1, 0, 0));
    // What stands there now is no announcement.
    assert_eq!(rig.send(C0, data_syn(1)).verdict, Verdict::Pass);
}

#[test]
fn replies_of_a_masqueraded_one_are_translated() {
    let mut rig = Rig::new(&MASQ);
    announce(&rig, announced(real(1, 20)));
    let request = rig.send(C0, data_syn(3));
    let to = Packet::tcp(client(3), real(1, 20), flag::SYN);
    assert_eq!(transport(&request.frame), transport(&to.frame()));
    let reply = Packet::tcp(real(1, 20), client(3), flag::SYN | flag::ACK);
    let reply = rig.send(R1, reply);
    assert_eq!(reply.verdict, Verdict::Redirect(Some(C0)));
    let from = Packet::tcp(vip(DATA), client(3), flag::SYN | flag::ACK);
    assert_eq!(transport(&reply.frame), transport(&from.frame()));
}

/// Addresses, ports and all that follows.
fn transport(frame: &[u8]) -> &[u8] {
    &frame[26..]
}

#[test]
fn one_that_nobody_met_ends_and_leaves_no_count() {
    let mut rig = Rig::new(&MASQ);
    announce(&rig, announced(real(1, DATA)));
    rig.pass(59);
    let list = rig.console.director().connections().unwrap();
    assert_eq!((list[0].client.port(), list[0].state), (0, "LISTEN"));
    assert_eq!((list[0].real, list[0].remaining), (real(1, DATA).into(), 1));
    rig.clock_moves(1);
    assert_eq!(rig.send(C0, data_syn(1)).verdict, Verdict::Pass);
    rig.pass(0);
    assert_eq!(rig.counts(0), (0, 0, 0));
    assert!(rig.host.snapshot(1).unwrap().half_open.is_empty());
}

#[test]
fn a_later_announcement_takes_the_place_of_the_first() {
    let mut rig = Rig::new(&DROUTE);
    announce(&rig, announced(real(1, DATA)));
    announce(&rig, announced(real(2, DATA)));
    assert_eq!((rig.counts(0).1, rig.counts(1).1), (0, 1));
    assert_eq!(rig.leaves_by(data_syn(1)), Some(2));
}

#[test]
fn a_deleted_real_server_is_not_waited_for() {
    let mut rig = Rig::new(&DROUTE);
    announce(&rig, announced(real(1, DATA)));
    rig.ipvsadm("-d -t 203.0.113.10:80 -r 10.0.1.10:80");
    assert_eq!(rig.send(C0, data_syn(1)).verdict, Verdict::Pass);
    rig.pass(60);
    assert_eq!(rig.counts(0), (0, 0, 0));
}

#[test]
fn nothing_is_looked_up_while_nothing_can_be_waiting() {
    let mut rig = Rig::new(&DROUTE);
    announce(&rig, announced(real(1, DATA)));
    rig.host.tables().settings.flags &= !ipvs_common::SettingsFlags::HAS_EXPECTED;
    assert_eq!(rig.send(C0, data_syn(1)).verdict, Verdict::Pass);
    assert_eq!(rig.counts(0).1, 1);
}

#[test]
fn a_datagram_meets_its_own() {
    let mut rig = Rig::new(&MASQ);
    let e = Expectation {
        protocol: Proto::Udp,
        ..announced(real(1, 0))
    };
    announce(&rig, e);
    let datagram = Packet::udp(client(4), vip(DATA)).data(5);
    assert_eq!(rig.leaves_by(datagram), Some(R1));
    let (_, conn) = rig.entry_of(4).unwrap();
    assert_eq!(conn.to_port, DATA.to_be_bytes());
    assert_eq!(conn.status.state, State::Udp as u8);
}

#[test]
fn an_announcement_that_cannot_be_kept_is_refused() {
    let rig = Rig::new(&DROUTE);
    let good = announced(real(1, DATA));
    let refusal = |e: Expectation| match rig.console.director().expect(&e) {
        Err(ExpectError::Refused(e)) => e.to_string(),
        other => panic!("{other:?}"),
    };
    let service = tcp_service(81);
    assert_eq!(
        refusal(Expectation { service, ..good }),
        "virtual service tcp 203.0.113.10:81 is not defined"
    );
    let elsewhere = real(3, DATA).into();
    assert_eq!(
        refusal(Expectation {
            real: elsewhere,
            ..good
        }),
        "no real server 10.0.3.10:40000 in tcp 203.0.113.10:80"
    );
    let timeout = 0;
    assert!(refusal(Expectation { timeout, ..good }).contains("out of range"));
    let virt = vip(0);
    assert!(refusal(Expectation { virt, ..good }).contains("virtual port"));
    assert!(rig.host.snapshot(1).unwrap().half_open.is_empty());
}
