//! Each kind of mistake by a short file that makes it, and what is said about it.

use std::path::Path;

use ipvs_common::{ForwardingMethod, Scheduler, ServiceKey, Settings, State, maps::Capacities};
use proptest::prelude::*;

use super::{Diagnostic, Interface, Mode, load, parse};
use crate::model::{Command, DestSpec};

/// A file that uses everything.
const FULL: &str = r#"
[director]
connections = 4096
half_open = 1024
icmp_rate = 50
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
persistent = 30
netmask = "255.255.255.0"

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
        .map(|(key, spec)| (key.v4().to_string(), *spec))
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
                return dest.v4().to_string();
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
fn the_example_of_the_documentation_has_no_mistakes() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/mail.toml");
    assert_eq!(load(&example).unwrap().commands().len(), 3);
}

const SERVICE: &str = "[[service]]\ntcp = \"10.0.0.5:25\"\n";
const REAL: &str = "[[service]]\ntcp = \"10.0.0.5:25\"\n[[service.real]]\naddress = \"10.0.1.6:26\"\nmethod = \"masq\"\n";

/// Text before the mistake, the mistake; its line and column, the message, a part of the hint.
type Case = (
    &'static str,
    &'static str,
    (usize, usize),
    &'static str,
    &'static str,
);

const CASES: &[Case] = &[
    (
        "",
        "[[servise]]",
        (1, 3),
        "unknown key `servise` in the file",
        "did you mean `service`?",
    ),
    (
        "",
        "zzz = 1",
        (1, 1),
        "unknown key `zzz` in the file",
        "there are: director, interface, service",
    ),
    (
        "",
        "service = 1",
        (1, 11),
        "`service` is an integer, but should be an array of tables",
        "[[service]]",
    ),
    (
        "",
        "director = true",
        (1, 12),
        "`director` is a boolean, but should be a table",
        "[director] on a line",
    ),
    (
        "[director]\n",
        "conections = 5",
        (2, 1),
        "unknown key `conections` in [director]",
        "did you mean `connections`?",
    ),
    (
        "[director]\n",
        "services = 0",
        (2, 12),
        "services = 0 is out of range",
        "from 1 to 67108864",
    ),
    (
        "[director]\n",
        "half_open = 1000",
        (2, 13),
        "half_open = 1000 is no power of two",
        "write half_open = 1024",
    ),
    (
        "[director.timeouts]\n",
        "tcp = \"900\"",
        (2, 7),
        "`tcp` is a string, but should be an integer",
        "from 1 to 2678400",
    ),
    (
        "[director.timeouts]\n",
        "tcpfin = 1",
        (2, 1),
        "unknown key `tcpfin` in [director.timeouts]",
        "did you mean `tcp_fin`?",
    ),
    (
        "[interface.eth0]\n",
        "mode = \"nativ\"",
        (2, 8),
        "no mode `nativ`",
        "did you mean `native`?",
    ),
    (
        "[interface.eth0]\n",
        "mark = 0",
        (2, 8),
        "mark = 0 is out of range",
        "from 1",
    ),
    (
        "",
        "[interface.a-name-much-too-long]",
        (1, 12),
        "`a-name-much-too-long` cannot be the name of an interface",
        "ip link",
    ),
    (
        "",
        "[[service]]",
        (1, 1),
        "a service without an address",
        "write tcp = ",
    ),
    (
        "[[service]]\n",
        "tcp = \"10.0.0.5\"",
        (2, 7),
        "`10.0.0.5` is no IPv4 address with a port",
        "tcp = \"10.0.0.5:PORT\"",
    ),
    (
        "[[service]]\n",
        "udp = \"www:80\"",
        (2, 7),
        "`www:80` is no IPv4 address with a port",
        "in digits",
    ),
    (
        "[[service]]\n",
        "tcp = 80",
        (2, 7),
        "`tcp` is an integer, but should be a string",
        "write tcp = \"…\"",
    ),
    (
        "[[service]]\n",
        "fwmark = 4294967296",
        (2, 10),
        "fwmark = 4294967296 is out of range",
        "from 1 to 4294967295",
    ),
    (
        "[[service]]\n",
        "tcp = \"10.0.0.5:0\"",
        (2, 7),
        "port 0 (every port) without persistence",
        "persistent = true",
    ),
    (
        SERVICE,
        "fwmark = 7",
        (3, 10),
        "a service with tcp and fwmark; it can have one",
        "another [[service]]",
    ),
    (
        SERVICE,
        "scheduler = \"lbcl\"",
        (3, 13),
        "no scheduler `lbcl`",
        "did you mean `lblc`? There are: rr, wlc, lblc",
    ),
    (
        SERVICE,
        "persistent = 2678401",
        (3, 14),
        "persistent = 2678401 is out of range",
        "to 2678400",
    ),
    (
        SERVICE,
        "persistent = \"yes\"",
        (3, 14),
        "`persistent` is a string, but should be true or a number of seconds",
        "360",
    ),
    (
        SERVICE,
        "netmask = \"255.0.255.0\"",
        (3, 11),
        "`255.0.255.0` is no network mask",
        "255.255.255.0",
    ),
    (
        SERVICE,
        "real = 3",
        (3, 8),
        "`real` is an integer, but should be an array of tables",
        "[[service.real]]",
    ),
    (
        REAL,
        "wieght = 1",
        (6, 1),
        "unknown key `wieght` in [[service.real]]",
        "did you mean `weight`?",
    ),
    (
        REAL,
        "weight = -1",
        (6, 10),
        "weight = -1 is out of range",
        "from 0 to 2147483647",
    ),
    (
        REAL,
        "lower_threshold = 1",
        (6, 19),
        "lower_threshold = 1 is above upper_threshold = 0",
        "at least as large",
    ),
    (
        REAL,
        "[[service]]\ntcp = \"10.0.0.5:25\"",
        (7, 7),
        "second service tcp 10.0.0.5:25",
        "line 2",
    ),
    (
        REAL,
        "[[service.real]]\nmethod = \"masq\"\naddress = \"10.0.1.6:26\"",
        (8, 11),
        "second real server 10.0.1.6:26 in this service",
        "line 4",
    ),
    (
        REAL,
        "[[service.real]]\nmethod = \"masq\"",
        (6, 1),
        "a real server without an address",
        "write address = ",
    ),
    (
        REAL,
        "[[service.real]]\naddress = \"10.0.1.7\"",
        (6, 1),
        "a real server without a method",
        "masq, tunnel, droute",
    ),
    (
        SERVICE,
        "[[service.real]]\nmethod = \"masq\"\naddress = \"10.0.1\"",
        (5, 11),
        "`10.0.1` is no IPv4 address, with or without a port",
        "10.0.1.6:26",
    ),
    (
        SERVICE,
        "[[service.real]]\nmethod = \"masq\"\naddress = \"224.0.0.1\"",
        (5, 11),
        "224.0.0.1 is not the address of one machine",
        "own address",
    ),
    (
        SERVICE,
        "[[service.real]]\naddress = \"10.0.1.7\"\nmethod = \"nat\"",
        (5, 10),
        "no forwarding method `nat`",
        "masq, tunnel, droute",
    ),
    (
        SERVICE,
        "[[service.real]]\nmethod = \"droute\"\naddress = \"10.0.1.6:26\"",
        (5, 11),
        "droute delivers to the service's port 25, so it cannot be 26 here",
        "method = \"masq\"",
    ),
    (
        "",
        "a = [1,",
        (1, 8),
        "unclosed array, expected `]`",
        "no TOML",
    ),
];

