//! Frames that waited for their neighbour, over a network that is made up.

use std::{cell::Cell, io, sync::Mutex};

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
            ..Link::default()
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

/// Programs that know nothing before they are told to, and then pass what they look at.
#[derive(Default)]
struct Nothing {
    knows: Cell<bool>,
    passed: Mutex<Vec<Vec<u8>>>,
    lost: Cell<u32>,
}

impl Programs for Nothing {
    fn look(&self, _: u32, frame: &[u8]) -> io::Result<Look> {
        Ok(if self.knows.get() {
            Look::Passes(frame.to_vec())
        } else {
            Look::Waits
        })
    }

    fn pass_up(&self, ifindex: u32, frame: &[u8]) -> io::Result<()> {
        assert_eq!(ifindex, IFINDEX);
        self.passed.lock().unwrap().push(frame.to_vec());
        Ok(())
    }

    fn count_lost(&self, _: &[u8]) -> io::Result<()> {
        self.lost.set(self.lost.get() + 1);
        Ok(())
    }
}

/// A record of a fragment that came early.
fn early() -> Vec<u8> {
    let header = PuntHeader {
        reason: PuntReason::Early as u32,
        ifindex: IFINDEX,
        len: 3,
        ..PuntHeader::default()
    };
    [bytemuck::bytes_of(&header), &[1, 2, 3]].concat()
}

#[test]
fn a_fragment_that_came_early_goes_when_the_programs_know_it() {
    let mut path = SlowPath::new(Fake, Sent::default(), Nothing::default());
    path.receive(&early());
    let due = path.held.due().expect("it is held");
    path.look_at_held(due);
    assert!(path.programs.passed.lock().unwrap().is_empty());
    path.programs.knows.set(true);
    path.look_at_held(path.held.due().expect("it still is"));
    assert_eq!(*path.programs.passed.lock().unwrap(), [[1, 2, 3]]);
    assert_eq!((path.held.due(), path.programs.lost.get()), (None, 0));
}

#[test]
fn a_fragment_whose_first_one_came_meanwhile_does_not_wait() {
    let mut path = SlowPath::new(Fake, Sent::default(), Nothing::default());
    path.programs.knows.set(true);
    path.receive(&early());
    assert_eq!(path.programs.passed.lock().unwrap().len(), 1);
    assert_eq!(path.held.due(), None);
}

#[test]
fn fragments_that_wait_in_vain_are_counted() {
    let mut path = SlowPath::new(Fake, Sent::default(), Nothing::default());
    path.receive(&early());
    while let Some(due) = path.held.due() {
        path.look_at_held(due);
    }
    assert_eq!((path.programs.lost.get(), path.lost), (1, 0));
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
    let mut path = SlowPath::new(Fake, Sent::default(), Nothing::default());
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
