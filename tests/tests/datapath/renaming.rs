//! Templates that are set aside because their real server is gone or quiesced, and the generations that follow them.

use ipvs_common::{Policy, TemplateKey};
use ipvs_tests::backend::{Backend, Snapshot};

use crate::rig::{C0, R1, R2, Rig, ack, segment, syn};

const PERSISTENT: [&str; 3] = [
    "-A -t 203.0.113.10:80 -s rr -p 60",
    "-a -t 203.0.113.10:80 -r 10.0.1.10:80 -g",
    "-a -t 203.0.113.10:80 -r 10.0.2.10:80 -g",
];
const DELETE_R2: &str = "-d -t 203.0.113.10:80 -r 10.0.2.10:80";
const ADD_R2: &str = PERSISTENT[2];
const QUIESCE_R2: &str = "-e -t 203.0.113.10:80 -r 10.0.2.10:80 -g -w 0";

fn tables(rig: &Rig) -> Snapshot {
    rig.host.snapshot(2).unwrap()
}

/// Generations of the client's templates, with whether each was set aside.
fn generations(rig: &Rig) -> Vec<(u8, bool)> {
    let tables = tables(rig);
    let each = tables.templates.iter();
    each.map(|(key, t)| (key.generation, t.renamed != 0))
        .collect()
}

#[test]
fn template_ends_with_its_quiesced_dest_only_if_that_is_wished() {
    let wishes: [fn(&Rig); 2] = [
        |rig| rig.knob("expire_quiescent_template", "1"),
        |rig| rig.policy(80, Policy::TEMPLATES_DIE),
    ];
    for wish in wishes {
        let mut rig = Rig::new(&PERSISTENT);
        assert_eq!(rig.leaves_by(syn(1)), Some(R2));
        rig.send(C0, ack(1));
        rig.ipvsadm(QUIESCE_R2);
        assert_eq!(rig.leaves_by(syn(2)), Some(R2), "not wished");
        wish(&rig);
        assert_eq!(rig.leaves_by(syn(3)), Some(R1));
        assert_eq!(rig.leaves_by(syn(4)), Some(R1));
        assert_eq!(rig.leaves_by(ack(1)), Some(R2), "a connection stays");
        assert_eq!((rig.counts(0), rig.counts(1)), ((2, 0, 1), (2, 0, 1)));
        assert_eq!(rig.reason("template_renamed"), 1);
    }
}

#[test]
fn template_found_unfit_is_not_used_again_when_its_dest_comes_back() {
    let mut rig = Rig::new(&PERSISTENT);
    assert_eq!(rig.leaves_by(syn(1)), Some(R2));
    rig.ipvsadm(DELETE_R2);
    assert_eq!(rig.leaves_by(syn(2)), Some(R1));
    rig.ipvsadm(ADD_R2);
    assert!((3..9).all(|n| rig.leaves_by(syn(n)) == Some(R1)));
    assert_eq!(generations(&rig), [(0, true), (1, false)]);
}

#[test]
fn template_that_nobody_found_unfit_revives_with_its_dest() {
    let mut rig = Rig::new(&PERSISTENT);
    assert_eq!(rig.leaves_by(syn(1)), Some(R2));
    rig.ipvsadm(DELETE_R2);
    rig.ipvsadm(ADD_R2);
    assert!((2..6).all(|n| rig.leaves_by(syn(n)) == Some(R2)));
    assert_eq!(generations(&rig), [(0, false)]);
}

/// Sets `count` templates of one client aside, each with a connection that holds it.
fn rename_often(rig: &mut Rig, count: u8) {
    let (mut n, mut gone) = (0, None);
    for _ in 0..count {
        n += 1;
        let way = rig.leaves_by(syn(n));
        rig.send(C0, ack(n));
        let of = |link: usize| PERSISTENT[link].split(" -r ").nth(1).unwrap();
        let link = way.unwrap();
        rig.ipvsadm(&format!(
            "-d -t 203.0.113.10:80 -r {}",
            of(link).replace(" -g", "")
        ));
        if let Some(other) = gone.replace(link) {
            rig.ipvsadm(PERSISTENT[other]);
        }
    }
}

