//! The rules of the model, one by one and over random commands.

use std::collections::BTreeSet;

use ipvs_common::{Addr, ForwardingMethod, Proto, Scheduler, ServiceKey};
use proptest::prelude::*;

use super::{
    Command, Conditions, DestKey, DestSpec, Effect, Limits, MatchRule, Model, ModelError, Origin,
    RealServer, ServiceSpec, Tunnel,
};

mod policies;
mod reach;
mod returns;

const LIMITS: Limits = Limits {
    services: 3,
    dests: 8,
    dests_per_service: 4,
    maglev: 251,
};

fn web() -> ServiceKey {
    ServiceKey::v4(Proto::Tcp as u8, [203, 0, 113, 10], 80u16.to_be_bytes())
}

fn real(n: u8) -> DestKey {
    DestKey {
        addr: Addr::v4([10, 0, 0, n]),
        port: 80,
    }
}

const RR: ServiceSpec = ServiceSpec::new(Scheduler::Rr);
const PLAIN: DestSpec = DestSpec::new(ForwardingMethod::Droute, 1);

fn add_service(service: ServiceKey) -> Command {
    Command::AddService { service, spec: RR }
}

fn add(n: u8) -> Command {
    Command::AddDest {
        service: web(),
        dest: real(n),
        spec: PLAIN,
    }
}

fn delete(n: u8) -> Command {
    Command::DeleteDest {
        service: web(),
        dest: real(n),
    }
}

/// A model after these commands, all of which must be taken.
fn model(commands: impl IntoIterator<Item = Command>) -> Model {
    let mut m = Model::new(LIMITS);
    for c in commands {
        m.apply(&c).unwrap();
    }
    m
}

fn three() -> Model {
    model([add_service(web()), add(1), add(2), add(3)])
}

fn order(m: &Model) -> Vec<u8> {
    let dests = &m.service(&web()).unwrap().dests;
    dests.iter().map(|d| d.key.addr.low4()[3]).collect()
}

fn id_of(m: &Model, n: u8) -> u32 {
    let is = |d: &&RealServer| d.key == real(n);
    m.service(&web()).unwrap().dests.iter().find(is).unwrap().id
}

#[test]
fn a_new_real_server_goes_to_the_head_and_an_edited_one_keeps_its_place() {
    let mut m = three();
    assert_eq!(order(&m), [3, 2, 1]);
    let spec = DestSpec { weight: 7, ..PLAIN };
    m.apply(&Command::EditDest {
        service: web(),
        dest: real(2),
        spec,
    })
    .unwrap();
    assert_eq!(order(&m), [3, 2, 1]);
    m.apply(&delete(1)).unwrap();
    m.apply(&add(1)).unwrap();
    assert_eq!(order(&m), [1, 3, 2]);
}

#[test]
fn deletion_tells_the_predecessor_in_the_list() {
    let mut m = three();
    let predecessor = |m: &mut Model, n| match m.apply(&delete(n)).unwrap()[..] {
        [Effect::DestRemoved { predecessor, .. }] => predecessor,
        ref other => panic!("{other:?}"),
    };
    let three = id_of(&m, 3);
    assert_eq!(predecessor(&mut m, 2), Some(three));
    assert_eq!(predecessor(&mut m, 3), None);
}

#[test]
fn a_lifted_upper_threshold_lifts_the_overload_and_a_kept_one_does_not() {
    let limited = |upper| DestSpec { upper, ..PLAIN };
    let edit = |upper| Command::EditDest {
        service: web(),
        dest: real(1),
        spec: limited(upper),
    };
    for (from, to, lifted) in [
        (3, 0, true),
        (3, 4, true),
        (3, 3, false),
        (3, 2, false),
        (0, 3, false),
    ] {
        let mut m = model([add_service(web()), add(1), edit(from)]);
        let effects = m.apply(&edit(to)).unwrap();
        let found = effects
            .iter()
            .any(|e| matches!(e, Effect::OverloadLifted { .. }));
        assert_eq!(found, lifted, "{from} -> {to}");
    }
}

