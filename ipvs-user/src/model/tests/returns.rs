//! Deleted real servers and services that come back, and what becomes of the indices of those that do not.

use super::*;

#[test]
fn a_deleted_real_server_comes_back_with_its_index() {
    let mut m = three();
    let id = id_of(&m, 2);
    m.apply(&delete(2)).unwrap();
    let effects = m.apply(&add(2)).unwrap();
    assert_eq!(id_of(&m, 2), id);
    let origin = Origin::Trash { orphan: false };
    assert_eq!(
        effects,
        [Effect::DestAdded {
            service: 0,
            dest: id,
            origin
        }]
    );
    assert_eq!(m.trash().count(), 0);
}

#[test]
fn a_real_server_keeps_its_last_weight_when_it_is_quiesced_but_not_when_it_comes_back() {
    let mut m = three();
    let spec = DestSpec { weight: 0, ..PLAIN };
    let (service, dest) = (web(), real(2));
    let last_weight = |m: &Model| {
        let dests = &m.service(&web()).unwrap().dests;
        dests.iter().find(|d| d.key == dest).unwrap().last_weight
    };
    m.apply(&Command::EditDest {
        service,
        dest,
        spec,
    })
    .unwrap();
    assert_eq!(last_weight(&m), PLAIN.weight);
    m.apply(&delete(2)).unwrap();
    m.apply(&Command::AddDest {
        service,
        dest,
        spec,
    })
    .unwrap();
    assert_eq!(last_weight(&m), 0);
}

#[test]
fn a_deleted_service_comes_back_with_the_indices_of_its_real_servers() {
    let mut m = three();
    let (service, two) = (m.service(&web()).unwrap().id, id_of(&m, 2));
    m.apply(&Command::DeleteService { service: web() }).unwrap();
    assert_eq!(m.trash().count(), 3);
    let other = ServiceKey::fwmark(7);
    m.apply(&add_service(other)).unwrap();
    assert_ne!(
        m.service(&other).unwrap().id,
        service,
        "reserved by the trash"
    );
    m.apply(&add_service(web())).unwrap();
    m.apply(&add(2)).unwrap();
    assert_eq!(m.service(&web()).unwrap().id, service);
    assert_eq!(id_of(&m, 2), two);
}

#[test]
fn a_freed_index_goes_to_the_next_real_server() {
    let mut m = three();
    let id = id_of(&m, 2);
    m.apply(&delete(2)).unwrap();
    m.free(&web(), &real(2)).unwrap();
    m.apply(&add(4)).unwrap();
    assert_eq!(id_of(&m, 4), id);
}
