//! Match rules in a file.

use super::{mistakes, parse};

const RULE: &str = "[[match]]\nmark = 7\nto = \"0.0.0.0/0\"\n";

#[test]
fn rules_are_read_in_the_order_of_the_file() {
    let text = "[[match]]\nmark = 7\nto = \"0.0.0.0/0\"\nports = [80, \"8000-8099\"]\nprotocol = \"tcp\"\n\
                [[match]]\nmark = 8\nto = \"2001:db8::/32\"\nfrom = \"2001:db8:1::/48\"\ninterface = \"eth0\"\n\
                [[match]]\nmark = 9\nto = \"10.0.0.1\"\nports = \"53\"\n";
    let config = parse("f.toml", text).unwrap();
    let told: Vec<_> = config
        .matches
        .iter()
        .map(|rule| format!("{}: {}", rule.mark, rule.conditions))
        .collect();
    assert_eq!(
        told,
        [
            "7: to 0.0.0.0/0 tcp port 80,8000-8099",
            "8: to 2001:db8::/32 from 2001:db8:1::/48 on eth0",
            "9: to 10.0.0.1 port 53",
        ]
    );
}

/// What follows a rule that is right, the place, the message, a part of the hint.
const CASES: [(&str, (usize, usize), &str, &str); 14] = [
    (
        "mrak = 7",
        (4, 1),
        "unknown key `mrak` in [[match]]",
        "did you mean `mark`?",
    ),
    (
        "ports = 65536",
        (4, 9),
        "`65536` is no port and no range of ports",
        "ports = 80",
    ),
    (
        "ports = \"90-80\"",
        (4, 9),
        "`90-80` is no port and no range of ports",
        "8000-8099",
    ),
    (
        "ports = [80, \"http\"]",
        (4, 14),
        "`http` is no port and no range of ports",
        "ports = 80",
    ),
    ("ports = []", (4, 9), "an empty list of ports", "ports = 80"),
    (
        "ports = true",
        (4, 9),
        "`ports` is a boolean, but should be ports",
        "ports = 80",
    ),
    (
        "ports = [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]",
        (4, 9),
        "16 port ranges; a rule can have 15",
        "another [[match]]",
    ),
    (
        "protocol = \"tpc\"",
        (4, 12),
        "no protocol `tpc`",
        "did you mean `tcp`?",
    ),
    (
        "protocol = \"icmp\"",
        (4, 12),
        "no protocol `icmp`",
        "tcp, udp, sctp",
    ),
    (
        "interface = \"\"",
        (4, 13),
        "`` cannot be the name of an interface",
        "ip link",
    ),
    (
        "from = \"10.0.0.1/8\"",
        (4, 8),
        "`10.0.0.1/8` has bits set beyond its prefix",
        "from = \"10.0.0.0/8\"",
    ),
    (
        "from = \"10.0.0.0/33\"",
        (4, 8),
        "`10.0.0.0/33` is no address and no prefix",
        "from = \"10.0.0.0/8\"",
    ),
    (
        "from = \"2001:db8::/32\"",
        (4, 8),
        "2001:db8::/32 never sends to 0.0.0.0/0",
        "for each family",
    ),
    (
        "[[match]]\nmark = 8\nto = \"0.0.0.0/0\"",
        (4, 1),
        "a match rule that wants what the one on line 1 wants",
        "the first one decides",
    ),
];

#[test]
fn each_mistake_in_a_rule_is_told_with_its_place_and_a_hint() {
    for (line, place, message, hint) in CASES {
        let text = format!("{RULE}{line}\n");
        let found = mistakes(&text);
        assert_eq!(found.len(), 1, "{text}: {found:#?}");
        let position = found[0].position.as_ref().unwrap();
        let told = (position.line, position.column);
        assert_eq!(
            (told, found[0].message.as_str()),
            (place, message),
            "{text}"
        );
        assert!(found[0].hint.contains(hint), "{text}: {}", found[0].hint);
    }
}

#[test]
fn rule_needs_a_mark_and_a_destination() {
    let of = |text: &str| {
        mistakes(text)
            .into_iter()
            .map(|d| d.message)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of("[[match]]\nto = \"::/0\"\n"),
        ["a match rule without a mark"]
    );
    assert_eq!(
        of("[[match]]\nmark = 7\n"),
        ["a match rule without a destination"]
    );
}

#[test]
fn there_can_be_ten_thousand_rules() {
    let rule = |n: u32| {
        let [_, b, c, d] = n.to_be_bytes();
        format!("[[match]]\nmark = 7\nto = \"10.{b}.{c}.{d}\"\n")
    };
    let text: String = (0..10_000).map(rule).collect();
    assert_eq!(parse("f.toml", &text).unwrap().matches.len(), 10_000);
    let found = mistakes(&format!("{text}{}", rule(10_000)));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].position.as_ref().unwrap().line, 30_001);
    assert_eq!(found[0].message, "10001 rules; there can be 10000");
}
