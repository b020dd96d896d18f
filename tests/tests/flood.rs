//! A flood of half-open connections, twice as many as fit, against ten thousand established ones, in the real programs. Needs
//! root.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Result, ensure};
use ipvs_common::{ConnFlags, FlowKey, maps::Capacities};
use ipvs_tests::{
    backend::{Backend, Kernel, Outcome, START, Setup, Verdict, in_network},
    packet::{Packet, flag},
    replay::Console,
    trace::Network,
};

const ESTABLISHED: u32 = 10_000;
/// As many half-open connections as a director keeps that nobody configured.
const CAPACITIES: Capacities = Capacities {
    half_open: Capacities::DEFAULT.half_open,
    ..Capacities::SMALL
};
const FLOOD: u32 = CAPACITIES.half_open * 2;
const DESTS: u32 = 3;
const VIP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 10), 80);
const COMMANDS: [&str; 4] = [
    "ipvsadm -A -t 203.0.113.10:80 -s rr",
    "ipvsadm -a -t 203.0.113.10:80 -r 10.0.1.10:8080 -m",
    "ipvsadm -a -t 203.0.113.10:80 -r 10.0.2.10:80 -g",
    "ipvsadm -a -t 203.0.113.10:80 -r 10.0.3.10:80 -i",
];

#[test]
fn flood_of_half_open_connections_evicts_no_established_one() {
    let mut setup = Setup::new(Network::load().unwrap());
    setup.capacities = CAPACITIES;
    let network = setup.network.clone();
    in_network(&network, || Flood::new(setup)?.run()).unwrap_or_else(|e| panic!("{e:#}"));
}

struct Flood {
    kernel: Kernel,
    console: Console,
}

impl Flood {
    fn new(setup: Setup) -> Result<Self> {
        let network = setup.network.clone();
        let kernel = Kernel::load(setup)?;
        let console = Console::new(kernel.dataplane(), &network)?;
        for command in COMMANDS {
            let outcome = console.run(command)?;
            ensure!(outcome.status == 0, "{command}: {}", outcome.stderr);
        }
        Ok(Self { kernel, console })
    }

    fn run(&mut self) -> Result<()> {
        for n in 0..ESTABLISHED {
            self.send(friend(n), flag::SYN)?;
            self.send(friend(n), flag::ACK)?;
        }
        let before = self.links_of_friends()?;
        for n in 0..FLOOD {
            self.send(stranger(n), flag::SYN)?;
        }
        self.half_open_ones_are_bounded()?;
        let after = self.links_of_friends()?;
        ensure!(before == after, "friends reach other real servers");
        self.friends_are_established()?;
        self.counters_are_right()?;
        // The half-open ones end by their timers, and take nothing along.
        self.kernel.set_clock(START + 61_000)?;
        self.console.director().tick()?;
        self.counters_are_right()?;
        let rest = self.kernel.snapshot(DESTS)?.half_open.len();
        ensure!(rest == 0, "{rest} half-open entries outlived their timers");
        self.friends_are_established()
    }

    fn send(&mut self, client: SocketAddrV4, flags: u8) -> Result<Outcome> {
        let network = &self.kernel.setup().network;
        let (from, to) = (network.gateway_mac, network.links[0].mac);
        let frame = Packet::tcp(client, VIP, flags).between(from, to).frame();
        self.kernel.run(0, &frame)
    }

    /// Where each friend's packet leaves.
    fn links_of_friends(&mut self) -> Result<Vec<usize>> {
        let mut links = Vec::new();
        for n in 0..ESTABLISHED {
            match self.send(friend(n), flag::ACK)?.verdict {
                Verdict::Redirect(Some(link)) => links.push(link),
                other @ (Verdict::Pass
                | Verdict::Drop
                | Verdict::Waits
                | Verdict::Tx
                | Verdict::Redirect(None)) => {
                    anyhow::bail!("{} is not forwarded: {other:?}", friend(n))
                }
            }
        }
        Ok(links)
    }

    fn friends_are_established(&self) -> Result<()> {
        let conns = self.kernel.snapshot(0)?.conns;
        let missing = (0..ESTABLISHED).filter(|n| !conns.contains_key(&key(friend(*n)).wide()));
        let missing = missing.count();
        ensure!(missing == 0, "{missing} established connections are gone");
        Ok(())
    }

    /// The flood took all there is to take, and no more.
    fn half_open_ones_are_bounded(&self) -> Result<()> {
        let half_open = self.kernel.snapshot(0)?.half_open;
        let clients = half_open.values();
        let clients = clients.filter(|c| c.status.flags & ConnFlags::REPLY == 0);
        let (count, room) = (clients.count(), CAPACITIES.half_open as usize);
        ensure!(count == room, "{count} half-open connections, not {room}");
        Ok(())
    }

    /// What real servers are counted for is what is in the tables.
    fn counters_are_right(&self) -> Result<()> {
        let tables = self.kernel.snapshot(DESTS)?;
        let (entries, counters) = (tables.counted(), tables.counters());
        ensure!(
            entries == counters,
            "entries {entries:?}, counters {counters:?}"
        );
        Ok(())
    }
}

const fn friend(n: u32) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from_bits(0xc633_6401), 1024 + n as u16)
}

const fn stranger(n: u32) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from_bits(0x2d00_0000 + n), 1024)
}

fn key(client: SocketAddrV4) -> FlowKey {
    FlowKey::new(
        6,
        client.ip().octets(),
        client.port().to_be_bytes(),
        VIP.ip().octets(),
        VIP.port().to_be_bytes(),
    )
}
