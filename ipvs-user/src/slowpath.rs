//! Sends what the datapath could not send itself: packets to be fragmented, and packets whose neighbour is not resolved yet. And holds
//! fragments that came too early, until the datapath knows what to do with them.
//!
//! Frames come in whole, with a note of what is missing. Knows no services and no connections.

mod fragment;
mod frame;
mod held;
mod programs;
mod send;
mod waiting;

use std::{
    io,
    time::{Duration, Instant},
};

use ipvs_common::{PuntHeader, PuntReason};
use tracing::{debug, warn};

pub use fragment::fragment;
use fragment::is_forbidden;

use crate::{
    dataplane::bpf::{Again, PuntReader, PuntRing},
    net::{Network, NextHop},
};
use frame::{address, tagged};
use held::{Early, Held};
use programs::{Look, Programs};
pub use send::PacketSocket;
use send::Sink;
use waiting::Waiting;

/// How often the neighbour table is looked at while frames wait.
const LOOK: Duration = Duration::from_millis(20);
/// At most one line of complaint in that time.
const QUIET: Duration = Duration::from_secs(5);

/// Works until the ring fails, which it never should.
pub async fn run<N: Network>(
    ring: PuntRing,
    again: Again,
    socket: PacketSocket,
    network: N,
) -> io::Result<()> {
    let mut reader = ring.reader()?;
    let mut path = SlowPath::new(network, socket, again);
    loop {
        path.turn(&mut reader).await?;
    }
}

struct SlowPath<N, S, P> {
    network: N,
    socket: S,
    programs: P,
    waiting: Waiting,
    held: Held,
    /// For packets without an identification of their own.
    next_id: u16,
    lost: u64,
    complained: Option<Instant>,
}

impl<N: Network, S: Sink, P: Programs> SlowPath<N, S, P> {
    fn new(network: N, socket: S, programs: P) -> Self {
        Self {
            network,
            socket,
            programs,
            waiting: Waiting::default(),
            held: Held::default(),
            next_id: 1,
            lost: 0,
            complained: None,
        }
    }

    async fn turn(&mut self, reader: &mut PuntReader) -> io::Result<()> {
        let mut asked = Vec::new();
        let idle = self.waiting.is_empty() && self.lost == 0;
        let due = self.held.due();
        tokio::select! {
            read = reader.each(|record| asked.extend(self.receive(record))) => read?,
            () = tokio::time::sleep(LOOK), if !idle => {}
            () = until(due) => {}
        }
        for hop in asked {
            self.ask_for(hop).await;
        }
        self.serve_waiting().await;
        self.look_at_held(Instant::now());
        self.complain();
        Ok(())
    }

    /// Takes a record; returns a neighbour that is asked for the first time.
    fn receive(&mut self, record: &[u8]) -> Option<NextHop> {
        let Some((header, frame)) = split(record) else {
            self.lost += 1;
            return None;
        };
        match PuntReason::from_number(header.reason) {
            Some(PuntReason::Fragment) => {
                self.send(&header, &address(frame, header.dst_mac, header.src_mac));
                None
            }
            Some(PuntReason::Neighbour) => self.wait(header, frame),
            Some(PuntReason::Early) => {
                self.hold(Early {
                    ifindex: header.ifindex,
                    frame: tagged(frame, &header),
                });
                None
            }
            None => {
                self.lost += 1;
                None
            }
        }
    }

    /// Holds a fragment, unless its packet's first one has come by now.
    fn hold(&mut self, early: Early) {
        if self.waits(&early)
            && let Some(oldest) = self.held.push(early, Instant::now())
        {
            self.lose(&oldest);
        }
    }

    fn look_at_held(&mut self, now: Instant) {
        let mut held = std::mem::take(&mut self.held);
        let in_vain = held.look(now, |early| self.waits(early));
        self.held = held;
        for early in &in_vain {
            self.lose(early);
        }
    }

