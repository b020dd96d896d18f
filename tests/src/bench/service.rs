//! The services under test: numbers, real servers and their addresses.
//!
//! Addresses are of the range for benchmarks (RFC 2544); clients are in 10/8. Over IPv6 their twins take their places.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use ipvs_common::{
    ForwardingMethod, Mac, Proto, Scheduler, ServiceKey, TunnelKind,
    bench::{FRAME, FRAME6},
};
use ipvs_user::model::{
    Command, DestKey, DestSpec, MAX_WEIGHT, ServiceSpec, Tunnel, TunnelChecksum,
};

use crate::six::six;

/// Where clients connect to.
const PORT: u16 = 80;
/// Where masqueraded real servers listen.
const INNER_PORT: u16 = 8080;

/// Where receivers of GUE listen.
pub(super) const GUE_PORT: u16 = 6080;

/// Real servers of a service with connections that stay, a power of two.
pub(super) const REALS: u8 = 16;
/// Numbers of real servers that choosing one is measured with.
pub(super) const SIZES: [u16; 3] = [3, 64, 1024];

/// Addresses before the first real server of a service with addresses of its own.
const OFFSET: u8 = 16;
/// Network of the real servers that all others share, and what their Ethernet addresses begin with.
const SHARED: [u8; 2] = [198, 19];
const SHARED_MAC: [u8; 4] = [2, 0, 0, 2];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BenchService {
    number: u8,
    method: ForwardingMethod,
    scheduler: Scheduler,
    pub(super) reals: u16,
    /// Over IPv6.
    pub(super) six: bool,
    tunnel: TunnelKind,
}

// Services with connections that stay, those that only ever see new clients, and the one of the floors.
pub(super) const DR: BenchService = fixed(0, ForwardingMethod::Droute, Scheduler::Rr);
pub(super) const MASQ: BenchService = fixed(1, ForwardingMethod::Masq, Scheduler::Rr);
pub(super) const IPIP: BenchService = fixed(2, ForwardingMethod::Tunnel, Scheduler::Rr);
pub(super) const GRE: BenchService = tunnel(201, TunnelKind::Gre);
pub(super) const GUE: BenchService = tunnel(202, TunnelKind::Gue);
pub(super) const DR6: BenchService = over_six(DR);
pub(super) const MASQ6: BenchService = over_six(MASQ);
pub(super) const NEW_DR: BenchService = fixed(3, ForwardingMethod::Droute, Scheduler::Rr);
pub(super) const NEW_MASQ: BenchService = fixed(4, ForwardingMethod::Masq, Scheduler::Rr);
pub(super) const NEW_WLC: BenchService = fixed(5, ForwardingMethod::Droute, Scheduler::Wlc);
pub(super) const NEW_LBLC: BenchService = fixed(6, ForwardingMethod::Droute, Scheduler::Lblc);
pub(super) const FLOOR: BenchService = fixed(7, ForwardingMethod::Droute, Scheduler::Rr);
/// The first one with shared real servers.
const FIRST_SIZED: u8 = 8;
/// A virtual address that is none.
pub(super) const NOBODY: BenchService = fixed(200, ForwardingMethod::Droute, Scheduler::Rr);

/// With real servers of its own, as many as a flow's number counts modulo.
const fn fixed(number: u8, method: ForwardingMethod, scheduler: Scheduler) -> BenchService {
    BenchService {
        number,
        method,
        scheduler,
        reals: REALS as u16,
        six: false,
        tunnel: TunnelKind::Ipip,
    }
}

const fn tunnel(number: u8, tunnel: TunnelKind) -> BenchService {
    BenchService {
        tunnel,
        ..fixed(number, ForwardingMethod::Tunnel, Scheduler::Rr)
    }
}

const fn over_six(service: BenchService) -> BenchService {
    BenchService {
        six: true,
        ..service
    }
}

/// A masqueraded service with the fewest real servers.
pub(super) const fn masq_of_few() -> BenchService {
    BenchService {
        number: FIRST_SIZED,
        method: ForwardingMethod::Masq,
        scheduler: Scheduler::Rr,
        reals: SIZES[0],
        six: false,
        tunnel: TunnelKind::Ipip,
    }
}

/// Direct routing, under every scheduler with every number of real servers.
pub(super) fn by_scheduler() -> impl Iterator<Item = BenchService> {
    let schedulers = Scheduler::ALL.iter().filter(|s| **s != Scheduler::None);
    let sized = schedulers.flat_map(|s| SIZES.map(|reals| (*s, reals)));
    (FIRST_SIZED + 1..).zip(sized).map(|(number, (s, reals))| {
        let method = ForwardingMethod::Droute;
        BenchService {
            reals,
            ..fixed(number, method, s)
        }
    })
}

