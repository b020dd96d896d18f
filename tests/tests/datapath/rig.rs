//! A director over the datapath on the host, and packets for it.

use std::net::{Ipv4Addr, SocketAddrV4};

use ipvs_common::{ConnFlags, Entry, Flow, Proto, ServiceKey};
use ipvs_tests::{
    backend::{Backend, HZ, Host, Outcome, START, Setup, Verdict},
    packet::{Packet, flag},
    replay::Console,
    six,
    trace::Network,
};
use ipvs_user::model::{Command, ServiceSpec};

/// Links by number: the clients', and one for each real server.
pub(crate) const C0: usize = 0;
pub(crate) const R1: usize = 1;
pub(crate) const R2: usize = 2;

pub(crate) struct Rig {
    pub(crate) host: Host,
    pub(crate) console: Console,
    clock: u64,
    /// Between the twins of all addresses.
    pub(crate) six: bool,
}

impl Rig {
    pub(crate) fn new(commands: &[&str]) -> Self {
        Self::with(|_| (), commands)
    }

    /// The twins of the commands, and of every packet to come.
    pub(crate) fn over_six(commands: &[&str]) -> Self {
        let mut rig = Self::new(&[]);
        rig.six = true;
        for command in commands {
            rig.ipvsadm(command);
        }
        rig
    }

    pub(crate) fn with(change: impl FnOnce(&mut Setup), commands: &[&str]) -> Self {
        let mut setup = Setup::new(Network::load().unwrap());
        change(&mut setup);
        let host = Host::new(setup);
        let rig = Self {
            console: Console::new(host.dataplane(), &host.setup().network).unwrap(),
            host,
            clock: START,
            six: false,
        };
        for command in commands {
            rig.ipvsadm(command);
        }
        rig
    }

    pub(crate) fn ipvsadm(&self, line: &str) {
        let line = if self.six {
            six::command(line)
        } else {
            six::command_of_four(line)
        };
        let outcome = self.console.run(&format!("ipvsadm {line}")).unwrap();
        assert_eq!(outcome.status, 0, "{line}: {}", outcome.stderr);
    }

    /// Turns a knob of ip_vs.
    pub(crate) fn knob(&self, name: &str, value: &str) {
        self.console.director().set_sysctl(name, value).unwrap();
    }

    /// Gives the TCP service on a port of the virtual address a policy.
    pub(crate) fn policy(&self, port: u16, policy: u8) {
        let mut director = self.console.director();
        let service = tcp_service(port);
        let before = director.model().service(&service).unwrap().spec;
        let spec = ServiceSpec { policy, ..before };
        let keep = 0;
        let edit = Command::EditService {
            service,
            spec,
            keep,
        };
        director.execute(&edit).unwrap();
    }

    pub(crate) fn pass(&mut self, seconds: u64) {
        self.clock_moves(seconds);
        self.console.director().tick().unwrap();
    }

    /// Time goes by, and nobody has looked at the tables yet.
    pub(crate) fn clock_moves(&mut self, seconds: u64) {
        self.clock += seconds * HZ;
        self.host.set_clock(self.clock).unwrap();
    }

    /// Active, inactive and persistent connections of the real server with this index.
    pub(crate) fn counts(&self, dest: u32) -> (u32, u32, u32) {
        let state = self.host.snapshot(dest + 1).unwrap().dest_states[&dest];
        (state.active, state.inactive, state.persistent)
    }

    /// Puts a packet on a link and runs it.
    pub(crate) fn send(&mut self, link: usize, packet: Packet) -> Outcome {
        let frame = self.address(link, packet).frame();
        self.host.run(link, &frame).unwrap()
    }

    pub(crate) fn address(&self, link: usize, packet: Packet) -> Packet {
        let network = &self.host.setup().network;
        let packet = Packet {
            six: self.six || packet.six,
            ..packet
        };
        packet.between([2, 0, 0, 9, 9, 9], network.links[link].mac)
    }

    /// Link by which a client's packet leaves; `None` if it does not.
    pub(crate) fn leaves_by(&mut self, packet: Packet) -> Option<usize> {
        link(&self.send(C0, packet))
    }

    pub(crate) fn reason(&self, name: &str) -> u64 {
        self.host.counters(0).unwrap().reasons[name]
    }

    pub(crate) fn entry_of(&self, n: u16) -> Option<(bool, Entry)> {
        let tables = self.host.snapshot(0).unwrap();
        let is_it = |key: &Flow, conn: &Entry| {
            conn.status.flags & ConnFlags::REPLY == 0 && key.sport == client(n).port().to_be_bytes()
        };
        let mut established = tables.conns.iter().filter(|(k, c)| is_it(k, c));
        let mut half_open = tables.half_open.iter().filter(|(k, c)| is_it(k, c));
        match (established.next(), half_open.next()) {
            (Some((_, c)), _) => Some((true, *c)),
            (None, Some((_, c))) => Some((false, *c)),
            (None, None) => None,
        }
    }
}

pub(crate) fn link(outcome: &Outcome) -> Option<usize> {
    match outcome.verdict {
        Verdict::Redirect(link) => link,
        Verdict::Pass | Verdict::Drop | Verdict::Waits | Verdict::Tx => None,
    }
}

pub(crate) fn client(n: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 1), 1024 + n)
}

pub(crate) fn vip(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 10), port)
}

pub(crate) fn real(link: u8, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 0, link, 10), port)
}

pub(crate) fn syn(n: u16) -> Packet {
    Packet::tcp(client(n), vip(80), flag::SYN)
}

pub(crate) fn ack(n: u16) -> Packet {
    Packet::tcp(client(n), vip(80), flag::ACK)
}

/// Key of the TCP service on a port of the virtual address.
pub(crate) fn tcp_service(port: u16) -> ServiceKey {
    let to = vip(port);
    ServiceKey::v4(Proto::Tcp as u8, to.ip().octets(), port.to_be_bytes())
}

/// A client's segment with these flags.
pub(crate) fn segment(n: u16, flags: u8) -> Packet {
    Packet::tcp(client(n), vip(80), flags)
}

pub(crate) fn datagram(n: u16) -> Packet {
    Packet::udp(client(n), vip(53)).data(5)
}

pub(crate) const DROUTE: [&str; 3] = [
    "-A -t 203.0.113.10:80 -s rr",
    "-a -t 203.0.113.10:80 -r 10.0.1.10:80 -g",
    "-a -t 203.0.113.10:80 -r 10.0.2.10:80 -g",
];
pub(crate) const MASQ: [&str; 4] = [
    "-A -t 203.0.113.10:80 -s rr",
    "-a -t 203.0.113.10:80 -r 10.0.1.10:8080 -m",
    "-A -u 203.0.113.10:53 -s rr",
    "-a -u 203.0.113.10:53 -r 10.0.1.10:5353 -m",
];
pub(crate) const TUNNEL: [&str; 2] = [
    "-A -t 203.0.113.10:80 -s rr",
    "-a -t 203.0.113.10:80 -r 10.0.1.10:80 -i",
];
