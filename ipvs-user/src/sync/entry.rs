//! Between entries on the wire and entries of the tables. Pure: knows the model, and neither sockets nor a dataplane.

use std::net::SocketAddr;

use ipvs_common::{
    self as tables, Addr, Address as _, Conn, ConnFlags, Flow, FlowKey, ForwardingMethod, Proto,
    ServiceKey, Settings, State, Synced, Template, TemplateKey, Tie,
};
use ipvs_datapath::conn::template;

use super::message::{Entry, flag};
use crate::{
    model::{DestKey, Model, RealServer, VirtualService},
    timeouts::MAX_SECONDS,
};

/// FTP's control port: its service takes data connections, too, and the templates of all of a client's FTP have port 0.
const FTP: u16 = 21;
/// Seconds that a template lives of which no time was told.
const TEMPLATE_SECONDS: u32 = 180;

/// Where an entry belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Connection(Flow, Synced),
    Template(Tie, Synced),
    /// Its service, or its real server, is not there (yet).
    Nowhere,
    /// There never will be one.
    Unfit,
}

/// States that a backup is told of.
#[must_use]
pub const fn is_told(proto: u8, state: u8) -> bool {
    const TOLD: [State; 10] = [
        State::Established,
        State::FinWait,
        State::Close,
        State::CloseWait,
        State::TimeWait,
        State::SctpEstablished,
        State::SctpShutdownSent,
        State::SctpShutdownReceived,
        State::SctpShutdownAckSent,
        State::SctpClosed,
    ];
    if proto == Proto::Udp as u8 {
        return true;
    }
    let mut i = 0;
    while i < TOLD.len() {
        if TOLD[i] as u8 == state {
            return true;
        }
        i += 1;
    }
    false
}

/// What is told of a connection that has so many seconds to go. `None`: nothing, as no real server serves it, or its state is
/// not yet worth it.
#[must_use]
pub fn of_connection(key: &Flow, conn: &tables::Entry, seconds: u32) -> Option<Entry> {
    let tables::Entry { status, mark, .. } = *conn;
    let silent = ConnFlags::REPLY | ConnFlags::LEAVING;
    let told = status.flags & silent == 0
        && status.method != ForwardingMethod::BYPASS
        && is_told(key.proto, status.state);
    let flags = flags_of(status.method)
        | if_set(status.flags & ConnFlags::NO_OUTPUT, flag::NO_OUTPUT)
        | if_set(!status.flags & ConnFlags::ACTIVE, flag::INACTIVE);
    told.then(|| Entry {
        proto: key.proto,
        flags,
        state: wire_state(key.proto, status.state),
        client: socket(key.src, key.sport),
        virt: socket(key.dst, key.dport),
        real: socket(conn.to_addr, conn.to_port),
        mark,
        timeout: Some(seconds),
        seq: None,
        engine: None,
    })
}

/// The same of a template that ties a client to `real`.
#[must_use]
pub fn of_template(
    key: &Tie,
    template: &Template,
    real: &DestKey,
    method: ForwardingMethod,
    seconds: u32,
) -> Option<Entry> {
    let by_mark = key.proto == 0;
    let port = if key.vport == [0, 0] { 0 } else { real.port };
    let told = template.renamed == 0 && template.dest != u32::MAX;
    told.then(|| Entry {
        proto: key.proto,
        flags: flag::TEMPLATE | flag::INACTIVE | flags_of(method as u8) | no_output(method as u8),
        state: u16::from(template.assured != 0),
        client: socket(key.client, [0; 2]),
        virt: socket(key.vip, key.vport),
        real: SocketAddr::new(real.addr.ip(), port),
        mark: if by_mark { mark_of(key) } else { 0 },
        timeout: Some(seconds),
        seq: None,
        engine: None,
    })
}

const fn flags_of(method: u8) -> u32 {
    method as u32 & flag::METHOD
}

const fn no_output(method: u8) -> u32 {
    if method == ForwardingMethod::Masq as u8 {
        0
    } else {
        flag::NO_OUTPUT
    }
}

const fn if_set(bits: u8, flag: u32) -> u32 {
    if bits == 0 { 0 } else { flag }
}

fn socket(addr: Addr, port: [u8; 2]) -> SocketAddr {
    SocketAddr::new(addr.ip(), u16::from_be_bytes(port))
}

/// The firewall mark in the key of a template.
fn mark_of(key: &Tie) -> u32 {
    if key.is_v4() {
        TemplateKey::<[u8; 4]>::narrow(key).vip.number()
    } else {
        key.vip.number()
    }
}