/// Those that the director has.
pub(super) fn all() -> impl Iterator<Item = BenchService> {
    let fixed = [
        DR, MASQ, IPIP, GRE, GUE, DR6, MASQ6, NEW_DR, NEW_MASQ, NEW_WLC, NEW_LBLC,
    ];
    let few = [masq_of_few()];
    fixed.into_iter().chain(few).chain(by_scheduler())
}

impl BenchService {
    pub(super) const fn method(self) -> ForwardingMethod {
        self.method
    }

    /// Entries of one of its connections.
    pub(super) const fn entries(self) -> u16 {
        match self.method {
            ForwardingMethod::Masq => 2,
            ForwardingMethod::Droute | ForwardingMethod::Tunnel => 1,
        }
    }

    /// Bytes of the frames that it is measured with.
    pub(super) const fn frame_len(self) -> usize {
        if self.six { FRAME6 } else { FRAME }
    }

    /// An address of its family.
    pub(super) fn ip(self, addr: Ipv4Addr) -> IpAddr {
        if self.six {
            six(addr).into()
        } else {
            addr.into()
        }
    }

    /// As it goes into the names of cases.
    pub(super) fn label(self) -> String {
        format!("{}_{}", self.scheduler.name(), self.reals)
    }

    /// Where clients connect to.
    pub(super) const fn virtual_server(self) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(198, 18, 0, self.number + 1), PORT)
    }

    const fn is_sized(self) -> bool {
        self.number >= FIRST_SIZED && self.number < NOBODY.number
    }

    /// A real server by its place in the list.
    pub(super) const fn real(self, place: u16) -> SocketAddrV4 {
        let [high, low] = place.to_be_bytes();
        let [a, b] = SHARED;
        let addr = if self.is_sized() {
            Ipv4Addr::new(a, b, high, low)
        } else {
            Ipv4Addr::new(198, 18, self.number + 1, OFFSET + low)
        };
        let port = match self.method {
            ForwardingMethod::Masq => INNER_PORT,
            ForwardingMethod::Droute | ForwardingMethod::Tunnel => PORT,
        };
        SocketAddrV4::new(addr, port)
    }

    /// Its Ethernet address.
    pub(super) const fn mac(self, place: u16) -> Mac {
        let [high, low] = place.to_be_bytes();
        let [a, b, c, d] = SHARED_MAC;
        if self.is_sized() {
            [a, b, c, d, high, low]
        } else {
            [2, 0, 0, 1, self.number, low]
        }
    }

    /// The place of the real server that a frame is addressed to; of this service only if [`Self::mac`] says so.
    pub(super) fn place_of(self, frame: &[u8]) -> u16 {
        match frame {
            [_, _, _, _, high, low, ..] if self.is_sized() => u16::from_be_bytes([*high, *low]),
            [_, _, _, _, _, low, ..] => u16::from(*low),
            _ => 0,
        }
    }

    /// What the administrator types to get it.
    pub(super) fn commands(self) -> Vec<Command> {
        let address = self.virtual_server();
        self.commands_for(ServiceKey::at(
            Proto::Tcp as u8,
            self.ip(*address.ip()).into(),
            address.port().to_be_bytes(),
        ))
    }

    /// The same real servers under another key.
    pub(super) fn commands_for(self, service: ServiceKey) -> Vec<Command> {
        let add = Command::AddService {
            service,
            spec: ServiceSpec {
                prefix: ServiceSpec::full_prefix(&service),
                ..ServiceSpec::new(self.scheduler)
            },
        };
        // Each goes to the head of the list.
        let dests = (0..self.reals).rev().map(|place| {
            let real = self.real(place);
            Command::AddDest {
                service,
                dest: DestKey::new(self.ip(*real.ip()), real.port()),
                spec: DestSpec {
                    tunnel: self.tunnel(),
                    ..DestSpec::new(self.method, self.weight(place))
                },
            }
        });
        [add].into_iter().chain(dests).collect()
    }

    const fn tunnel(self) -> Tunnel {
        Tunnel {
            kind: self.tunnel,
            port: if matches!(self.tunnel, TunnelKind::Gue) {
                GUE_PORT
            } else {
                0
            },
            checksum: TunnelChecksum::None,
        }
    }

    fn weight(self, place: u16) -> u32 {
        if self.scheduler == Scheduler::Ovf {
            // Takes no more connections than its weight, and all of those of a full ring are active.
            MAX_WEIGHT
        } else if self.is_sized() {
            u32::from(place % 4) + 1
        } else {
            1
        }
    }
}
