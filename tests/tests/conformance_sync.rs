//! Two directors of which one tells the other, on the host and in the kernel: the same notes, the same entries, the same tables.
//! Needs root.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use anyhow::{Result, ensure};
use ipvs_common::maps::Capacities;
use ipvs_tests::{
    backend::{Backend, HZ, Host, Kernel, START, Setup, Verdict, in_network},
    random::{COMMANDS, DESTS, Generator, LINK_MARKS},
    replay::Console,
    trace::Network,
};
use ipvs_user::{
    director::SyncCount,
    sync::{
        Entry,
        message::{Version, Writer, read},
    },
};

const PACKETS: u32 = 60_000;
/// Packets after which the other director is told.
const TELL: u32 = 16;
/// Notes that are taken at once.
const MOST: usize = 10_000;

/// A director on the host, and the same in the kernel.
struct Both {
    host: Host,
    kernel: Kernel,
    consoles: [Console; 2],
}

impl Both {
    fn new(setup: &Setup) -> Result<Self> {
        let (host, kernel) = (Host::new(setup.clone()), Kernel::load(setup.clone())?);
        let consoles = [
            Console::new(host.dataplane(), &setup.network)?,
            Console::new(kernel.dataplane(), &setup.network)?,
        ];
        for command in COMMANDS {
            // Beside a sync daemon there are no real servers of the other family.
            let command = command.replace('~', "");
            for console in &consoles {
                let outcome = console.run(&command)?;
                ensure!(outcome.status == 0, "{command}: {}", outcome.stderr);
            }
        }
        Ok(Self {
            host,
            kernel,
            consoles,
        })
    }

    fn set_clock(&mut self, ticks: u64) -> Result<()> {
        self.host.set_clock(ticks)?;
        self.kernel.set_clock(ticks)?;
        for console in &self.consoles {
            console.director().tick()?;
        }
        Ok(())
    }

    /// What both say, which has to be the same.
    fn tell(&self) -> Result<Vec<Entry>> {
        let [host, kernel] = self.consoles.each_ref().map(|console| -> Result<_> {
            let mut director = console.director();
            let mut entries = director.changes_to_tell(MOST)?.unwrap_or_default();
            let mut due = director.due_to_tell(MOST)?;
            // The order of a walk is the table's own.
            due.sort_by_key(|e| (e.proto, e.client, e.virt, e.flags));
            entries.extend(due);
            Ok(entries)
        });
        let (host, kernel) = (host?, kernel?);
        ensure!(host == kernel, "host told {host:?}\nkernel {kernel:?}");
        Ok(host)
    }

    fn take_in(&self, entries: &[Entry]) -> Result<()> {
        for console in &self.consoles {
            console.director().take_in(entries)?;
        }
        Ok(())
    }

    fn compare(&self) -> Result<()> {
        let host = self.host.snapshot(DESTS)?;
        let differences = host.differences(&self.kernel.snapshot(DESTS)?);
        ensure!(differences.is_empty(), "host, kernel:\n{differences}");
        host.is_consistent()
    }

    fn happened(&self, count: SyncCount) -> u64 {
        let director = self.consoles[0].director();
        let mut counts = director.sync_counts();
        counts.find(|(c, _)| *c == count).map_or(0, |(_, n)| n)
    }
}

/// Through the datagrams that the network would carry.
fn sent(entries: &[Entry]) -> Vec<Entry> {
    let mut writer = Writer::new(Version::One, 1, 1472);
    let mut datagrams: Vec<_> = entries.iter().filter_map(|e| writer.put(e)).collect();
    datagrams.extend(writer.take());
    datagrams
        .iter()
        .flat_map(|d| read(d).unwrap().entries)
        .collect()
}

