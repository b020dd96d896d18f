//! VLANs with real sockets: one interface that everything comes and goes by, in tags of its own each.

use std::{
    collections::BTreeSet,
    io::ErrorKind,
    net::{TcpStream, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ipvs_tests::{
    echo,
    six_session::{Session, serve},
    topology::{Director, Home, Part, Refused, Start, TRUNK_CLIENT, Trunk, at, eventually, within},
};
use ipvs_user::api::{client::Client, wire::Interface};
use tokio::runtime::Builder;

/// Bytes each way.
const BULK: usize = 2 << 20;
/// More than a megabyte in datagrams of 64 KB, which come in fragments.
const DATAGRAM: usize = 65_000;
const DATAGRAMS: usize = 24;
const SOON: Duration = Duration::from_secs(5);

const MASQ: u16 = 25;
const DROUTE: u16 = 26;
const TUNNEL: u16 = 27;
const MARKED: u16 = 28;
const NOBODY: u16 = 29;
const LONG: u16 = 53;

/// Whose packets have the mark of the service below: what enters by a VLAN device, and what a rule says of it.
const MARKS: [&str; 2] = [
    "[interface.\"eth0.10\"]\nmark = 7\n",
    "[[match]]
to = \"198.51.100.5\"
ports = 28
interface = \"eth0\"
mark = 8

[[match]]
to = \"198.51.100.5\"
ports = 28
interface = \"eth0.10\"
mark = 7
",
];

const SERVICE: &str = "
[[service]]
fwmark = 7
scheduler = \"rr\"

[[service.real]]
address = \"10.20.0.2\"
method = \"masq\"
";

fn start(interfaces: &[&'static str], mode: &'static str) -> Start {
    Start {
        interfaces: interfaces.to_vec(),
        mode: Some(mode),
        ..Start::default()
    }
}

fn service(director: &Director, port: u16, option: &str, homes: &[Home], six: bool) -> Result<()> {
    let service = Trunk::vip(port, six);
    director.run(&format!("ipvsadm -A -t {service} -s rr"))?;
    for home in homes {
        let real = at(home.address(), port, six);
        director.run(&format!("ipvsadm -a -t {service} -r {real} {option}"))?;
    }
    Ok(())
}

/// A session with each of the real servers of a service; they see the client as it is.
fn each_answers(net: &Trunk, port: u16, homes: &[Home], six: bool) -> Result<()> {
    let client = at(TRUNK_CLIENT, 0, six).ip().to_string();
    let mut names = BTreeSet::new();
    for _ in homes {
        let session = Session::from(&net.client, Trunk::vip(port, six))?;
        session.exchange(BULK)?;
        let (name, seen) = session.line.split_once(' ').context("two words")?;
        ensure!(seen == client, "{name} sees {seen}");
        names.insert(name.to_owned());
    }
    let expected = homes.iter().map(|h| net.server(*h).name().to_owned());
    ensure!(
        names.iter().eq(&expected.collect::<BTreeSet<_>>()),
        "{names:?}"
    );
    Ok(())
}

fn serve_all(net: &Trunk) -> Result<()> {
    for server in &net.servers {
        for port in [MASQ, DROUTE, TUNNEL, MARKED] {
            serve(server, port)?;
        }
        let on = at([0, 0, 0, 0].into(), LONG, false);
        echo::udp_server(server.enter(|| UdpSocket::bind(on))?, server.name());
    }
    Ok(())
}

/// Datagrams that the client, or the director towards the inner VLAN, cuts.
fn long_datagrams(net: &Trunk, director: &Director) -> Result<()> {
    // The client has learned what fits.
    net.client.ip("route flush cache\n")?;
    let service = Trunk::vip(LONG, false);
    director.run(&format!("ipvsadm -A -u {service} -s rr"))?;
    let real = at(Home::Inner.address(), LONG, false);
    director.run(&format!("ipvsadm -a -u {service} -r {real} -m"))?;
    let socket = net
        .client
        .enter(|| UdpSocket::bind(at(TRUNK_CLIENT, 0, false)))?;
    net.client.enter(|| socket.connect(service))?;
    let data: Vec<u8> = (0..DATAGRAM).map(|n| (n * 7 + n / 251) as u8).collect();
    for n in 0..DATAGRAMS {
        echo::udp_ask(&socket, &data).with_context(|| format!("datagram {n}"))?;
    }
    let reasons = director.run("ipvsd reasons")?;
    ensure!(reasons.contains("handed_fragment"), "{reasons}");
    Ok(())
}

/// What the director says itself, and what only its kernel knows.
fn errors_and_strangers(net: &Trunk, director: &Director) -> Result<()> {
    for six in [false, true] {
        let service = Trunk::vip(NOBODY, six);
        director.run(&format!("ipvsadm -A -u {service} -s rr"))?;
        let socket = net
            .client
            .enter(|| UdpSocket::bind(at(TRUNK_CLIENT, 0, six)))?;
        socket.set_read_timeout(Some(SOON))?;
        net.client.enter(|| socket.connect(service))?;
        socket.send(b"is anybody there?")?;
        let told = socket.recv(&mut [0; 9]).err().map(|e| e.kind());
        let refused = ErrorKind::ConnectionRefused;
        ensure!(told == Some(refused), "{told:?}, over IPv6: {six}");
        // Nobody's port, of the director's and of a machine that its kernel forwards to.
        for to in [Trunk::vip(9, six), at(Home::Twenty.address(), 9, six)] {
            let connect = || TcpStream::connect_timeout(&to, SOON);
            let told = net.client.enter(connect).err().map(|e| e.kind());
            ensure!(told == Some(refused), "{to}: {told:?}");
        }
    }
    Ok(())
}

fn nothing_refused(net: &Trunk) -> Result<()> {
    for netns in net.servers.iter().chain([&net.client, &net.dom0]) {
        let refused = Refused::by(netns)?;
        ensure!(
            refused == Refused::default(),
            "{} refused {refused:?}",
            netns.name()
        );
    }
    Ok(())
}

fn every_method(net: &Trunk, director: &Director) -> Result<()> {
    use Home::{Inner, Plain, Thirty, Twenty};
    for six in [false, true] {
        let over = || format!("over IPv6: {six}");
        service(director, MASQ, "-m", &[Plain, Twenty, Inner], six)?;
        each_answers(net, MASQ, &[Plain, Twenty, Inner], six).with_context(over)?;
        service(director, DROUTE, "-g", &Home::ALL, six)?;
        each_answers(net, DROUTE, &Home::ALL, six).with_context(over)?;
        service(director, TUNNEL, "-i", &[Thirty], six)?;
        each_answers(net, TUNNEL, &[Thirty], six).with_context(over)?;
    }
    Ok(())
}

/// Devices come and go: another one in the place of that of VLAN 20.
fn devices_come_and_go(net: &Trunk, director: &Director) -> Result<()> {
    let client = Client::new(&director.socket());
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let listed = |name: &str| -> Result<bool> {
        let status = runtime.block_on(client.status())?;
        let is_it = |i: &Interface| i.name == name && i.through.as_deref() == Some("eth0");
        Ok(status.interfaces.iter().any(is_it))
    };
    ensure!(listed("eth0.20")?, "it is not listed at all");
    net.dom0.ip("link del eth0.20")?;
    ensure!(
        eventually(SOON, || Ok(!listed("eth0.20")?))?,
        "it is still listed"
    );
    net.dom0.ip(&format!(
        "link add link eth0 another type vlan id 20\n\
         addr add {}/24 dev another\n\
         link set another up\n",
        Home::Twenty.router()
    ))?;
    ensure!(eventually(SOON, || listed("another"))?, "it is not listed");
    let forwards = || Ok(net.dom0.get("ipv4/conf/another/accept_local")? == "1");
    ensure!(eventually(SOON, forwards)?, "it is not made ready");
    // Of the real servers only one is behind it.
    let homes = [Home::Plain, Home::Twenty, Home::Inner];
    each_answers(net, MASQ, &homes, false)
}

/// Clients enter by their VLAN device, and not by what that is on.
fn marks_by_device(net: &Trunk, director: &Director) -> Result<()> {
    for marks in MARKS {
        director.configure(&format!("{marks}{SERVICE}"))?;
        director.run(&format!("ipvsd apply {}", director.config().display()))?;
        let session = Session::from(&net.client, Trunk::vip(MARKED, false)).context(marks)?;
        session.exchange(1000)?;
    }
    // Named no longer, but still served.
    let accepts = net.dom0.get("ipv4/conf/eth0.10/accept_local")?;
    ensure!(accepts == "1", "accept_local of eth0.10 is {accepts}");
    Ok(())
}

#[test]
fn clients_and_real_servers_are_in_vlans_of_one_interface() {
    if !part_there() {
        return;
    }
    within(600, || {
        let net = Trunk::new()?;
        net.servers_take_vip()?;
        net.unpacks(Home::Thirty)?;
        serve_all(&net)?;
        let director = Director::start(&net.dom0, &start(&["eth0"], "native"))?;
        every_method(&net, &director)?;
        long_datagrams(&net, &director)?;
        errors_and_strangers(&net, &director)?;
        nothing_refused(&net)?;
        let reasons = director.run("ipvsd reasons")?;
        ensure!(!reasons.contains("kernel_routes"), "{reasons}");
        devices_come_and_go(&net, &director)?;
        marks_by_device(&net, &director)?;
        let log = director.stop()?;
        ensure!(log.contains("served through eth0"), "{log}");
        let after = net.dom0.get("ipv4/conf/eth0.10/accept_local")?;
        ensure!(after == "0", "accept_local of eth0.10 is {after}");
        Ok(())
    });
}

#[test]
fn in_the_stack_vlans_are_served_through_their_interface_or_named() {
    if !part_there() {
        return;
    }
    within(600, || {
        let net = Trunk::new()?;
        serve_all(&net)?;
        let named: [&[&str]; 2] = [&["eth0"], &["eth0.10", "eth0.20", "eth0.100.7"]];
        for interfaces in named {
            let director = Director::start(&net.dom0, &start(interfaces, "generic"))?;
            let homes = [Home::Twenty, Home::Inner];
            for six in [false, true] {
                service(&director, MASQ, "-m", &homes, six)?;
                let done = each_answers(&net, MASQ, &homes, six);
                done.with_context(|| format!("{interfaces:?}, over IPv6: {six}"))?;
            }
            nothing_refused(&net)?;
            director.stop()?;
        }
        Ok(())
    });
}

fn part_there() -> bool {
    Part::Vlans.is_there().expect("asking the kernel")
}