#[test]
fn each_mistake_is_told_with_its_place_and_a_hint() {
    for (before, line, place, message, hint) in CASES {
        let text = format!("{before}{line}\n");
        let found = mistakes(&text);
        assert_eq!(found.len(), 1, "{text}: {found:#?}");
        let position = found[0].position.as_ref().unwrap();
        assert_eq!(
            ((position.line, position.column), found[0].message.as_str()),
            (*place, *message),
            "{text}"
        );
        assert!(found[0].hint.contains(hint), "{text}: {}", found[0].hint);
    }
}

#[test]
fn every_mistake_of_a_file_is_told_in_its_order() {
    let text = "\
[[service]]
tcp = \"10.0.0.5\"
scheduler = \"wrr\"
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
         hint: did you mean `wlc`? There are: rr, wlc, lblc"
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
    fn no_text_makes_it_panic(text in "(\\[\\[?(service|service\\.real|director|interface\\.x)\\]?\\]|(tcp|real|weight|mode|é) = (1|\"é:1\"|true|\\[\\]|\\{\\}|-9)|\\PC{0,5}|\n){0,12}") {
        if let Err(found) = parse("f.toml", &text) {
            prop_assert!(!found.is_empty());
            for d in found {
                prop_assert!(d.to_string().contains("hint: "));
            }
        }
    }
}