#[test]
fn eight_generations_of_templates_are_kept_apart() {
    let mut rig = Rig::new(&PERSISTENT);
    rename_often(&mut rig, TemplateKey::GENERATIONS - 1);
    assert!(rig.leaves_by(syn(100)).is_some());
    let last = TemplateKey::GENERATIONS - 1;
    let expected: Vec<_> = (0..=last).map(|g| (g, g != last)).collect();
    assert_eq!(generations(&rig), expected);
    let persistent = (0..2).map(|id| rig.counts(id).2).sum::<u32>();
    assert_eq!(persistent, 8);
    // The newest one holds.
    let way = rig.leaves_by(syn(101));
    assert!((102..110).all(|n| rig.leaves_by(syn(n)) == way));
}

#[test]
fn client_with_all_generations_set_aside_is_scheduled_without_a_template() {
    let mut rig = Rig::new(&PERSISTENT);
    rename_often(&mut rig, TemplateKey::GENERATIONS);
    let before = generations(&rig).len();
    assert_eq!(before, 8);
    rig.ipvsadm("-a -t 203.0.113.10:80 -r 10.0.3.10:80 -g");
    let ways: Vec<_> = (100..104).map(|n| rig.leaves_by(syn(n))).collect();
    assert!(ways.iter().all(Option::is_some));
    assert_ne!(ways[0], ways[1], "each by the scheduler");
    assert_eq!(generations(&rig).len(), before);
    assert_eq!(rig.reason("template_table_full"), 4);
    // Once those before have gone, the client is tied again.
    for _ in 0..8 {
        rig.pass(901);
    }
    assert!(tables(&rig).templates.is_empty());
    let way = rig.leaves_by(syn(200));
    assert!((201..206).all(|n| rig.leaves_by(syn(n)) == way));
}

#[test]
fn earlier_generation_keeps_its_place_while_a_later_one_is_there() {
    let mut rig = Rig::new(&PERSISTENT);
    rig.send(C0, syn(1));
    rig.ipvsadm(DELETE_R2);
    rig.send(C0, syn(2));
    rig.send(C0, ack(2));
    rig.ipvsadm(ADD_R2);
    // The first connection, then its template; the second one's lives on.
    rig.send(C0, segment(1, 0));
    for _ in 0..3 {
        rig.pass(61);
        rig.send(C0, ack(2));
    }
    assert_eq!(rig.counts(1), (0, 0, 0));
    assert_eq!(generations(&rig).len(), 2);
    assert_eq!(rig.leaves_by(syn(3)), Some(R1), "found behind the other");
    for _ in 0..4 {
        rig.pass(901);
    }
    assert!(tables(&rig).templates.is_empty());
    assert_eq!(rig.counts(0), (0, 0, 0));
}

/// A template whose timer fired with children alive has a minute for its timeout ever after (quirk of ip_vs).
#[test]
fn template_that_waited_for_its_children_is_set_to_a_minute() {
    let mut rig = Rig::new(&["-A -t 203.0.113.10:80 -s rr -p 5", PERSISTENT[1]]);
    rig.send(C0, syn(1));
    rig.send(C0, ack(1));
    rig.pass(6);
    rig.send(C0, syn(2));
    let timeout = tables(&rig).templates.values().next().unwrap().timeout;
    assert_eq!(timeout, 60 * ipvs_tests::backend::HZ);
}

#[test]
fn places_of_templates_that_ended_are_used_again() {
    let mut rig = Rig::new(&[
        "-A -t 203.0.113.10:80 -s rr -p 300",
        "-a -t 203.0.113.10:80 -r 10.0.1.10:80 -g",
        "-a -t 203.0.113.10:80 -r 10.0.2.10:80 -g",
    ]);
    rig.policy(80, Policy::TEMPLATES_DIE);
    // The client is never without a template, and each lasts a few rounds.
    for n in 1..25 {
        let weights = [n % 2, 1 - n % 2];
        for (link, weight) in (1..).zip(weights) {
            rig.ipvsadm(&format!(
                "-e -t 203.0.113.10:80 -r 10.0.{link}.10:80 -g -w {weight}"
            ));
        }
        let to = if n % 2 == 1 { R1 } else { R2 };
        assert_eq!(rig.leaves_by(syn(n)), Some(to), "round {n}");
        rig.pass(100);
    }
    assert_eq!(rig.reason("template_table_full"), 0);
}
