//! Files with and without mistakes, and what comes of them.

use std::path::Path;

use ipvs_common::{
    ForwardingMethod, Policy, Scheduler, ServiceFlags, ServiceKey, Settings, State,
    maps::Capacities,
};
use proptest::prelude::*;

use super::{Diagnostic, Interface, Mode, load, parse};
use crate::model::{Command, DestSpec};

mod cases;
mod matches;

/// A file that uses everything.
const FULL: &str = r#"
[director]
connections = 4096
half_open = 1024
icmp_rate = 50
mh_table_index = 8
[sysctl]
expire_nodest_conn = 1
sync_threshold = "3 50"
[director.timeouts]
tcp = 600
udp = 60
[interface.eth0]
mode = "generic"
mark = 7
[interface."vif1.0"]

[[service]]
tcp = "10.0.0.5:25"
scheduler = "lblc"
persistent = true
[[service.real]]
address = "10.0.1.5"
method = "droute"
[[service.real]]
address = "10.0.1.6:26"
method = "masq"
weight = 0x10
upper_threshold = 9
lower_threshold = 3

[[service]]
fwmark = 7
scheduler = "sh"
persistent = 30
netmask = "255.255.255.0"
one_packet = true
sched_flags = ["sh-port", "flag-3"]
on_dead = "reset"
reopen = true
templates_die = false

[[service]]
udp = "10.0.0.5:53"
persistent = false
"#;

fn mistakes(text: &str) -> Vec<Diagnostic> {
    parse("f.toml", text).unwrap_err()
}

#[test]
fn a_file_without_mistakes_is_read_in_full() {
    let config = parse("f.toml", FULL).unwrap();
    assert_eq!(
        config.capacities,
        Capacities {
            conns: 4096,
            half_open: 1024,
            maglev: 251,
            ..Capacities::DEFAULT
        }
    );
    let generic = Interface {
        mode: Some(Mode::Generic),
        mark: 7,
    };
    assert_eq!(config.interfaces["eth0"], generic);
    assert_eq!(config.interfaces["vif1.0"], Interface::default());

    let [mail, mark, dns] = &config.services[..] else {
        panic!("{:?}", config.services)
    };
    assert_eq!(
        mail.key,
        ServiceKey::v4(6, [10, 0, 0, 5], 25u16.to_be_bytes())
    );
    assert_eq!(
        (mail.spec.scheduler, mail.spec.persistent, mail.spec.prefix),
        (Scheduler::Lblc, Some(360), 32)
    );
    let reals: Vec<_> = mail
        .reals
        .iter()
        .map(|(key, spec)| (key.socket().to_string(), *spec))
        .collect();
    let second = DestSpec {
        upper: 9,
        lower: 3,
        ..DestSpec::new(ForwardingMethod::Masq, 16)
    };
    assert_eq!(
        reals,
        [
            (
                "10.0.1.5:25".to_owned(),
                DestSpec::new(ForwardingMethod::Droute, 1)
            ),
            ("10.0.1.6:26".to_owned(), second),
        ]
    );
    assert_eq!(
        (mark.key, mark.spec.persistent, mark.spec.prefix),
        (ServiceKey::fwmark(7), Some(30), 24)
    );
    assert_eq!(
        (mark.spec.flags, mark.spec.policy),
        (
            ServiceFlags::ONE_PACKET | ServiceFlags::PORT | ServiceFlags::SCHED_3,
            Policy::RESET | Policy::REOPEN
        )
    );
    let sysctls = [("expire_nodest_conn", "1"), ("sync_threshold", "3 50")];
    let sysctls = sysctls.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(config.sysctls, sysctls);
    assert_eq!(
        (dns.spec.scheduler, dns.spec.persistent),
        (Scheduler::Wlc, None)
    );
}

#[test]
fn commands_come_in_the_order_of_the_file() {
    let commands = parse("f.toml", FULL).unwrap().commands();
    let kinds: Vec<_> = commands
        .iter()
        .map(|c| {
            if let Command::AddDest { dest, .. } = c {
                return dest.socket().to_string();
            }
            assert!(matches!(c, Command::AddService { .. }));
            "service".to_owned()
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "service",
            "10.0.1.5:25",
            "10.0.1.6:26",
            "service",
            "service"
        ]
    );
}

#[test]
fn configured_settings_replace_the_defaults_and_no_others() {
    let mut settings = Settings::with_hz(250);
    parse("f.toml", FULL).unwrap().adjust(&mut settings);
    let mut expected = Settings::with_hz(250);
    expected.timeouts[State::Established as usize] = 600 * 250;
    expected.timeouts[State::Udp as usize] = 60 * 250;
    expected.icmp_rate = 50;
    assert_eq!(settings, expected);
}

#[test]
fn an_empty_file_is_a_director_without_services() {
    let config = parse("f.toml", "").unwrap();
    assert_eq!(config.capacities, Capacities::DEFAULT);
    assert_eq!(config.commands(), []);
}

#[test]
fn the_examples_of_the_documentation_have_no_mistakes() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples");
    for (name, commands) in [("mail.toml", 3), ("dns.toml", 5)] {
        let config = load(&examples.join(name)).unwrap();
        assert_eq!(config.commands().len(), commands, "{name}");
    }
}

#[test]
fn every_mistake_of_a_file_is_told_in_its_order() {
    let text = "\
[[service]]
tcp = \"10.0.0.5\"
scheduler = \"wrrr\"
[[service.real]]
address = \"10.0.1.300\"
weight = -5
[director]
half_open = 3
";
    let lines: Vec<_> = mistakes(text)
        .iter()
        .map(|d| d.position.as_ref().unwrap().line)
        .collect();
    assert_eq!(lines, [2, 3, 4, 5, 6, 8]);
}

#[test]
fn a_mistake_is_printed_with_its_line_and_a_caret() {
    let found = mistakes("[[service]]\n\ttcp = \"10.0.0.5:25\"  # ä\n\tscheduler = \"wlcc\"\n");
    assert_eq!(
        found[0].to_string(),
        "f.toml:3:14: error: no scheduler `wlcc`\n\
         3 | \tscheduler = \"wlcc\"\n  \
         | \t            ^^^^^^\n  \
         hint: did you mean `wlc`? There are: rr, wlc, lblc, wrr, lc, lblcr, dh, sh, sed, nq, fo, ovf, mh, twos, none"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_a_mistake_without_a_place() {
    let found = load(Path::new("/nonexistent/f.toml")).unwrap_err();
    assert!(
        found[0]
            .to_string()
            .starts_with("/nonexistent/f.toml: error: cannot read it: ")
    );
}

#[test]
fn what_fits_no_table_is_told_where_it_no_longer_fits() {
    let text = "[director]\nservices = 1\n[[service]]\nfwmark = 1\n[[service]]\nfwmark = 2\n";
    let found = mistakes(text);
    assert_eq!(found[0].position.as_ref().unwrap().line, 6);
    assert!(
        found[0]
            .message
            .contains("no room for another virtual service")
    );
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(\\[\\[?(service|service\\.real|director|sysctl|interface\\.x)\\]?\\]|(tcp|real|weight|mode|secure_tcp|sched_flags|é) = (1|\"é:1\"|true|\\[\\]|\\{\\}|-9)|\\PC{0,5}|\n){0,12}") {
        if let Err(found) = parse("f.toml", &text) {
            prop_assert!(!found.is_empty());
            for d in found {
                prop_assert!(d.to_string().contains("hint: "));
            }
        }
    }
}
