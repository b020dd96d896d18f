//! Real servers that are quiesced, deleted or overloaded.

use ipvs_tests::{backend::Verdict, packet::Packet};

use crate::rig::{C0, DROUTE, R1, R2, Rig, ack, client, syn, vip};

#[test]
fn quiesced_dest_keeps_established_connections() {
    let mut rig = Rig::new(&DROUTE);
    assert_eq!(rig.leaves_by(syn(1)), Some(R2));
    assert_eq!(rig.leaves_by(ack(1)), Some(R2));
    rig.ipvsadm("-e -t 203.0.113.10:80 -r 10.0.2.10:80 -g -w 0");
    assert_eq!(rig.leaves_by(ack(1)), Some(R2));
    for n in 2..8 {
        assert_eq!(rig.leaves_by(syn(n)), Some(R1), "a new one");
    }
}

#[test]
fn deleted_dest_drops_its_connections_until_readded() {
    let mut rig = Rig::new(&DROUTE);
    rig.send(C0, syn(1));
    assert_eq!(rig.leaves_by(ack(1)), Some(R2));
    rig.ipvsadm("-d -t 203.0.113.10:80 -r 10.0.2.10:80");
    assert_eq!(rig.send(C0, ack(1)).verdict, Verdict::Drop);
    assert_eq!(rig.reason("dest_gone"), 1);
    rig.ipvsadm("-a -t 203.0.113.10:80 -r 10.0.2.10:80 -g");
    assert_eq!(rig.leaves_by(ack(1)), Some(R2));
}

#[test]
fn overloaded_dest_gets_no_new_connections_until_well_below() {
    let mut rig = Rig::new(&[
        "-A -t 203.0.113.10:80 -s rr",
        "-a -t 203.0.113.10:80 -r 10.0.1.10:80 -g -x 4",
    ]);
    for n in 0..4 {
        assert_eq!(rig.leaves_by(syn(n)), Some(R1));
    }
    assert_eq!(rig.leaves_by(syn(9)), Some(C0), "an error to the client");
    assert_eq!(rig.reason("no_dest"), 1);
    // Two of four close and end: that is below three quarters.
    for n in 0..2 {
        rig.send(C0, Packet::tcp(client(n), vip(80), 0));
    }
    assert_eq!(rig.leaves_by(syn(9)), Some(C0), "not ended yet");
    rig.pass(11);
    assert_eq!(rig.leaves_by(syn(9)), Some(R1));
}

#[test]
fn stack_answers_for_deleted_dests_once_there_is_no_service() {
    let mut rig = Rig::new(&DROUTE);
    rig.send(C0, syn(1));
    rig.send(C0, ack(1));
    rig.ipvsadm("-D -t 203.0.113.10:80");
    assert_eq!(rig.send(C0, ack(1)).verdict, Verdict::Pass);
    rig.ipvsadm("-A -t 203.0.113.10:81");
    assert_eq!(rig.send(C0, ack(1)).verdict, Verdict::Drop);
}
