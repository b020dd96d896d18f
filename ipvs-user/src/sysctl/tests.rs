//! What knobs take and what they do to the settings; the defences over good and bad times.

use std::{collections::BTreeSet, path::Path};

use ipvs_common::{Settings, SettingsFlags};

use super::*;

const PLENTY: u64 = u64::MAX;

fn set(changes: &[(&str, &str)]) -> Result<Knobs, String> {
    let mut knobs = Knobs::default();
    for (name, value) in changes {
        knobs.set(name, value).map_err(|e| e.to_string())?;
    }
    Ok(knobs)
}

fn written(changes: &[(&str, &str)]) -> Settings {
    let knobs = set(changes).unwrap();
    let mut defence = Defence::default();
    defence.settle(&knobs);
    let mut settings = Settings::with_hz(100);
    knobs.write(&defence, &mut settings);
    settings
}

#[test]
fn the_kernels_knobs_are_all_there_with_its_defaults() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/sysctl_defaults.json");
    let golden = std::fs::read_to_string(file).unwrap();
    let golden: serde_json::Value = serde_json::from_str(&golden).unwrap();
    let golden = golden["sysctl_defaults"].as_object().unwrap();
    for (name, value) in golden {
        let default = match name.as_str() {
            // Sized by the memory of the machine.
            "sync_qlen_max" => "auto".to_owned(),
            _ => value.as_str().unwrap().replace('\t', " "),
        };
        assert_eq!(find(name).unwrap().default, default, "{name}");
    }
    // Newer kernels have two more.
    for name in ["est_cpulist", "est_nice"] {
        find(name).unwrap();
    }
    assert_eq!(TABLE.len(), golden.len() + 2);
}

#[test]
fn every_name_is_there_once_and_in_order() {
    let sorted: BTreeSet<_> = names().into_iter().collect();
    assert!(names().into_iter().eq(sorted));
}

#[test]
fn every_default_can_be_set_and_is_what_a_fresh_director_has() {
    let defaults: Vec<_> = TABLE.iter().map(|s| (s.name, s.default)).collect();
    assert_eq!(set(&defaults), Ok(Knobs::default()));
    for view in Knobs::default().views() {
        assert_eq!(view.value, view.default, "{}", view.name);
    }
    assert_eq!(written(&[]), Settings::with_hz(100));
}

#[test]
fn every_knob_that_applies_can_be_turned_and_is_shown_so() {
    for sysctl in TABLE {
        let other = match (sysctl.name, sysctl.default) {
            ("sync_ports", _) => "2",
            (_, "0") => "1",
            _ => "0",
        };
        let turned = set(&[(sysctl.name, other)]);
        match sysctl.applies {
            Applies::Here(_) => {
                let views = turned.unwrap().views();
                let view = views.iter().find(|v| v.name == sysctl.name).unwrap();
                assert_eq!((view.value.as_str(), view.why_not), (other, None));
            }
            Applies::DefaultOnly(why) => {
                let refused = turned.unwrap_err();
                assert!(
                    refused.contains(why) || refused.contains("out of range"),
                    "{refused}"
                );
            }
        }
    }
}

#[test]
fn refusals_say_what_would_do() {
    let cases = [
        ("zzz", "1", "no sysctl `zzz`; there are: am_droprate, "),
        (
            "sloppy_tpc",
            "1",
            "no sysctl `sloppy_tpc`; did you mean `sloppy_tcp`? There are: ",
        ),
        (
            "secure_tcp",
            "4",
            "secure_tcp = 4 is out of range: it takes 0 to 3",
        ),
        (
            "sloppy_tcp",
            "yes",
            "sloppy_tcp = yes is out of range: it takes 0 or 1",
        ),
        (
            "pmtu_disc",
            "-1",
            "pmtu_disc = -1 is out of range: it takes 0 or 1",
        ),
        (
            "amemthresh",
            "",
            "amemthresh =  is out of range: it takes 0 to 2147483647",
        ),
        (
            "conntrack",
            "1",
            "conntrack = 1 does not apply here: packets that are forwarded here do not pass netfilter, so it has no entries \
             of theirs to keep; leave it at 0",
        ),
        (
            "sync_ports",
            "3",
            "sync_ports = 3 is out of range: it takes a power of two up to 64",
        ),
        (
            "sync_threshold",
            "50 3",
            "sync_threshold = 50 3 is out of range: it takes two numbers, the first less than the second",
        ),
    ];
    for (name, value, message) in cases {
        let refused = set(&[(name, value)]).unwrap_err();
        assert!(refused.starts_with(message), "{refused}");
    }
}

#[test]
fn values_are_read_as_the_kernel_writes_them() {
    assert_eq!(
        set(&[("sync_threshold", "3\t50\n"), ("amemthresh", " 01024\n")]),
        Ok(Knobs::default())
    );
}