#[test]
fn every_refusal_has_its_own_answer() {
    let dest = |spec| Command::AddDest {
        service: web(),
        dest: real(9),
        spec,
    };
    let elsewhere = ServiceKey::fwmark(9);
    let address = |addr| Command::AddDest {
        service: web(),
        dest: DestKey {
            addr: Addr::v4(addr),
            port: 80,
        },
        spec: PLAIN,
    };
    let port0 = ServiceKey::v4(6, [203, 0, 113, 10], [0; 2]);
    let refusal = |c: Command| three().apply(&c).unwrap_err();

    assert_eq!(
        refusal(add_service(web())),
        ModelError::ServiceExists(web())
    );
    assert_eq!(
        refusal(Command::EditService {
            service: elsewhere,
            spec: RR,
            keep: 0
        }),
        ModelError::NoService(elsewhere)
    );
    assert_eq!(
        refusal(Command::DeleteService { service: elsewhere }),
        ModelError::NoService(elsewhere)
    );
    assert_eq!(
        refusal(Command::AddDest {
            service: elsewhere,
            dest: real(1),
            spec: PLAIN
        }),
        ModelError::ServiceUndefined(elsewhere)
    );
    assert_eq!(
        refusal(add(1)),
        ModelError::DestExists {
            service: web(),
            dest: real(1)
        }
    );
    assert_eq!(
        refusal(delete(9)),
        ModelError::NoDest {
            service: web(),
            dest: real(9)
        }
    );
    for spec in [
        DestSpec {
            upper: 1,
            lower: 2,
            ..PLAIN
        },
        DestSpec {
            weight: 1 << 31,
            ..PLAIN
        },
    ] {
        assert!(matches!(refusal(dest(spec)), ModelError::Range(_)));
    }
    let other_port = Command::AddDest {
        service: web(),
        dest: DestKey {
            port: 81,
            ..real(9)
        },
        spec: PLAIN,
    };
    for c in [
        address([224, 0, 0, 1]),
        address([0, 0, 0, 0]),
        other_port,
        add_service(port0),
    ] {
        assert!(matches!(refusal(c), ModelError::Invalid(_)));
    }
}

#[test]
fn a_full_table_refuses() {
    let mut m = model([add_service(web()), add(1), add(2), add(3), add(4)]);
    assert!(matches!(
        m.apply(&add(5)),
        Err(ModelError::Full { capacity: 4, .. })
    ));
    for mark in 1..3 {
        m.apply(&add_service(ServiceKey::fwmark(mark))).unwrap();
    }
    assert!(matches!(
        m.apply(&add_service(ServiceKey::fwmark(3))),
        Err(ModelError::Full { capacity: 3, .. })
    ));
}

#[test]
fn another_scheduler_starts_afresh_and_the_same_one_does_not() {
    let edit = |scheduler| Command::EditService {
        service: web(),
        spec: ServiceSpec::new(scheduler),
        keep: 0,
    };
    for (scheduler, rescheduled) in [(Scheduler::Rr, false), (Scheduler::Wlc, true)] {
        let effects = three().apply(&edit(scheduler)).unwrap();
        assert_eq!(
            effects,
            [Effect::ServiceEdited {
                service: 0,
                rescheduled
            }]
        );
    }
}

prop_compose! {
    fn any_service()(n in 0..4u8) -> ServiceKey {
        match n {
            0 => web(),
            1 => ServiceKey::v4(17, [203, 0, 113, 10], 53u16.to_be_bytes()),
            2 => ServiceKey::v4(6, [203, 0, 113, 10], [0; 2]),
            _ => ServiceKey::fwmark(7),
        }
    }
}

prop_compose! {
    fn any_service_spec()(s in 0..3usize, persistent in proptest::option::of(0..400u32), prefix in 0..34u8) -> ServiceSpec {
        ServiceSpec { persistent, prefix, ..ServiceSpec::new(Scheduler::ALL[s]) }
    }
}

