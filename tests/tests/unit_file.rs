//! The unit file of the examples is one that systemd takes.

use std::{fs, process::Command};

use ipvs_tests::topology::Scratch;

const UNIT: &str = include_str!("../../docs/examples/ipvsd.service");
/// That of a real server.
const REAL_SERVER: &str = include_str!("../../docs/examples/real-server.service");

/// What systemd has to say; `None` without its program.
fn verified(unit: &str) -> Option<String> {
    let directory = Scratch::new().expect("a directory");
    let file = directory.path().join("ipvsd.service");
    // The program and its description are not installed where the unit will find them.
    let unit = unit.replace("/usr/sbin/ipvsd", "/bin/true");
    fs::write(&file, unit).expect("written");
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&file)
        .output();
    let output = output.ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    // Other units of the machine may have their own faults.
    let ours = said.lines().filter(|line| line.contains("ipvsd.service"));
    Some(ours.collect::<Vec<_>>().join("\n"))
}

#[test]
fn unit_files_have_no_mistakes() {
    for unit in [UNIT, REAL_SERVER] {
        match verified(unit) {
            Some(said) => assert_eq!(said, ""),
            // At least: sections, and a key on each line within them.
            None => {
                assert!(unit.lines().all(|line| {
                    line.is_empty() || line.starts_with(['#', '[']) || line.contains('=')
                }));
            }
        }
    }
}

#[test]
fn mistake_in_a_unit_file_would_be_seen() {
    let wrong = UNIT.replace("WatchdogSec", "WatchDogSeconds");
    assert!(verified(&wrong).is_none_or(|said| said.contains("WatchDogSeconds")));
}

/// The daemon reads signals, and keeps rights, as the unit says.
#[test]
fn unit_gives_the_rights_that_the_documentation_lists() {
    let operations = include_str!("../../docs/OPERATIONS.md");
    let line = UNIT
        .lines()
        .find_map(|l| l.strip_prefix("AmbientCapabilities="));
    for capability in line.unwrap().split(' ') {
        assert!(
            operations.contains(&format!("`{capability}`")),
            "{capability}"
        );
    }
}