    /// Has the programs look at a fragment; true if it has to wait on.
    fn waits(&mut self, early: &Early) -> bool {
        let looked = self.programs.look(early.ifindex, &early.frame);
        let done = match looked {
            Ok(Look::Waits) => return true,
            Ok(Look::Done) => Ok(()),
            Ok(Look::Passes(frame)) => self.programs.pass_up(early.ifindex, &frame),
            // At a start the interface's program may not be in force yet; or the interface is gone.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return true,
            Err(e) => Err(e),
        };
        if let Err(e) = done {
            debug!(ifindex = early.ifindex, "a fragment that was held: {e}");
            self.lost += 1;
        }
        false
    }

    /// A fragment that waited in vain: whoever reads the counters finds it, and it is nothing to complain about.
    fn lose(&self, early: &Early) {
        if let Err(e) = self.programs.count_lost(&early.frame) {
            debug!("counting a fragment that waited in vain: {e}");
        }
    }

    fn wait(&mut self, header: PuntHeader, frame: &[u8]) -> Option<NextHop> {
        let hop = NextHop {
            ifindex: header.ifindex,
            addr: header.next_hop.ip(),
        };
        let is_first = !self.waiting.has(hop);
        if !self
            .waiting
            .push(hop, header, frame.to_vec(), Instant::now())
        {
            self.lost += 1;
            return None;
        }
        is_first.then_some(hop)
    }

    async fn ask_for(&self, hop: NextHop) {
        if let Err(e) = self.network.probe(hop).await {
            debug!("{e}");
        }
    }

    async fn serve_waiting(&mut self) {
        for hop in self.waiting.hops() {
            let found = self.network.neighbour(hop).await;
            let found = found.ok().flatten().unwrap_or_default();
            let Some(mac) = found.mac else {
                // The kernel gave up before we did.
                if !found.resolving {
                    self.ask_for(hop).await;
                }
                continue;
            };
            // Without a neighbour the datapath learns neither the address to send from nor the MTU.
            let links = self.network.links().await.unwrap_or_default();
            let link = links.iter().find(|l| l.ifindex == hop.ifindex);
            for (mut header, frame) in self.waiting.take(hop) {
                if let Some(link) = link {
                    header.src_mac = link.mac;
                    header.mtu = link.mtu;
                }
                self.send_late(&header, &address(&frame, mac, header.src_mac));
            }
        }
        self.lost += self.waiting.give_up(Instant::now());
    }

    /// Sends a frame that waited. Before, nobody knew the MTU, and so whether it would have to be fragmented.
    fn send_late(&mut self, header: &PuntHeader, frame: &[u8]) {
        if is_forbidden(frame, longest(header)) {
            debug!(
                ifindex = header.ifindex,
                mtu = header.mtu,
                "too long, and not to be fragmented"
            );
            self.lost += 1;
            return;
        }
        self.send(header, frame);
    }

    fn send(&mut self, header: &PuntHeader, frame: &[u8]) {
        let pieces = fragment(frame, longest(header), self.next_id);
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        if pieces.is_empty() {
            self.lost += 1;
        }
        for piece in &pieces {
            if let Err(e) = self.socket.send(header.ifindex, piece) {
                debug!(ifindex = header.ifindex, "cannot send: {e}");
                self.lost += 1;
            }
        }
    }

    fn complain(&mut self) {
        if self.lost == 0 || self.complained.is_some_and(|at| at.elapsed() < QUIET) {
            return;
        }
        warn!(
            lost = self.lost,
            "frames lost that had to be fragmented, to wait for their neighbour, or to go up late (RUST_LOG=debug says more)"
        );
        self.lost = 0;
        self.complained = Some(Instant::now());
    }
}

/// Sleeps until then; for ever, if there is nothing to wait for.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// Longest packet that may be sent; no MTU, no limit.
const fn longest(header: &PuntHeader) -> usize {
    match header.mtu {
        0 => usize::MAX,
        mtu => mtu as usize,
    }
}

/// Header and frame of a record; `None` if the record contradicts itself.
fn split(record: &[u8]) -> Option<(PuntHeader, &[u8])> {
    let (header, rest) = record.split_at_checked(size_of::<PuntHeader>())?;
    let header: PuntHeader = bytemuck::pod_read_unaligned(header);
    Some((header, rest.get(..header.len as usize)?))
}

#[cfg(test)]
mod tests;
