//! Random configurations with every feature, in the words of the wire.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipvs_common::Scheduler;
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::super::{
    convert,
    wire::{
        Command, DestSpec, Method, Netmask, ServiceId, ServiceSpec, Tunnel, TunnelChecksum,
        TunnelKind,
    },
};
use crate::sched_flags;

fn any_port() -> impl Strategy<Value = u16> {
    prop_oneof![1..=u16::MAX, select(vec![21, 25, 80])]
}

fn any_ip(v6: bool) -> impl Strategy<Value = IpAddr> {
    any::<[u8; 2]>().prop_map(move |[a, b]| {
        if v6 {
            Ipv6Addr::new(0x2001, 0xdb8, 0, a.into(), 0, 0, 0, b.into()).into()
        } else {
            Ipv4Addr::new(10 + a % 200, a, 0, b).into()
        }
    })
}

/// Port 0 is for persistent services.
fn any_id(persistent: bool) -> impl Strategy<Value = ServiceId> {
    let port = any_port().prop_map(move |p| if persistent && p % 3 == 0 { 0 } else { p });
    let mark = any::<std::num::NonZeroU32>();
    (0..5u8, any::<bool>().prop_flat_map(any_ip), port, mark).prop_map(|(kind, ip, port, mark)| {
        let address = SocketAddr::new(ip, port);
        match kind {
            0 => ServiceId::Tcp(address),
            1 => ServiceId::Udp(address),
            2 => ServiceId::Sctp(address),
            3 => ServiceId::Fwmark(mark),
            _ => ServiceId::Fwmark6(mark),
        }
    })
}

/// Port of a service that has one.
const fn port_of(id: ServiceId) -> Option<u16> {
    match id {
        ServiceId::Tcp(a) | ServiceId::Udp(a) | ServiceId::Sctp(a) => Some(a.port()),
        ServiceId::Fwmark(_) | ServiceId::Fwmark6(_) => None,
    }
}

prop_compose! {
    fn any_spec(id: ServiceId, persistent: Option<u32>)(
        scheduler in select(Scheduler::ALL.to_vec()),
        length in 1..=128u8,
        engine in option::weighted(0.2, Just("sip".to_owned())),
        one_packet in any::<bool>(),
        bits in 0..8u8,
    ) -> ServiceSpec {
        let may = match id {
            ServiceId::Udp(_) | ServiceId::Fwmark(_) | ServiceId::Fwmark6(_) => true,
            ServiceId::Tcp(_) | ServiceId::Sctp(_) => false,
        };
        let mask = if id.is_v6() {
            Netmask::Prefix(length)
        } else {
            Netmask::Mask(Ipv4Addr::from_bits(u32::MAX << (length % 32)))
        };
        let names = sched_flags::names(bits << 3, scheduler);
        ServiceSpec {
            persistent,
            // Only what is persistent has a use for it, and only there is it listed and saved.
            netmask: Some(mask).filter(|m| persistent.is_some() && !m.is_full()),
            engine,
            one_packet: one_packet && may,
            sched_flags: names.into_iter().map(str::to_owned).collect(),
            ..ServiceSpec::new(scheduler.name())
        }
    }
}

fn any_tunnel() -> impl Strategy<Value = Option<Tunnel>> {
    let checksums = vec![
        TunnelChecksum::None,
        TunnelChecksum::Full,
        TunnelChecksum::Remote,
    ];
    let gue = (1..=u16::MAX, select(checksums)).prop_map(|(port, checksum)| Tunnel {
        kind: TunnelKind::Gue,
        port,
        checksum,
    });
    let gre = any::<bool>().prop_map(|full| Tunnel {
        kind: TunnelKind::Gre,
        port: 0,
        checksum: if full {
            TunnelChecksum::Full
        } else {
            TunnelChecksum::None
        },
    });
    prop_oneof![Just(None), gue.prop_map(Some), gre.prop_map(Some)]
}