/// Key of the template over a connection.
#[must_use]
pub fn over(key: &Flow, conn: &tables::Entry) -> Tie {
    if key.is_v4() {
        template::over(&FlowKey::<[u8; 4]>::narrow(key), &Conn::narrow(conn)).wide()
    } else {
        template::over(key, conn)
    }
}

/// Finds the place of what another director told.
#[must_use]
pub fn place(entry: &Entry, model: &Model, settings: &Settings) -> Place {
    // Nobody here moves sequence numbers, keeps an engine's data, or waits for a port under this name.
    let foreign = entry.seq.is_some()
        || entry.engine.is_some()
        || entry.flags & flag::NO_CLIENT_PORT != 0
        || !are_of_one_family(entry);
    let Some(state) = state_of(entry).filter(|_| !foreign) else {
        return Place::Unfit;
    };
    let Some(service) = service_of(entry, model) else {
        return Place::Nowhere;
    };
    let Some(dest) = real_server(service, entry.real) else {
        return Place::Nowhere;
    };
    if entry.is_template() {
        return tie(entry, service, dest, settings);
    }
    let ((src, sport), (dst, dport)) = (ends(entry.client), ends(entry.virt));
    let standard = settings.timeouts[usize::from(state) % State::SLOTS];
    let synced = Synced {
        dest: dest.id,
        timeout: told_ticks(entry, settings).unwrap_or(standard),
        detail: entry.mark,
        port: entry.real.port().to_be_bytes(),
        state,
        flags: if entry.flags & flag::NO_OUTPUT == 0 {
            0
        } else {
            ConnFlags::NO_OUTPUT
        },
    };
    Place::Connection(FlowKey::new(entry.proto, src, sport, dst, dport), synced)
}

/// In the numbers of the kernel.
fn wire_state(proto: u8, state: u8) -> u16 {
    match Proto::from_number(proto) {
        Some(Proto::Tcp) => state.into(),
        Some(Proto::Sctp) => state.saturating_sub(State::OF_SCTP).into(),
        Some(Proto::Udp) | None => 0,
    }
}

/// In the numbers of the tables. `None`: there is no such state, or protocol.
fn state_of(entry: &Entry) -> Option<u8> {
    if entry.is_template() {
        return Some(u8::from(entry.state != 0));
    }
    let state = u8::try_from(entry.state).ok();
    match Proto::from_number(entry.proto)? {
        Proto::Udp => Some(State::Udp as u8),
        Proto::Tcp => state.filter(|state| *state < State::Udp as u8),
        Proto::Sctp => State::of_sctp(state?).map(|state| state as u8),
    }
}

/// `None`: no time was told.
fn told_ticks(entry: &Entry, settings: &Settings) -> Option<u32> {
    let seconds = entry.timeout.filter(|seconds| *seconds != 0)?;
    Some(seconds.min(MAX_SECONDS).saturating_mul(settings.hz))
}

fn tie(entry: &Entry, service: &VirtualService, dest: &RealServer, settings: &Settings) -> Place {
    let ((client, _), (vip, vport)) = (ends(entry.client), ends(entry.virt));
    let Some(persistent) = service.spec.persistent else {
        return Place::Nowhere;
    };
    let key = match service.key.mark {
        0 => Tie {
            client,
            vip,
            vport,
            proto: entry.proto,
            generation: 0,
        },
        mark => Tie {
            client,
            vip: if client.is_v4() {
                <[u8; 4]>::of_number(mark).wide()
            } else {
                Addr::of_number(mark)
            },
            ..Tie::default()
        },
    };
    let standard = TEMPLATE_SECONDS.saturating_mul(settings.hz);
    let synced = Synced {
        dest: dest.id,
        timeout: told_ticks(entry, settings).unwrap_or(standard),
        detail: persistent.saturating_mul(settings.hz),
        port: [0; 2],
        state: u8::from(entry.state != 0),
        flags: 0,
    };
    Place::Template(key, synced)
}

fn service_of<'m>(entry: &Entry, model: &'m Model) -> Option<&'m VirtualService> {
    if entry.mark != 0 {
        return model.service(&if entry.client.is_ipv4() {
            ServiceKey::fwmark(entry.mark)
        } else {
            ServiceKey::fwmark6(entry.mark)
        });
    }
    let (vip, vport) = ends(entry.virt);
    let at = |port: u16| model.service(&ServiceKey::at(entry.proto, vip, port.to_be_bytes()));
    let ftp = || at(FTP).filter(|_| entry.proto == Proto::Tcp as u8);
    at(u16::from_be_bytes(vport)).or_else(|| at(0)).or_else(ftp)
}