#[test]
fn host_and_kernel_tell_and_take_in_the_same() {
    let mut setup = Setup::new(Network::load().unwrap());
    setup.capacities = Capacities {
        conns: 1 << 11,
        ..Capacities::SMALL
    };
    setup.marks = LINK_MARKS;
    let network = setup.network.clone();
    in_network(&network, || replicate(&setup)).unwrap();
}

fn replicate(setup: &Setup) -> Result<()> {
    let mut master = Both::new(setup)?;
    let mut backup = Both::new(setup)?;
    for console in &master.consoles {
        console.director().tell_backup(true)?;
    }
    let mut generator = Generator::new(setup.network.clone(), 5);
    let mut clock = START;
    for number in 1..=PACKETS {
        if number.is_multiple_of(TELL) {
            let seconds = match generator.rng().u8(..) {
                0..4 => generator.rng().u64(20..70),
                4..60 => 1,
                _ => 0,
            };
            clock += seconds * HZ;
            master.set_clock(clock)?;
            backup.set_clock(clock)?;
            backup.take_in(&sent(&master.tell()?))?;
        }
        let arrival = generator.arrival();
        let host = master.host.run(arrival.link, &arrival.frame)?;
        let kernel = master.kernel.run(arrival.link, &arrival.frame)?;
        ensure!(host == kernel, "packet {number}");
        if matches!(host.verdict, Verdict::Redirect(_) | Verdict::Tx) {
            generator.observe(&host.frame);
        }
        // The backup has packets of its own: some of the same flows, some half-open.
        if generator.rng().u8(..) < 40 {
            let host = backup.host.run(arrival.link, &arrival.frame)?;
            let kernel = backup.kernel.run(arrival.link, &arrival.frame)?;
            ensure!(host == kernel, "packet {number} at the backup");
        }
        if number.is_multiple_of(1024) {
            master.compare()?;
            backup.compare()?;
        }
    }
    for count in [SyncCount::Entered, SyncCount::Refused] {
        ensure!(backup.happened(count) > 100, "{count:?} hardly happened");
    }
    for count in [SyncCount::Told, SyncCount::ToldAgain] {
        ensure!(master.happened(count) > 100, "{count:?} hardly happened");
    }
    Ok(())
}

#[test]
fn more_notes_than_the_ring_takes_are_counted_and_told_with_the_next_walk() {
    let setup = Setup::new(Network::load().unwrap());
    let network = setup.network.clone();
    in_network(&network, || {
        let mut kernel = Kernel::load(setup.clone())?;
        let console = Console::new(kernel.dataplane(), &setup.network)?;
        for command in [
            "ipvsadm -A -u 203.0.113.10:53 -s rr",
            "ipvsadm -a -u 203.0.113.10:53 -r 10.0.1.14 -g",
        ] {
            ensure!(console.run(command)?.status == 0, "{command}");
        }
        console.director().tell_backup(true)?;
        let mac = setup.network.links[0].mac;
        let virt = "203.0.113.10:53".parse()?;
        let flows = 14_000_u16;
        for port in 1024..1024 + flows {
            let client = std::net::SocketAddrV4::new([198, 51, 100, 1].into(), port);
            let packet = ipvs_tests::packet::Packet::udp(client, virt);
            let frame = packet.between([2, 0, 0, 9, 9, 9], mac).frame();
            // The second promotes.
            kernel.run(0, &frame)?;
            kernel.run(0, &frame)?;
        }
        let told = console.director().changes_to_tell(usize::MAX)?;
        let told = told.unwrap_or_default().len() as u64;
        let missed = kernel.snapshot(1)?.reasons["sync_missed"];
        ensure!(
            missed > 0 && told + missed == u64::from(flows),
            "{told} told, {missed} missed"
        );
        for second in 1..=60 {
            kernel.set_clock(START + second * HZ)?;
            console.director().tick()?;
        }
        let again = console.director().due_to_tell(usize::MAX)?.len();
        ensure!(again == usize::from(flows), "{again} told again");
        Ok(())
    })
    .unwrap();
}
