//! Persistence templates.

use std::net::{Ipv4Addr, SocketAddrV4};

use ipvs_tests::{
    backend::Backend,
    packet::{Packet, flag},
};

use crate::rig::{C0, R1, R2, Rig, ack, syn, vip};

#[test]
fn template_outlives_weight_zero() {
    let mut rig = Rig::new(&[
        "-A -t 203.0.113.10:80 -s rr -p 60",
        "-a -t 203.0.113.10:80 -r 10.0.1.10:80 -g",
        "-a -t 203.0.113.10:80 -r 10.0.2.10:80 -g",
    ]);
    assert_eq!(rig.leaves_by(syn(1)), Some(R2));
    rig.ipvsadm("-e -t 203.0.113.10:80 -r 10.0.2.10:80 -g -w 0");
    for n in 2..6 {
        assert_eq!(rig.leaves_by(syn(n)), Some(R2));
    }
}

#[test]
fn template_of_a_deleted_dest_is_not_followed() {
    let mut rig = Rig::new(&[
        "-A -t 203.0.113.10:80 -s rr -p 60",
        "-a -t 203.0.113.10:80 -r 10.0.1.10:80 -g",
        "-a -t 203.0.113.10:80 -r 10.0.2.10:80 -g",
    ]);
    assert_eq!(rig.leaves_by(syn(1)), Some(R2));
    rig.ipvsadm("-d -t 203.0.113.10:80 -r 10.0.2.10:80");
    assert_eq!(rig.leaves_by(syn(2)), Some(R1));
    // Set aside, it still holds its real server until its timer ends.
    assert_eq!((rig.counts(0), rig.counts(1)), ((1, 0, 1), (1, 0, 1)));
    assert_eq!(rig.reason("template_renamed"), 1);
    rig.pass(61);
    rig.pass(61);
    assert_eq!(rig.counts(1), (0, 0, 0));
}

#[test]
fn persistence_mask_keeps_a_network_together() {
    let mut rig = Rig::new(&[
        "-A -t 203.0.113.10:80 -s rr -p 60 -M 255.255.255.0",
        "-a -t 203.0.113.10:80 -r 10.0.1.10:80 -g",
        "-a -t 203.0.113.10:80 -r 10.0.2.10:80 -g",
    ]);
    let from = |a, b| SocketAddrV4::new(Ipv4Addr::new(198, 51, a, b), 1000);
    let syn = |client| Packet::tcp(client, vip(80), flag::SYN);
    let first = rig.leaves_by(syn(from(100, 1)));
    assert!((2..9).all(|n| rig.leaves_by(syn(from(100, n))) == first));
    assert_ne!(rig.leaves_by(syn(from(101, 1))), first);
}

#[test]
fn template_waits_for_its_children() {
    let mut rig = Rig::new(&[
        "-A -t 203.0.113.10:80 -s rr -p 5",
        "-a -t 203.0.113.10:80 -r 10.0.1.10:80 -g",
    ]);
    rig.send(C0, syn(1));
    rig.send(C0, ack(1));
    rig.pass(6);
    assert_eq!(rig.host.snapshot(0).unwrap().templates.len(), 1);
    rig.pass(900);
    rig.pass(61);
    let tables = rig.host.snapshot(1).unwrap();
    assert!(tables.templates.is_empty() && tables.conns.is_empty());
    assert_eq!(tables.dest_states[&0].persistent, 0);
}