/// A real server of a service. Thresholds are not among what the original saves.
fn any_dest(id: ServiceId) -> impl Strategy<Value = (SocketAddr, DestSpec)> {
    let methods = select(vec![Method::Masq, Method::Droute, Method::Tunnel]);
    (
        methods,
        any::<bool>(),
        any_tunnel(),
        any_port(),
        0..=i32::MAX as u32,
    )
        .prop_flat_map(move |(method, other, tunnel, port, weight)| {
            let behind = method == Method::Tunnel;
            let port = if method == Method::Masq {
                port
            } else {
                port_of(id).unwrap_or(port)
            };
            any_ip(id.is_v6() ^ (other && behind)).prop_map(move |ip| {
                let spec = DestSpec {
                    method,
                    weight,
                    upper_threshold: 0,
                    lower_threshold: 0,
                    tunnel: tunnel.filter(|_| behind),
                };
                (SocketAddr::new(ip, port), spec)
            })
        })
}

type AnyService = (ServiceId, ServiceSpec, Vec<(SocketAddr, DestSpec)>);

pub(crate) fn any_service() -> impl Strategy<Value = AnyService> {
    option::of(1..=2_678_400u32).prop_flat_map(|persistent| {
        any_id(persistent.is_some())
            .prop_flat_map(move |id| (Just(id), any_spec(id, persistent), vec(any_dest(id), 0..4)))
    })
}

/// Commands that make a handful of services, each once, with their real servers, each once.
pub(crate) fn any_configuration() -> impl Strategy<Value = Vec<Command>> {
    vec(any_service(), 0..6).prop_map(|services| {
        let mut commands: Vec<Command> = Vec::new();
        for (service, spec, dests) in services {
            let added =
                |c: &Command| matches!(c, Command::AddService { service: s, .. } if *s == service);
            if commands.iter().any(added) {
                continue;
            }
            commands.push(Command::AddService { service, spec });
            let mut seen = std::collections::BTreeSet::new();
            let dests = dests.into_iter().filter(|(dest, _)| seen.insert(*dest));
            commands.extend(dests.map(|(dest, spec)| Command::AddDest {
                service,
                dest,
                spec,
            }));
        }
        commands
    })
}

proptest! {
    #[test]
    fn services_and_real_servers_come_back_from_json((id, spec, dests) in any_service()) {
        let command = Command::AddService { service: id, spec };
        let json = serde_json::to_string(&command).unwrap();
        prop_assert_eq!(serde_json::from_str::<Command>(&json).unwrap(), command);
        for (dest, spec) in dests {
            let spec = DestSpec { upper_threshold: spec.weight, lower_threshold: spec.weight / 2, ..spec };
            let command = Command::AddDest { service: id, dest, spec };
            let json = serde_json::to_string(&command).unwrap();
            prop_assert_eq!(serde_json::from_str::<Command>(&json).unwrap(), command);
        }
    }

    #[test]
    fn a_service_is_the_same_after_the_model((id, ..) in any_service()) {
        prop_assert_eq!(convert::service_id(&convert::service_key(id).unwrap()), id);
    }
}

#[test]
fn json_of_earlier_clients_is_understood() {
    let same = |json: &str, id: ServiceId| {
        assert_eq!(
            serde_json::from_str::<ServiceId>(json).unwrap(),
            id,
            "{json}"
        );
        assert_eq!(serde_json::to_string(&id).unwrap(), json);
    };
    same(
        r#"{"tcp":"10.0.0.5:25"}"#,
        ServiceId::Tcp("10.0.0.5:25".parse().unwrap()),
    );
    same(r#"{"fwmark":7}"#, ServiceId::Fwmark(7.try_into().unwrap()));
    same(
        r#"{"udp":"[2001:db8::1]:80"}"#,
        ServiceId::Udp("[2001:db8::1]:80".parse().unwrap()),
    );
    same(
        r#"{"sctp":"10.0.0.5:25"}"#,
        ServiceId::Sctp("10.0.0.5:25".parse().unwrap()),
    );
    same(
        r#"{"fwmark6":7}"#,
        ServiceId::Fwmark6(7.try_into().unwrap()),
    );
    let spec = r#"{"scheduler":"rr","persistent":60,"netmask":"255.255.255.0"}"#;
    let spec: ServiceSpec = serde_json::from_str(spec).unwrap();
    assert_eq!(
        spec.netmask,
        Some(Netmask::Mask(Ipv4Addr::new(255, 255, 255, 0)))
    );
    let dest: DestSpec = serde_json::from_str(r#"{"method":"tunnel","weight":1}"#).unwrap();
    assert_eq!(dest.tunnel, None);
}
