//! Frames that waited for their neighbour, over a network that is made up.

use std::{io, sync::Mutex};

use ipvs_common::Mac;

use super::*;
use crate::net::{Link, Neighbour, Result};

const IFINDEX: u32 = 7;
const MTU: u32 = 576;
const DF: u16 = 0x4000;
const ROUTER: Mac = [2, 0, 0, 0, 0, 2];

/// One link, on which everyone is known.
struct Fake;

impl Network for Fake {
    async fn links(&self) -> Result<Vec<Link>> {
        Ok(vec![Link {
            ifindex: IFINDEX,
            name: "test0".to_owned(),
            mac: [2, 0, 0, 0, 0, 1],
            mtu: MTU,
            up: true,
            running: true,
            kind: String::new(),
            programs: Vec::new(),
            generic: false,
        }])
    }

    async fn next_hop(&self, to: std::net::IpAddr) -> Result<Option<NextHop>> {
        Ok(Some(NextHop {
            ifindex: IFINDEX,
            addr: to,
        }))
    }

    async fn neighbour(&self, _: NextHop) -> Result<Option<Neighbour>> {
        let mac = Some(ROUTER);
        Ok(Some(Neighbour {
            mac,
            ..Neighbour::default()
        }))
    }

    async fn probe(&self, _: NextHop) -> Result<()> {
        Ok(())
    }

    async fn manage(&self, _: NextHop) -> Result<bool> {
        Ok(true)
    }

    async fn forget(&self, _: NextHop) -> Result<()> {
        Ok(())
    }
}

#[derive(Default)]
struct Sent(Mutex<Vec<Vec<u8>>>);

impl Sink for Sent {
    fn send(&self, ifindex: u32, frame: &[u8]) -> io::Result<()> {
        assert_eq!(ifindex, IFINDEX);
        self.0.lock().unwrap().push(frame.to_vec());
        Ok(())
    }
}

/// A record about a packet of this length whose neighbour is missing.
fn record(length: u16, flags: u16) -> Vec<u8> {
    let mut frame = vec![0; frame::ETHERNET + usize::from(length)];
    let packet = &mut frame[frame::ETHERNET..];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet[6..8].copy_from_slice(&flags.to_be_bytes());
    let header = PuntHeader {
        reason: PuntReason::Neighbour as u32,
        ifindex: IFINDEX,
        len: frame.len() as u32,
        next_hop: ipvs_common::Addr::v4([10, 0, 0, 1]),
        ..PuntHeader::default()
    };
    [bytemuck::bytes_of(&header), &frame].concat()
}

/// Sends the packet once its neighbour is found: how many frames leave, and how many count as lost.
async fn sent_and_lost(length: u16, flags: u16) -> (usize, u64) {
    let mut path = SlowPath::new(Fake, Sent::default());
    path.receive(&record(length, flags));
    path.serve_waiting().await;
    let sent = path.socket.0.into_inner().unwrap();
    assert!(sent.iter().all(|frame| frame[..6] == ROUTER));
    (sent.len(), path.lost)
}

#[tokio::test]
async fn a_frame_that_waited_is_not_fragmented_against_its_will() {
    assert_eq!(sent_and_lost(577, DF).await, (0, 1));
    assert_eq!(sent_and_lost(576, DF).await, (1, 0), "it fits");
}

#[tokio::test]
async fn a_frame_that_waited_is_fragmented_if_it_may_be() {
    assert_eq!(sent_and_lost(577, 0).await, (2, 0));
}
