//! Where a service may do better than ip_vs: what an edit changes of it and what it leaves.

use ipvs_common::Policy;

use super::{super::OnDead, *};

#[test]
fn an_edit_leaves_the_policies_that_it_keeps_and_no_others() {
    let policy = Policy::RESET | Policy::REOPEN;
    let spec = ServiceSpec { policy, ..RR };
    let service = web();
    let mut m = model([Command::AddService { service, spec }]);
    let mut edited = |policy, keep| {
        let spec = ServiceSpec { policy, ..RR };
        m.apply(&Command::EditService {
            service,
            spec,
            keep,
        })
        .unwrap();
        m.service(&service).unwrap().spec.policy
    };
    assert_eq!(edited(0, u8::MAX), policy);
    assert_eq!(
        edited(Policy::TEMPLATES_DIE, OnDead::MASK),
        Policy::TEMPLATES_DIE | Policy::RESET
    );
    assert_eq!(edited(0, 0), 0);
}

#[test]
fn ways_of_dead_real_servers_have_names_and_bits_of_their_own() {
    for way in OnDead::ALL {
        assert_eq!(OnDead::from_name(way.name()), Some(way));
        assert_eq!(OnDead::of(way.bits() | Policy::REOPEN), way);
    }
}
