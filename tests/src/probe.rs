//! Datagrams with numbers, sent at a steady pace to a server that sends them back: which were lost, to the last one.
//! Knows nothing of the director.
//!
//! Sockets have room for seconds of them, so that a machine with other work to do is no reason to lose any.

use std::{
    collections::BTreeSet,
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sys::socket::{setsockopt, sockopt};

/// Between two datagrams.
const PAUSE: Duration = Duration::from_millis(2);
/// The last ones are waited for this long.
const STRAGGLERS: Duration = Duration::from_secs(3);
const ROOM: usize = 8 << 20;

/// Gives a socket room for what it cannot read at once.
pub fn make_room(socket: &UdpSocket) -> Result<()> {
    setsockopt(socket, sockopt::RcvBufForce, &ROOM).context("room for datagrams")
}

/// Sends back every datagram as it is. Works until the process ends.
pub fn mirror(socket: UdpSocket) -> Result<()> {
    make_room(&socket)?;
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((n, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..n], from);
        }
    });
    Ok(())
}

/// A flow of datagrams.
#[derive(Debug)]
pub struct Probe {
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    sender: JoinHandle<Result<()>>,
    receiver: JoinHandle<BTreeSet<u64>>,
}

impl Probe {
    /// Over a connected socket.
    pub fn start(socket: UdpSocket) -> Result<Self> {
        make_room(&socket)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let (sent, stop) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let from = socket.try_clone()?;
        let (counted, stopped) = (Arc::clone(&sent), Arc::clone(&stop));
        let sender = thread::spawn(move || send(&from, &counted, &stopped));
        let (counted, stopped) = (Arc::clone(&sent), Arc::clone(&stop));
        let receiver = thread::spawn(move || receive(&socket, &counted, &stopped));
        Ok(Self {
            sent,
            stop,
            sender,
            receiver,
        })
    }

    /// Ends the flow: how many datagrams were sent, each of which came back once.
    pub fn finish(self) -> Result<u64> {
        self.stop.store(true, Ordering::SeqCst);
        let sent = self.sender.join();
        sent.map_err(|_| anyhow!("the sender panicked"))??;
        let back = self.receiver.join();
        let back = back.map_err(|_| anyhow!("the receiver panicked"))?;
        let sent = self.sent.load(Ordering::SeqCst);
        let lost: Vec<u64> = (0..sent).filter(|n| !back.contains(n)).collect();
        ensure!(
            lost.is_empty(),
            "{} of {sent} datagrams are lost: {:?}",
            lost.len(),
            &lost[..lost.len().min(20)]
        );
        Ok(sent)
    }
}

fn send(socket: &UdpSocket, sent: &AtomicU64, stop: &AtomicBool) -> Result<()> {
    while !stop.load(Ordering::SeqCst) {
        let number = sent.load(Ordering::SeqCst);
        socket.send(&number.to_be_bytes())?;
        sent.store(number + 1, Ordering::SeqCst);
        thread::sleep(PAUSE);
    }
    Ok(())
}

fn receive(socket: &UdpSocket, sent: &AtomicU64, stop: &AtomicBool) -> BTreeSet<u64> {
    let mut back = BTreeSet::new();
    let mut buffer = [0; 64];
    let mut until = None;
    loop {
        if let Ok(n) = socket.recv(&mut buffer)
            && let Some(number) = buffer[..n].first_chunk()
        {
            back.insert(u64::from_be_bytes(*number));
        }
        if stop.load(Ordering::SeqCst) {
            let until = *until.get_or_insert_with(|| Instant::now() + STRAGGLERS);
            if back.len() as u64 == sent.load(Ordering::SeqCst) || Instant::now() > until {
                return back;
            }
        }
    }
}
