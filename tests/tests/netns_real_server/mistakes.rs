//! What would do harm is refused, with what to do instead, and nothing is changed.

use anyhow::{Context as _, ensure};
use ipvs_tests::topology::{Netns, within};

use crate::{
    machine::{Machine, same},
    tunnels::settled,
};

/// What is typed, and what of the answer matters.
const REFUSED: [(&str, &[&str]); 26] = [
    (
        "--vip 10.0.0.5/24 --method dr",
        &["every address of 10.0.0.0/24", "address alone (10.0.0.5)"],
    ),
    (
        "--vip 2001:db8::5/64 --method dr",
        &["every address of 2001:db8::/64", "it gets /128"],
    ),
    (
        "--vip 10.0.1.5 --method dr",
        &["this machine's own address on eth0"],
    ),
    (
        "--vip 10.0.1.7 --method dr",
        &[
            "eth0 has it",
            "Is this the director?",
            "`ip addr del 10.0.1.7/32 dev eth0`",
        ],
    ),
    (
        "--vip 10.0.1.1 --method dr",
        &["the default route on eth0 goes by it"],
    ),
    (
        "--vip 10.0.3.9 --method dr",
        &["lo has 10.0.3.9/24", "`ip addr del 10.0.3.9/24 dev lo`"],
    ),
    (
        "--vip 10.0.0.5 --method dr --device eth0",
        &["--device eth0: it answers ARP"],
    ),
    (
        "--vip 10.0.0.5 --method dr --device dummy7",
        &["--device dummy7: no such interface; there are lo, "],
    ),
    (
        "--vip 10.0.0.500 --method dr",
        &["--vip 10.0.0.500: no IPv4 or IPv6 address"],
    ),
    (
        "--vip 10.0.0.5/33 --method dr",
        &["--vip 10.0.0.5/33: no IPv4"],
    ),
    (
        "--vip 224.0.0.5 --method dr",
        &["no address that a service can have"],
    ),
    (
        "--vip 127.0.0.5 --method dr",
        &["no address that a service can have"],
    ),
    (
        "--vip 10.0.0.5",
        &["--vip needs --method dr, tunnel or masq"],
    ),
    ("--method dr", &["--method needs --vip"]),
    (
        "--vip 10.0.0.5 --method dr --tunnel-type gre",
        &["--tunnel-type needs --method tunnel"],
    ),
    (
        "--vip 10.0.0.5 --method tunnel --tunnel-type gue",
        &["--tunnel-type gue needs --port"],
    ),
    (
        "--vip 10.0.0.5 --method tunnel --port 6080",
        &["--port needs --tunnel-type gue"],
    ),
    (
        "--vip 10.0.0.5 --method masq",
        &["--method masq needs --director"],
    ),
    (
        "--vip 10.0.0.5 --method dr --director 10.0.0.5",
        &["--vip and --director are both 10.0.0.5"],
    ),
    (
        "--vip 10.0.0.5 --method tunnel --unpack xdp --director 10.0.1.5",
        &["--director 10.0.1.5: that is this machine's own address on eth0"],
    ),
    (
        "--vip 10.0.0.5 --method masq --director 10.0.1.1 --device eth0",
        &["--device needs --method dr or tunnel"],
    ),
    ("--director 10.0.1.1", &["--director needs --method dr"]),
    ("--device lo", &["--device needs --method dr"]),
    ("--unpack xdp --check", &["--unpack needs --method dr"]),
    (
        "--tunnel-type gue --port 6080 --dry-run",
        &["--tunnel-type needs --method dr"],
    ),
    (
        "--vip 10.0.3.9 --method masq --director 10.0.1.1",
        &["lo has 10.0.3.9", "asked at its own address"],
    ),
];

#[test]
fn mistakes_are_refused_and_change_nothing() {
    within(60, || {
        let netns = Netns::new("real")?;
        netns.ip("link add eth0 type veth peer name far0\n\
             addr add 10.0.1.5/24 dev eth0\n\
             addr add 10.0.1.7/32 dev eth0\n\
             addr add 10.0.3.9/24 dev lo\n\
             link set eth0 up\n\
             link set far0 up\n\
             route add default via 10.0.1.1\n")?;
        settled(&netns)?;
        let machine = Machine::new(&netns)?;
        let before = machine.all()?;
        for (arguments, expected) in REFUSED {
            let said = machine.refused(arguments)?;
            for part in expected {
                ensure!(said.contains(part), "{arguments}: {said}");
            }
            ensure!(said.starts_with("ipvsd: "), "{said}");
            ensure!(!machine.state().exists(), "{arguments} wrote");
            same(&before, &machine.all()?).context(arguments)?;
        }
        Ok(())
    });
}

#[test]
fn another_kind_of_real_server_wants_the_first_one_undone() {
    within(60, || {
        let netns = Netns::new("real")?;
        let machine = Machine::new(&netns)?;
        machine.run("--vip 10.0.0.5 --method dr")?;
        let before = machine.all()?;
        // Beside what was said before, not only in itself.
        let said = machine.refused("--vip 10.0.0.6 --method dr --director 10.0.0.5")?;
        ensure!(
            said.contains("--vip and --director are both 10.0.0.5"),
            "{said}"
        );
        let said = machine.refused("--vip 10.0.0.6 --method tunnel")?;
        ensure!(
            said.contains("another --method: `ipvsd real-server --undo` first"),
            "{said}"
        );
        same(&before, &machine.all()?)
    });
}

#[test]
fn state_of_another_network_namespace_is_nobody_elses() {
    within(60, || {
        let (here, there) = (Netns::new("here")?, Netns::new("there")?);
        let machine = Machine::new(&here)?;
        machine.run("--vip 10.0.0.5 --method dr")?;
        let elsewhere = machine.elsewhere(&there);
        let said = elsewhere.refused("--undo")?;
        ensure!(said.contains("is of another network namespace"), "{said}");
        ensure!(here.get("ipv4/conf/all/arp_ignore")? == "1");
        Ok(())
    });
}
