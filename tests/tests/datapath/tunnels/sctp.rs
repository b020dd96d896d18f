//! SCTP in tunnels: outer headers.

use std::collections::BTreeSet;

use ipvs_tests::{
    backend::Verdict,
    packet::{ETHERNET, Packet, chunk},
};

use crate::rig::{C0, R1, Rig, client, vip};

fn sent(kind: u8) -> Packet {
    Packet::sctp(client(1), vip(36), kind)
}

#[test]
fn packets_in_tunnels_that_routers_may_fragment_are_told_apart() {
    let mut rig = Rig::new(&[
        "-A --sctp-service 203.0.113.10:36 -s rr",
        "-a --sctp-service 203.0.113.10:36 -r 10.0.1.10 -i --tun-type gue --tun-port 6080",
    ]);
    rig.send(C0, sent(chunk::INIT));
    let ids: BTreeSet<_> = (0..50)
        .map(|n| {
            let data = vec![n; 40];
            let packet = Packet {
                df: false,
                payload: data,
                ..sent(chunk::DATA)
            };
            let out = rig.send(C0, packet);
            assert_eq!(out.verdict, Verdict::Redirect(Some(R1)));
            [out.frame[ETHERNET + 4], out.frame[ETHERNET + 5]]
        })
        .collect();
    assert!(ids.len() > 45, "{ids:?}");
}