#[test]
fn each_knob_has_its_place_in_the_settings() {
    let flag = |name: &str| written(&[(name, "1")]).flags & !SettingsFlags::PMTU_DISC;
    assert_eq!(flag("cache_bypass"), SettingsFlags::CACHE_BYPASS);
    assert_eq!(flag("expire_nodest_conn"), SettingsFlags::EXPIRE_NODEST);
    assert_eq!(
        flag("expire_quiescent_template"),
        SettingsFlags::EXPIRE_QUIESCENT
    );
    assert_eq!(flag("sloppy_tcp"), SettingsFlags::SLOPPY_TCP);
    assert_eq!(flag("pmtu_disc"), 0);
    assert_eq!(written(&[("pmtu_disc", "0")]).flags, 0);
    assert_eq!(written(&[("conn_reuse_mode", "3")]).conn_reuse_mode, 3);
    assert_eq!(written(&[("lblcr_expiration", "5")]).lblcr_expiration, 500);
}

#[test]
fn defences_that_are_always_in_force_are_so_at_once() {
    let settings = written(&[
        ("drop_packet", "3"),
        ("am_droprate", "4"),
        ("secure_tcp", "3"),
    ]);
    assert_eq!(settings.drop_rate, 4);
    assert_eq!(
        settings.flags,
        SettingsFlags::PMTU_DISC | SettingsFlags::SECURE_TCP
    );
}

#[test]
fn automatic_defences_follow_the_memory_and_show_it() {
    let mut knobs = set(&[
        ("drop_entry", "1"),
        ("drop_packet", "1"),
        ("secure_tcp", "1"),
    ])
    .unwrap();
    let modes = |knobs: &Knobs| {
        [Knob::DropEntry, Knob::DropPacket, Knob::SecureTcp].map(|knob| knobs.get(knob))
    };
    let mut defence = Defence::default();
    defence.settle(&knobs);
    assert_eq!(defence, Defence::default());

    defence.tick(&mut knobs, 1024);
    assert_eq!((defence, modes(&knobs)), (Defence::default(), [1; 3]));
    defence.tick(&mut knobs, 1023);
    assert_eq!(modes(&knobs), [2; 3]);
    assert!(defence.drop_entry() && defence.secure_tcp());
    assert_eq!(defence.drop_rate(), 1024);
    defence.tick(&mut knobs, 1024 - 100);
    assert_eq!(defence.drop_rate(), 10);
    defence.tick(&mut knobs, 0);
    assert_eq!(defence.drop_rate(), 1);
    defence.tick(&mut knobs, PLENTY);
    assert_eq!((defence, modes(&knobs)), (Defence::default(), [1; 3]));
}

#[test]
fn a_defence_that_was_roused_rests_when_it_is_switched_off() {
    let mut knobs = set(&[("secure_tcp", "2"), ("drop_packet", "2")]).unwrap();
    let mut defence = Defence::default();
    defence.tick(&mut knobs, 0);
    assert!(defence.secure_tcp() && defence.drop_rate() != 0);
    for name in ["secure_tcp", "drop_packet"] {
        knobs.set(name, "0").unwrap();
    }
    defence.settle(&knobs);
    assert_eq!(defence, Defence::default());
    defence.tick(&mut knobs, 0);
    assert_eq!(defence, Defence::default());
}

#[test]
fn memory_does_not_move_the_modes_that_are_not_automatic() {
    let mut knobs = set(&[("drop_entry", "3"), ("drop_packet", "3")]).unwrap();
    let before = knobs;
    let mut defence = Defence::default();
    for available in [0, PLENTY] {
        defence.tick(&mut knobs, available);
        assert_eq!(knobs, before);
        assert!(defence.drop_entry() && !defence.secure_tcp());
        assert_eq!(defence.drop_rate(), 10);
    }
}

#[test]
fn the_documentation_tells_of_every_knob_what_the_table_does() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/OPERATIONS.md");
    let text = std::fs::read_to_string(file).unwrap();
    let row = |s: &Sysctl| match s.applies {
        Applies::Here(_) => format!(
            "| `{}` | {} | {} | {} |\n",
            s.name, s.default, s.range, s.doc
        ),
        Applies::DefaultOnly(why) => format!("| `{}` | {} | {why} |\n", s.name, s.default),
    };
    let here = |s: &&Sysctl| matches!(s.applies, Applies::Here(_));
    let turned: String = TABLE.iter().filter(here).map(row).collect();
    let fixed: String = TABLE.iter().filter(|s| !here(s)).map(row).collect();
    let missing: Vec<_> = [turned, fixed]
        .into_iter()
        .filter(|rows| !text.contains(rows))
        .collect();
    let rows = missing.join("\n");
    assert!(
        missing.is_empty(),
        "docs/OPERATIONS.md should have these rows:\n{rows}"
    );
}
