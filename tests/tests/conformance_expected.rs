//! Announced connections through the real programs in the kernel, against the host: the same verdicts, bytes and tables. Needs
//! root.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::net::{Ipv4Addr, SocketAddrV4};

use ipvs_common::{Proto, ServiceKey};
use ipvs_tests::{
    backend::{Backend, HZ, Host, Kernel, START, Setup, Verdict, in_network},
    packet::{Packet, flag},
    replay::Console,
    trace::Network,
};
use ipvs_user::director::Expectation;

const COMMANDS: [&str; 4] = [
    "ipvsadm -A -t 203.0.113.10:21 -s rr",
    "ipvsadm -a -t 203.0.113.10:21 -r 10.0.1.10:21 -m",
    "ipvsadm -a -t 203.0.113.10:21 -r 10.0.2.10:21 -g",
    "ipvsadm -a -t 203.0.113.10:21 -r 10.0.3.10:21 -i",
];
const VIRTUAL: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
const DATA: u16 = 40000;
const DESTS: u32 = 3;

fn client(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 1), port)
}

fn data_syn(port: u16) -> Packet {
    Packet::tcp(client(port), SocketAddrV4::new(VIRTUAL, DATA), flag::SYN)
}

/// To the real server of this number.
fn announced(link: u8) -> Expectation {
    Expectation {
        protocol: Proto::Tcp,
        client: *client(0).ip(),
        virt: SocketAddrV4::new(VIRTUAL, DATA),
        service: ServiceKey::v4(6, VIRTUAL.octets(), 21_u16.to_be_bytes()),
        real: SocketAddrV4::new(Ipv4Addr::new(10, 0, link, 10), 20).into(),
        timeout: 60,
    }
}

struct Pair {
    host: Host,
    kernel: Kernel,
    consoles: [Console; 2],
}

impl Pair {
    fn new() -> Self {
        let setup = Setup::new(Network::load().unwrap());
        let (host, kernel) = (
            Host::new(setup.clone()),
            Kernel::load(setup.clone()).unwrap(),
        );
        let consoles = [host.dataplane(), kernel.dataplane()]
            .map(|dataplane| Console::new(dataplane, &setup.network).unwrap());
        for (command, console) in COMMANDS
            .iter()
            .flat_map(|c| consoles.each_ref().map(|k| (c, k)))
        {
            assert_eq!(console.run(command).unwrap().status, 0, "{command}");
        }
        Self {
            host,
            kernel,
            consoles,
        }
    }

    fn announce(&self, e: Expectation) {
        for console in &self.consoles {
            console.director().expect(&e).unwrap();
        }
    }

    fn send(&mut self, link: usize, packet: Packet) -> Verdict {
        let to = self.host.setup().network.links[link].mac;
        let frame = packet.between([2, 0, 0, 9, 9, 9], to).frame();
        let host = self.host.run(link, &frame).unwrap();
        assert_eq!(host, self.kernel.run(link, &frame).unwrap());
        self.compare();
        host.verdict
    }

    fn compare(&self) {
        let (host, kernel) = (self.host.snapshot(DESTS), self.kernel.snapshot(DESTS));
        let (host, kernel) = (host.unwrap(), kernel.unwrap());
        assert_eq!(host.differences(&kernel), "");
        assert_eq!(host.counted(), host.counters());
    }
}

#[test]
fn an_announced_connection_is_met_once_and_goes_where_it_was_announced() {
    let network = Network::load().unwrap();
    in_network(&network, || {
        let mut pair = Pair::new();
        assert_eq!(pair.send(0, data_syn(1)), Verdict::Pass);
        for link in [2, 1, 3] {
            pair.announce(announced(link));
            pair.compare();
            let to = Verdict::Redirect(Some(link.into()));
            let port = 1000 + u16::from(link);
            assert_eq!(pair.send(0, data_syn(port)), to);
            assert_eq!(pair.send(0, data_syn(port)), to);
            assert_eq!(pair.send(0, data_syn(1)), Verdict::Pass);
        }
        let real = SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, 10), 20);
        let reply = Packet::tcp(real, client(1001), flag::SYN | flag::ACK);
        assert_eq!(pair.send(1, reply), Verdict::Redirect(Some(0)));
        Ok(())
    })
    .unwrap();
}

#[test]
fn many_that_nobody_meets_end_and_leave_no_count() {
    let network = Network::load().unwrap();
    in_network(&network, || {
        let mut pair = Pair::new();
        for n in 0..150 {
            let virt = SocketAddrV4::new(VIRTUAL, DATA + n % 100);
            pair.announce(Expectation {
                virt,
                ..announced(1)
            });
        }
        pair.compare();
        assert_eq!(pair.host.snapshot(1)?.half_open.len(), 100);
        for clock in [START + 59 * HZ, START + 60 * HZ] {
            pair.host.set_clock(clock)?;
            pair.kernel.set_clock(clock)?;
            for console in &pair.consoles {
                console.director().tick()?;
            }
            pair.compare();
        }
        assert!(pair.host.snapshot(1)?.half_open.is_empty());
        assert_eq!(pair.send(0, data_syn(1)), Verdict::Pass);
        Ok(())
    })
    .unwrap();
}