fn real_server(service: &VirtualService, real: SocketAddr) -> Option<&RealServer> {
    let with = |port| DestKey {
        addr: real.ip().into(),
        port,
    };
    let find = |key: DestKey| service.dests.iter().find(|d| d.key == key);
    // Port 0: of a real server that keeps the packets' ports; or of a template for all ports, whose real server has one.
    let any_port = || service.dests.iter().find(|d| d.key.addr == with(0).addr);
    let any_port = || any_port().filter(|_| real.port() == 0);
    find(with(real.port()))
        .or_else(|| find(with(0)))
        .or_else(any_port)
}

fn ends(socket: SocketAddr) -> (Addr, [u8; 2]) {
    (socket.ip().into(), socket.port().to_be_bytes())
}

/// That its addresses are, and that none of IPv6 could be taken for one of IPv4.
fn are_of_one_family(entry: &Entry) -> bool {
    let v4 = entry.client.is_ipv4();
    [entry.client, entry.virt, entry.real]
        .iter()
        .all(|end| end.is_ipv4() == v4 && Addr::from(end.ip()).is_v4() == v4)
}

#[cfg(test)]
mod tests {
    use ipvs_common::{Scheduler, Status};

    use super::*;
    use crate::model::{Command, DestSpec, Limits, ServiceSpec};

    const CLIENT: ([u8; 4], u16) = ([198, 51, 100, 1], 1024);
    const VIP: ([u8; 4], u16) = ([203, 0, 113, 10], 36);
    const REAL: ([u8; 4], u16) = ([10, 0, 0, 1], 36);

    fn key() -> Flow {
        FlowKey::new(
            Proto::Sctp as u8,
            Addr::v4(CLIENT.0),
            CLIENT.1.to_be_bytes(),
            Addr::v4(VIP.0),
            VIP.1.to_be_bytes(),
        )
    }

    fn conn(state: State) -> tables::Entry {
        tables::Entry {
            to_addr: Addr::v4(REAL.0),
            to_port: REAL.1.to_be_bytes(),
            status: Status {
                state: state as u8,
                ..Status::default()
            },
            ..tables::Entry::default()
        }
    }

    fn model() -> Model {
        let mut model = Model::new(Limits {
            services: 1,
            dests: 1,
            dests_per_service: 1,
            maglev: 251,
        });
        let service = ServiceKey::v4(Proto::Sctp as u8, VIP.0, VIP.1.to_be_bytes());
        let dest = DestKey {
            addr: Addr::v4(REAL.0),
            port: REAL.1,
        };
        let spec = ServiceSpec::new(Scheduler::Rr);
        model.apply(&Command::AddService { service, spec }).unwrap();
        let spec = DestSpec::new(ForwardingMethod::Masq, 1);
        let add = Command::AddDest {
            service,
            dest,
            spec,
        };
        model.apply(&add).unwrap();
        model
    }

    #[test]
    fn states_of_sctp_travel_in_the_kernels_numbers_and_come_back() {
        let (model, settings) = (model(), Settings::with_hz(100));
        for (state, number) in [
            (State::SctpEstablished, 8),
            (State::SctpShutdownSent, 9),
            (State::SctpShutdownReceived, 10),
            (State::SctpShutdownAckSent, 11),
            (State::SctpClosed, 13),
        ] {
            let told = of_connection(&key(), &conn(state), 60).unwrap();
            assert_eq!((told.proto, told.state), (132, number));
            let Place::Connection(flow, synced) = place(&told, &model, &settings) else {
                panic!("{state:?} has no place");
            };
            assert_eq!((flow, synced.state), (key(), state as u8));
        }
    }

    #[test]
    fn associations_that_are_being_opened_are_not_told() {
        for state in [
            State::SctpInit1,
            State::SctpCookieReplied,
            State::SctpRejected,
        ] {
            assert_eq!(of_connection(&key(), &conn(state), 60), None, "{state:?}");
        }
    }

    #[test]
    fn states_that_sctp_has_not_have_no_place() {
        let told = of_connection(&key(), &conn(State::SctpClosed), 60).unwrap();
        let told = Entry { state: 14, ..told };
        let place = place(&told, &model(), &Settings::with_hz(100));
        assert_eq!(place, Place::Unfit);
    }
}
