//! Real servers of the other family, tunnels, and addresses of more than one machine.

use std::net::SocketAddr;

use super::*;
use crate::model::{TunnelChecksum, TunnelKind};

fn refused(service: ServiceKey, dest: &str, spec: DestSpec) -> Option<String> {
    let mut model = Model::new(LIMITS);
    model.apply(&add_service(service)).unwrap();
    let dest: SocketAddr = dest.parse().unwrap();
    let command = Command::AddDest {
        service,
        dest: dest.into(),
        spec,
    };
    model.apply(&command).err().map(|e| e.to_string())
}

fn by(method: ForwardingMethod) -> DestSpec {
    DestSpec::new(method, 1)
}

fn tunnel(kind: TunnelKind, port: u16, checksum: TunnelChecksum) -> DestSpec {
    DestSpec {
        tunnel: Tunnel {
            kind,
            port,
            checksum,
        },
        ..by(ForwardingMethod::Tunnel)
    }
}

#[test]
fn a_real_server_of_the_other_family_is_behind_a_tunnel() {
    let other = "a real server of the other address family has to be behind a tunnel";
    for (service, dest) in [
        (ServiceKey::fwmark(7), "[2001:db8::1]:80"),
        (ServiceKey::fwmark6(7), "10.0.0.1:80"),
    ] {
        for method in [ForwardingMethod::Masq, ForwardingMethod::Droute] {
            let told = refused(service, dest, by(method));
            assert_eq!(told, Some(format!("{dest}: {other}")));
        }
        assert_eq!(refused(service, dest, by(ForwardingMethod::Tunnel)), None);
    }
}

#[test]
fn a_mark_of_each_family_is_a_service_of_its_own() {
    let mut model = Model::new(LIMITS);
    model.apply(&add_service(ServiceKey::fwmark(7))).unwrap();
    model.apply(&add_service(ServiceKey::fwmark6(7))).unwrap();
    let again = model.apply(&add_service(ServiceKey::fwmark6(7)));
    assert_eq!(
        again.unwrap_err().to_string(),
        "virtual service fwmark6 7 exists already"
    );
}

#[test]
fn options_of_tunnels_fit_their_kind() {
    let mark = ServiceKey::fwmark(7);
    let (none, full, remote) = (
        TunnelChecksum::None,
        TunnelChecksum::Full,
        TunnelChecksum::Remote,
    );
    let wrong = [
        (tunnel(TunnelKind::Gue, 0, none), "gue needs a tunnel port"),
        (
            tunnel(TunnelKind::Gre, 5, none),
            "only gue has a tunnel port",
        ),
        (tunnel(TunnelKind::Ipip, 0, full), "ipip has no checksum"),
        (
            tunnel(TunnelKind::Gre, 0, remote),
            "gre has no remote checksum",
        ),
        (
            DestSpec {
                method: ForwardingMethod::Masq,
                ..tunnel(TunnelKind::Gre, 0, none)
            },
            "tunnel options are for the method tunnel",
        ),
    ];
    for (spec, message) in wrong {
        let told = refused(mark, "10.0.0.1:80", spec);
        assert_eq!(told, Some(format!("real server 10.0.0.1:80: {message}")));
    }
    for spec in [
        tunnel(TunnelKind::Gue, 6080, remote),
        tunnel(TunnelKind::Gre, 0, full),
    ] {
        assert_eq!(refused(mark, "10.0.0.1:80", spec), None);
    }
}

#[test]
fn addresses_of_more_than_one_machine_are_no_real_servers() {
    for (service, dest) in [
        (ServiceKey::fwmark(7), "255.255.255.255:80"),
        (ServiceKey::fwmark6(7), "[ff02::1]:80"),
        (ServiceKey::fwmark6(7), "[::]:80"),
        (ServiceKey::fwmark6(7), "[fe80::1]:80"),
    ] {
        let told = refused(service, dest, by(ForwardingMethod::Tunnel)).unwrap();
        assert!(
            told.ends_with("is not a unicast address, so no real server"),
            "{told}"
        );
    }
}
