//! What must hold of any input. The fuzz targets and the test that replays their corpora share it.

use std::net::{IpAddr, Ipv4Addr};

use ipvs_common::{Service, maps::Capacities};
use ipvs_user::{
    api::wire,
    carries::Carries,
    config,
    ipvsadm::{self, Names, Transport},
    model::{Limits, Model},
};

/// No resolver: an input means the same everywhere.
struct Few;

impl Names for Few {
    fn address(&self, host: &str) -> Option<Ipv4Addr> {
        (host == "www").then_some(Ipv4Addr::new(203, 0, 113, 10))
    }
    fn port(&self, service: &str, _: Transport) -> Option<u16> {
        (service == "http").then_some(80)
    }
    fn host(&self, _: IpAddr) -> Option<String> {
        None
    }
    fn service(&self, _: u16, _: Transport) -> Option<String> {
        None
    }
}

/// Rules are understood, or refused with one line that names one of theirs.
pub(crate) fn command(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match ipvsadm::rules("ipvsadm", text, &Few) {
        Ok(commands) => {
            assert!(commands.len() <= text.lines().count());
            same_after_json(&commands);
        }
        Err(refused) => {
            let number = refused.stderr.strip_prefix("ipvsadm: line ");
            let number = number.and_then(|rest| rest.split_once(": "));
            let (number, what) = number.unwrap_or_else(|| panic!("{}", refused.stderr));
            assert!((1..=text.lines().count()).contains(&number.parse().unwrap_or(0)));
            assert!(what.ends_with('\n') && what.len() > 1);
            assert!([2, 255].contains(&refused.status) && refused.stdout.is_empty());
        }
    }
}

fn same_after_json(commands: &[wire::Command]) {
    let json = serde_json::to_string(commands).expect("commands have a form in JSON");
    let again: Vec<wire::Command> = serde_json::from_str(&json).expect("what was written is read");
    assert_eq!(again, commands);
}

/// A file without mistakes makes a director; every mistake of another has a place in it and a hint.
pub(crate) fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match config::parse_for(Carries::ALL, "f.toml", text) {
        Ok(config) => {
            let Capacities {
                services,
                dests,
                maglev,
                ..
            } = config.capacities;
            let mut model = Model::new(Limits {
                services,
                dests,
                dests_per_service: Service::MAX_DESTS,
                maglev,
            });
            for command in config.commands() {
                let applied = model.apply(&command);
                assert!(applied.is_ok(), "{command:?}: {applied:?}");
            }
        }
        Err(mistakes) => {
            assert!(!mistakes.is_empty());
            let lines = text.lines().count().max(1);
            for mistake in mistakes {
                let place = mistake
                    .position
                    .as_ref()
                    .expect("a mistake in a text has a place");
                // The end of a file that ends with its last line is on the next one.
                assert!((1..=lines + 1).contains(&place.line), "{mistake}");
                assert!(!mistake.message.is_empty() && !mistake.hint.is_empty());
                assert!(mistake.to_string().contains("hint: "));
            }
        }
    }
}

/// Bodies of requests are read or refused; what was read is read again from what it is written as.
pub(crate) fn api(data: &[u8]) {
    if let Ok(commands) = serde_json::from_slice::<Vec<wire::Command>>(data) {
        same_after_json(&commands);
    }
    if let Ok(daemon) = serde_json::from_slice::<wire::SyncDaemon>(data) {
        let json = serde_json::to_string(&daemon).expect("a sync daemon has a form in JSON");
        assert_eq!(
            serde_json::from_str::<wire::SyncDaemon>(&json).ok(),
            Some(daemon)
        );
    }
    if let Ok(changes) = serde_json::from_slice::<wire::SysctlChanges>(data) {
        let json = serde_json::to_string(&changes).expect("knobs have a form in JSON");
        assert_eq!(
            serde_json::from_str::<wire::SysctlChanges>(&json).ok(),
            Some(changes)
        );
    }
}
