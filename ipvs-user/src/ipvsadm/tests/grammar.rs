//! What words mean, which mistakes are told, and the order of a sorted listing. Needs no daemon.

use super::{
    super::{
        grammar::{Command, Opt, SPELLINGS, Word},
        lower,
        parse::{self, Args},
        sort,
    },
    *,
};

fn parsed(line: &str) -> Result<Args, (u8, String)> {
    parse::parse("ipvsadm", &words(line), &Fixed).map_err(|e| (e.status, e.message))
}

#[test]
fn values_may_follow_in_every_form() {
    for line in [
        "-A -t 203.0.113.10:80 -s rr -p 60",
        "-At203.0.113.10:80 -srr -p60",
        "-A -t=203.0.113.10:80 -s=rr -p=60",
        "--add-service --tcp-service=203.0.113.10:80 --scheduler rr --persistent=60",
        "--add-service --persistent 60 --tcp-service www.example.net:http --scheduler=rr",
    ] {
        let args = parsed(line).unwrap();
        let service = ServiceId::Tcp("203.0.113.10:80".parse().unwrap());
        assert_eq!(
            (args.command, args.service, args.persistent),
            (Command::Add, Some(service), Some(60)),
            "{line}"
        );
        assert_eq!(args.scheduler.as_deref(), Some("rr"), "{line}");
    }
}

#[test]
fn a_timeout_is_taken_only_from_a_word_that_is_no_option() {
    for line in [
        "-A -f 1 -p",
        "-A -f 1 -p -s rr",
        "-A -p -f 1",
        "-A --persistent -f 1",
    ] {
        assert_eq!(parsed(line).unwrap().persistent, Some(360), "{line}");
    }
}

#[test]
fn listing_options_bundle() {
    for line in ["-Lnc", "-lcn", "-L -nc", "--list --numeric --connection"] {
        let args = parsed(line).unwrap();
        assert!(
            args.has(Opt::Numeric) && args.has(Opt::Connection),
            "{line}"
        );
    }
}

#[test]
fn defaults_are_the_originals() {
    let args = parsed("-e -f 1 -r 10.0.0.1").unwrap();
    assert_eq!(
        (args.method, args.weight, args.upper, args.lower),
        (Method::Droute, 1, 0, 0)
    );
    assert_eq!(parsed("").unwrap().command, Command::List);
}

#[test]
fn mistakes_are_told_as_the_original_does() {
    let cases = [
        (
            "-n",
            255,
            "Try `ipvsadm -h' or 'ipvsadm --help' for more information.",
        ),
        ("-A -D -f 1", 2, "invalid option `-D'"),
        (
            "-A -f 1 -f 2",
            2,
            "multiple 'service-address' options specified",
        ),
        (
            "-A -f 1 -t 1.2.3.4:5",
            2,
            "multiple 'service-address' options specified",
        ),
        (
            "-a -f 1 -r 10.0.0.1 -g -m",
            2,
            "multiple 'forwarding-method' options specified",
        ),
        (
            "-A -f 1 -w 2",
            2,
            "Illegal 'weight' option with the 'add-service' command",
        ),
        (
            "-C -n",
            2,
            "Illegal 'numeric' option with the 'flush' command",
        ),
        (
            "-D",
            2,
            "You need to supply the 'service-address' option for the 'delete-service' command",
        ),
        (
            "-L -c -f 1",
            2,
            "The option 'service-address' conflicts with the 'connection' option in the 'list' command",
        ),
        ("-A -f 1 word", 2, "unexpected argument word"),
        ("-A -f 1 -- -s", 2, "unexpected argument -s"),
        ("-A -f 1 --schedular rr", 255, "--schedular: unknown option"),
        ("-A -f 1 -Q", 255, "-Q: unknown option"),
        ("-A -f", 255, "-f: missing argument"),
        ("-A -f x", 2, "invalid fwmark value `x' specified"),
        (
            "-A -t nowhere.example:80",
            2,
            "illegal virtual server address[:port] specified",
        ),
        (
            "-A -t 1.2.3.4:nosuch",
            2,
            "illegal virtual server address[:port] specified",
        ),
        (
            "-A -t 1.2.3.4:65536",
            2,
            "illegal virtual server address[:port] specified",
        ),
        (
            "-a -f 1 -r 1.2.3.4.5",
            2,
            "illegal real server address[:port] specified",
        ),
        (
            "-a -f 1 -r 1.2.3.4 -x -1",
            2,
            "illegal u_threshold specified",
        ),
        (
            "-a -f 1 -r 1.2.3.4 -y z",
            2,
            "illegal l_threshold specified",
        ),
        (
            "-A -f 1 -M 255.255",
            2,
            "illegal virtual server persistent mask specified",
        ),
        (
            "-A -f 1 -p 2678401",
            2,
            "invalid timeout value `2678401' specified",
        ),
    ];
    for (line, status, message) in cases {
        assert_eq!(parsed(line), Err((status, message.to_owned())), "{line}");
    }
}

