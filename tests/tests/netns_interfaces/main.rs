//! The director's interfaces change: all of what was asked for or nothing, and packets of the others do not notice.

mod gone;
mod reload;
mod start;

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Result, ensure};
use ipvs_tests::{
    echo,
    probe::{self, Probe},
    topology::{CLIENT, DOM0_INTERFACES, Start, Topology, vip},
};

/// The network, with two more interfaces of dom0: `other`, a veth, and `dull`, a bridge, whose driver knows no XDP.
fn network() -> Result<Topology> {
    let net = Topology::new()?;
    net.dom0.ip("link add other type veth peer name another\n\
         link add dull type bridge\n\
         link set other up\n\
         link set another up\n\
         link set dull up\n")?;
    for guest in &net.guests {
        let on = |port| SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
        echo::tcp_server(guest.listen(on(7))?, guest.name());
        probe::mirror(guest.udp(on(5000))?)?;
    }
    Ok(net)
}

/// Two services over both guests, the second one's weight in both, and these interfaces: their names with what stands under
/// them.
fn file(weight: u32, interfaces: &[(&str, &str)]) -> String {
    let interfaces = interfaces
        .iter()
        .map(|(name, how)| format!("[interface.{name}]\n{how}\n"));
    let services = [("tcp", 7), ("udp", 5000)].map(|(protocol, port)| {
        format!(
            "[[service]]\n{protocol} = '10.0.0.5:{port}'\nscheduler = 'wrr'\n\
             [[service.real]]\naddress = '10.0.1.5:{port}'\nmethod = 'masq'\n\
             [[service.real]]\naddress = '10.0.1.6:{port}'\nmethod = 'masq'\nweight = {weight}\n"
        )
    });
    interfaces.chain(services).collect()
}

/// As it is at first: `dull` in the stack, the others in the driver.
const FIRST: [(&str, &str); 4] = [
    ("eth0", ""),
    ("vif1", ""),
    ("vif2", ""),
    ("dull", "mode = 'generic'"),
];

fn how(interfaces: &[(&str, &str)]) -> Start {
    Start {
        interfaces: Vec::new(),
        config: Some(file(1, interfaces)),
        stays: true,
        ..Start::default()
    }
}

/// What is attached to an interface: the program's number, after a word for the mode. Empty: nothing.
fn on(net: &Topology, interface: &str) -> Result<String> {
    let told = net.dom0.output("ip", &["link", "show", "dev", interface])?;
    let mode = if told.contains("xdpgeneric") {
        "generic"
    } else {
        "native"
    };
    let number = told.split("prog/xdp id ").nth(1);
    let number = number.and_then(|rest| rest.split_whitespace().next());
    Ok(number.map_or_else(String::new, |n| format!("{mode} {n}")))
}

/// The same of all.
fn attached(net: &Topology) -> Result<Vec<String>> {
    let all = DOM0_INTERFACES.into_iter().chain(["other", "dull"]);
    all.map(|name| Ok(format!("{name} {}", on(net, name)?)))
        .collect()
}

fn datagrams(net: &Topology) -> Result<Probe> {
    let socket = net.client.udp(SocketAddrV4::new(CLIENT, 0))?;
    socket.connect(vip(5000))?;
    Probe::start(socket)
}

fn lost_none(probe: Probe) -> Result<()> {
    let sent = probe.finish()?;
    ensure!(sent > 100, "only {sent} datagrams were sent");
    Ok(())
}

/// `FIRST`, with others in the place of some and behind.
fn changed<'a>(other: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let kept = FIRST.into_iter();
    let kept = kept.filter(|(name, _)| !other.iter().any(|(o, _)| o == name));
    kept.chain(other.iter().copied()).collect()
}
