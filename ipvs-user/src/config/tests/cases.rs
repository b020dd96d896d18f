//! Each kind of mistake, where it is told to be and how to mend it.

use super::mistakes;

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
        "there are: api, director, interface, match, service, sysctl",
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
        "`10.0.0.5` is no address with a port",
        "tcp = \"10.0.0.5:PORT\"",
    ),
    (
        "[[service]]\n",
        "udp = \"www:80\"",
        (2, 7),
        "`www:80` is no address with a port",
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
        "`10.0.1` is no address, with or without a port",
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
        "[director]\n",
        "mh_table_index = 18",
        (2, 18),
        "mh_table_index = 18 is out of range",
        "from 8 to 17",
    ),
    (
        "[sysctl]\n",
        "expire_nodest = 1",
        (2, 1),
        "unknown key `expire_nodest` in [sysctl]",
        "did you mean `expire_nodest_conn`? There are: am_droprate",
    ),
    (
        "[sysctl]\n",
        "secure_tcp = 4",
        (2, 14),
        "secure_tcp = 4 is out of range",
        "write 0 to 3",
    ),
    (
        "[sysctl]\n",
        "amemthresh = -1",
        (2, 14),
        "amemthresh = -1 is out of range",
        "write 0 to 2147483647",
    ),
    (
        "[sysctl]\n",
        "sloppy_tcp = true",
        (2, 14),
        "`sloppy_tcp` is a boolean, but should be a number",
        "write sloppy_tcp = 1",
    ),
    (
        "[sysctl]\n",
        "sync_threshold = [3, 50]",
        (2, 18),
        "`sync_threshold` is an array, but should be a number or a string",
        "sync_threshold = \"3 50\"",
    ),
    (
        "[sysctl]\n",
        "snat_reroute = 0",
        (2, 16),
        "snat_reroute = 0 does not apply here: translated replies are always routed with the virtual address as their source",
        "write its default, 1",
    ),
    (
        SERVICE,
        "one_packet = true",
        (3, 14),
        "one_packet is for udp and fwmark services, not for tcp",
        "leave it out",
    ),
    (
        SERVICE,
        "one_packet = 1",
        (3, 14),
        "`one_packet` is an integer, but should be true or false",
        "write one_packet = true",
    ),
    (
        SERVICE,
        "sched_flags = [\"sh-port\"]",
        (3, 16),
        "scheduler flag `sh-port` is for sh, not for wlc",
        "write scheduler = \"sh\", or one of flag-1, flag-2, flag-3",
    ),
    (
        SERVICE,
        "scheduler = \"mh\"\nsched_flags = [\"mh-prot\"]",
        (4, 16),
        "no scheduler flag `mh-prot`",
        "did you mean `mh-port`?",
    ),
    (
        SERVICE,
        "sched_flags = [\"sh-port\"]\nscheduler = \"shh\"",
        (4, 13),
        "no scheduler `shh`",
        "did you mean `sh`?",
    ),
    (
        SERVICE,
        "sched_flags = \"sh-port\"",
        (3, 15),
        "`sched_flags` is a string, but should be an array of strings",
        "write sched_flags = [",
    ),
    (
        SERVICE,
        "on_dead = \"rescedule\"",
        (3, 11),
        "no way on_dead = `rescedule`",
        "did you mean `reschedule`? There are: kernel, reset, reschedule",
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