#[test]
fn stats_and_connections_do_not_go_together() {
    let args = parsed("-L -c --stats").unwrap();
    let refused = lower::lower(&args).unwrap_err();
    assert_eq!(refused.message, "options conflicts in the list command");
}

#[test]
fn mistakes_with_timeouts_and_switches_are_told_as_the_original_does() {
    let cases = [
        ("--set 1 2", "--set option requires 3 timeout values"),
        ("--set 1 2 3 4", "unexpected argument 4"),
        (
            "--set 1 2678401 3",
            "invalid timeout value `2678401' specified",
        ),
        ("--set 1 2 x", "invalid timeout value `x' specified"),
        (
            "--set 1 2 3 -n",
            "Illegal 'numeric' option with the 'set' command",
        ),
        ("-A -f 1 -o --ops", "multiple 'ops' options specified"),
        (
            "-D -f 1 -b flag-1",
            "Illegal 'sched-flags' option with the 'delete-service' command",
        ),
    ];
    for (line, message) in cases {
        assert_eq!(parsed(line), Err((2, message.to_owned())), "{line}");
    }
}

#[test]
fn the_services_switches_are_checked_as_the_original_does() {
    let cases = [
        (
            "-A -t 1.2.3.4:5 -o",
            "One-Packet Scheduling is only for UDP virtual services",
        ),
        (
            "-A -f 1 -s rr -b sh-port",
            "incompatible scheduler flag `sh-port'",
        ),
        (
            "-E -f 1 -b flag-3,mh-port",
            "incompatible scheduler flag `mh-port'",
        ),
        ("-A -f 1 -b flag-4", "invalid scheduler flag `flag-4'"),
    ];
    for (line, message) in cases {
        let refused =
            parsed(line).and_then(|args| lower::lower(&args).map_err(|e| (e.status, e.message)));
        assert_eq!(refused.unwrap_err(), (2, message.to_owned()));
    }
    for line in [
        "-A -u 1.2.3.4:5 -o",
        "-A -f 1 -o",
        "-A -f 1 -b sh-port,flag-1 -s sh",
        "-A -f 1 -s twos -b flag-1,flag-2",
    ] {
        lower::lower(&parsed(line).unwrap()).unwrap();
    }
}

#[test]
fn every_option_has_a_spelling() {
    for opt in Opt::ALL {
        let spelt = SPELLINGS.iter().any(|s| match s.word {
            Word::Plain(o) => o == opt,
            Word::Tcp | Word::Udp | Word::Sctp | Word::Fwmark => opt == Opt::Service,
            Word::Gatewaying | Word::Ipip | Word::Masquerading => opt == Opt::Forward,
            Word::Command(_) | Word::Ipv6 | Word::Sort => false,
        });
        assert!(spelt, "{opt:?}");
    }
}

#[test]
fn addresses_sort_by_their_signed_difference() {
    let service = |a: &str| crate::api::wire::Service {
        service: ServiceId::Tcp(a.parse().unwrap()),
        spec: crate::api::wire::ServiceSpec::new("rr"),
        stats: crate::api::wire::Stats::default(),
        rates: crate::api::wire::Rates::default(),
        dests: Vec::new(),
    };
    let order = |list: &[&str]| {
        let mut list: Vec<_> = list.iter().map(|a| service(a)).collect();
        sort::services(&mut list);
        let names = list.iter().map(|s| {
            let ServiceId::Tcp(a) = s.service else {
                unreachable!()
            };
            a.to_string()
        });
        names.collect::<Vec<_>>()
    };
    assert_eq!(
        order(&["10.0.0.1:1", "192.0.2.1:1"]),
        ["192.0.2.1:1", "10.0.0.1:1"]
    );
    assert_eq!(
        order(&["10.0.0.2:1", "10.0.0.1:2", "10.0.0.1:1"]),
        ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.2:1"]
    );
    // Around the circle there is no order, but a result.
    assert_eq!(
        order(&["10.0.0.1:1", "100.0.0.1:1", "192.0.0.1:1"]).len(),
        3
    );
}
