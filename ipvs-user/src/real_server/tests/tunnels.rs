//! Who takes packets out of their tunnel.

use super::{
    super::wanted::Device, Facts, Family, Method, Refusal, Step, Tunnel, TunnelType, Unpacker,
    Wanted, changes, gue, ip, machine, plan, refused, set, wanted,
};

#[test]
fn every_family_in_every_tunnel_has_its_device() {
    use Device::{Gre, Ip6gre, Ip6tnl, Ipip, Sit};
    let both = ["10.0.0.5", "2001:db8::5"];
    let cases: [(&[&str], &str, TunnelType, &[Device]); 6] = [
        (&both, "10.0.1.1", TunnelType::Ipip, &[Ipip, Sit]),
        (&both, "2001:db8:1::1", TunnelType::Ipip, &[Ip6tnl]),
        (&both[..1], "10.0.1.1", TunnelType::Gue, &[Ipip]),
        (&both[1..], "10.0.1.1", TunnelType::Gue, &[Sit]),
        (&both, "10.0.1.1", TunnelType::Gre, &[Gre]),
        (&both, "2001:db8:1::1", TunnelType::Gre, &[Ip6gre]),
    ];
    for (vips, director, kind, expected) in cases {
        let mut facts = machine();
        facts.devices = Device::ALL.into();
        facts.gue = Family::BOTH.into();
        facts.towards_director = Some(2);
        let wanted = Wanted {
            tunnel: Some(Tunnel { kind, port: 6080 }),
            director: Some(ip(director)),
            ..wanted(vips, Method::Tunnel)
        };
        let plan = plan(&wanted, &facts);
        assert_eq!(plan.refusals, []);
        let made: Vec<_> = plan.steps.iter().filter_map(made).collect();
        assert_eq!(made, expected, "{kind} to {director} for {vips:?}");
        let ports = plan.steps.iter().filter(|s| matches!(s, Step::Port { .. }));
        assert_eq!(ports.count(), usize::from(kind == TunnelType::Gue));
    }
}

fn made(step: &Step) -> Option<Device> {
    if let Step::Make { device, .. } = step {
        return Some(*device);
    }
    None
}

#[test]
fn strict_filters_are_loosened_where_packets_leave_their_tunnel() {
    let mut facts = machine();
    facts.devices = Device::ALL.into();
    let wanted = Wanted {
        director: Some(ip("10.0.1.1")),
        ..wanted(&["10.0.0.5"], Method::Tunnel)
    };
    facts.towards_director = Some(2);
    let loosened = |facts: &Facts| {
        let changes = changes(&plan(&wanted, facts));
        changes
            .iter()
            .any(|c| c.starts_with("net.ipv4.conf.ipvs-ipip.rp_filter"))
    };
    assert!(!loosened(&facts));
    let on_device = |facts: &Facts| {
        let changes = changes(&plan(&wanted, facts));
        changes.contains(&"address 10.0.0.5/32 on ipvs-ipip: absent -> there".to_owned())
    };
    assert!(!on_device(&facts));
    // The larger one of both holds, so each of them is enough to be strict.
    for strict in ["all", "default"] {
        let mut facts = facts.clone();
        set(&mut facts, strict, "rp_filter", "1");
        assert!(loosened(&facts) && on_device(&facts), "{strict}");
    }
    set(&mut facts, "all", "rp_filter", "2");
    set(&mut facts, "default", "rp_filter", "1");
    assert!(!loosened(&facts), "2 is larger");
    assert!(on_device(&facts), "a loose filter wants an address, too");
}

#[test]
fn kernel_without_a_device_has_the_program() {
    let facts = machine();
    let asked = wanted(&["10.0.0.5"], Method::Tunnel);
    let found = plan(&asked, &facts);
    let changes = changes(&found);
    let program = "XDP program on eth0: none -> unpacks IP in IP to 10.0.1.5, 2001:db8:1::5 with 10.0.0.5 inside";
    assert!(changes.contains(&program.to_owned()), "{changes:?}");
    let kernel = Wanted {
        unpacker: Unpacker::Kernel,
        ..asked
    };
    let missing = [
        Refusal::NoDevice(Device::Ipip),
        Refusal::NoDevice(Device::Ip6tnl),
    ];
    assert_eq!(refused(&kernel, &facts), missing);
    let kernel = Wanted {
        unpacker: Unpacker::Kernel,
        ..gue(&["10.0.0.5"])
    };
    let mut with_devices = facts;
    with_devices.devices = Device::ALL.into();
    let missing = Family::BOTH.map(Refusal::NoGue);
    assert_eq!(refused(&kernel, &with_devices), missing);
}

#[test]
fn program_that_is_there_is_told_of_more_addresses() {
    let mut facts = machine();
    let first = plan(&wanted(&["10.0.0.5"], Method::Tunnel), &facts);
    let told = first.steps.iter().find_map(|step| {
        if let Step::Attach { told, .. } = step {
            return Some(told.clone());
        }
        None
    });
    facts.links[1].program = Some(7);
    facts.links[1].unpacks = told;
    let again = plan(&wanted(&["10.0.0.5"], Method::Tunnel), &facts);
    let is_told = |s: &Step| matches!(s, Step::Attach { .. } | Step::Tell { .. });
    assert!(!again.steps.iter().any(is_told));
    let more = plan(&wanted(&["10.0.0.5", "10.0.0.6"], Method::Tunnel), &facts);
    let steps: Vec<_> = more.steps.iter().filter(|s| is_told(s)).collect();
    assert!(matches!(steps[..], [Step::Tell { .. }]), "{steps:?}");
    facts.links[1].unpacks = None;
    facts.links[1].occupied = Some("eth0: somebody's".to_owned());
    assert_eq!(
        refused(&wanted(&["10.0.0.5"], Method::Tunnel), &facts),
        [Refusal::Occupied("eth0: somebody's".to_owned())]
    );
}