prop_compose! {
    fn any_dest()(n in 0..6u8, port in prop_oneof![Just(80u16), Just(53), Just(0)]) -> DestKey {
        let addr = if n == 0 { [224, 0, 0, 1] } else { [10, 0, 0, n] };
        DestKey { addr: Addr::v4(addr), port }
    }
}

prop_compose! {
    fn any_dest_spec()(m in 0..3usize, weight in 0..3u32, upper in 0..3u32, lower in 0..3u32) -> DestSpec {
        DestSpec { method: ForwardingMethod::ALL[m], weight, upper, lower, tunnel: Tunnel::IPIP }
    }
}

/// Any command over a handful of services and real servers.
fn any_rule() -> impl Strategy<Value = MatchRule> {
    let to = prop_oneof![Just("0.0.0.0/0"), Just("10.0.0.0/8"), Just("::/0")];
    (to, 0_u16..3, 0_u32..3, any::<bool>()).prop_map(|(to, port, mark, any_protocol)| MatchRule {
        conditions: Conditions {
            to: to.parse().unwrap(),
            from: None,
            ports: vec![80..=80 + port],
            protocol: (!any_protocol).then_some(Proto::Udp),
            interface: (port == 2).then(|| "eth0".to_owned()),
        },
        mark,
    })
}

pub(crate) fn any_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        4 => (any_service(), any_service_spec()).prop_map(|(service, spec)| Command::AddService { service, spec }),
        2 => (any_service(), any_service_spec()).prop_map(|(service, spec)| Command::EditService { service, spec, keep: 0 }),
        2 => any_service().prop_map(|service| Command::DeleteService { service }),
        1 => Just(Command::Flush),
        16 => (any_service(), any_dest(), any_dest_spec())
            .prop_map(|(service, dest, spec)| Command::AddDest { service, dest, spec }),
        4 => (any_service(), any_dest(), any_dest_spec())
            .prop_map(|(service, dest, spec)| Command::EditDest { service, dest, spec }),
        8 => (any_service(), any_dest()).prop_map(|(service, dest)| Command::DeleteDest { service, dest }),
        2 => proptest::collection::vec(any_rule(), 0..4).prop_map(|rules| Command::SetMatches { rules: rules.into() }),
    ]
}

fn check(m: &Model) {
    let ids: Vec<_> = m.all_dests().map(|d| d.id).collect();
    let distinct: BTreeSet<_> = ids.iter().collect();
    assert_eq!(ids.len(), distinct.len(), "an index given out twice");
    assert!(ids.len() <= LIMITS.dests as usize);
    assert!(m.services().count() <= LIMITS.services as usize);
    for s in m.services() {
        assert_eq!(
            m.service(&s.key).unwrap().id,
            s.id,
            "two services with one index"
        );
        assert!(s.dests.len() <= LIMITS.dests_per_service as usize);
        let keys: BTreeSet<_> = s.dests.iter().map(|d| d.key).collect();
        assert_eq!(keys.len(), s.dests.len());
        for d in &s.dests {
            assert!(d.spec.lower <= d.spec.upper);
        }
    }
    for (key, t) in m.trash() {
        assert_eq!(m.index[key], t.service, "index of the service lost");
        let live = m.service(key).and_then(|s| s.position(&t.dest.key));
        assert_eq!(live, None, "both live and deleted");
    }
}

proptest! {
    #[test]
    fn any_commands_keep_the_invariants_and_refused_ones_leave_no_trace(
        commands in proptest::collection::vec((any_command(), any::<bool>()), 1..60),
    ) {
        let mut m = Model::new(LIMITS);
        for (command, free) in commands {
            let before = m.clone();
            if m.apply(&command).is_err() {
                prop_assert_eq!(&m, &before);
            }
            check(&m);
            let first = m.trash().next().map(|(s, t)| (*s, t.dest.key));
            if let (true, Some((service, dest))) = (free, first) {
                m.free(&service, &dest).unwrap();
                check(&m);
            }
        }
    }
}
