//! Datagrams of 64 KB and segments that a router cuts, with real sockets: they come in fragments and arrive, by every method.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ipvs_tests::{
    echo,
    packet::{Packet, pieces},
    scene::{MailServers, call},
    six,
    topology::{CLIENT, Director, GUESTS, Netns, Start, Topology, VIP, within},
};

/// As long as a datagram can be, less the server's name.
const LONGEST: usize = 65_000;
const PORT: u16 = 53;
const DATAGRAMS: &str = "-u 10.0.0.5:53";
/// More than a megabyte each way.
const TIMES: usize = 24;

/// How packets get to the guests, and what these have to do about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Masq,
    Droute,
    Tunnel,
}

impl Way {
    const fn option(self) -> &'static str {
        match self {
            Self::Masq => "-m",
            Self::Droute => "-g",
            Self::Tunnel => "-i",
        }
    }
}

fn of(addr: Ipv4Addr, six: bool) -> IpAddr {
    if six {
        six::six(addr).into()
    } else {
        addr.into()
    }
}

/// A server on each guest that sends every datagram back.
fn servers(net: &Topology, way: Way, six: bool) -> Result<()> {
    if six {
        net.over_six()?;
    }
    if way != Way::Masq {
        if six {
            net.guests_take_vip_over_six()?;
        } else {
            net.guests_take_vip()?;
        }
    }
    for (guest, own) in net.guests.iter().zip(GUESTS) {
        let addr = if way == Way::Masq { own } else { VIP };
        let on = SocketAddr::new(of(addr, six), PORT);
        echo::udp_server(guest.enter(|| UdpSocket::bind(on))?, guest.name());
    }
    Ok(())
}

fn commands(way: Way, service: &str, six: bool) -> Vec<String> {
    let option = way.option();
    let lines = [
        format!("ipvsadm -A {service} -s rr"),
        format!("ipvsadm -a {service} -r 10.0.1.5 {option}"),
        format!("ipvsadm -a {service} -r 10.0.1.6 {option}"),
    ];
    let twin = |line: String| if six { six::command(&line) } else { line };
    lines.map(twin).to_vec()
}

fn asks(net: &Topology, six: bool) -> Result<String> {
    let socket = net
        .client
        .enter(|| UdpSocket::bind(SocketAddr::new(of(CLIENT, six), 0)))?;
    let to = SocketAddr::new(of(VIP, six), PORT);
    net.client.enter(|| socket.connect(to))?;
    let data: Vec<u8> = (0..LONGEST).map(|n| (n * 7 + n / 251) as u8).collect();
    let first = echo::udp_ask(&socket, &data).context("the first one")?;
    for n in 1..TIMES {
        let server = echo::udp_ask(&socket, &data).with_context(|| format!("datagram {n}"))?;
        ensure!(server == first, "first {first}, then {server}");
    }
    Ok(first)
}

fn long_datagrams(way: Way, six: bool) -> Result<()> {
    let net = Topology::new()?;
    if way == Way::Tunnel {
        // Room for the outer header.
        net.dom0
            .ip("link set vif1 mtu 1540\nlink set vif2 mtu 1540\n")?;
        for guest in &net.guests {
            guest.ip("link set eth0 mtu 1540")?;
        }
    }
    servers(&net, way, six)?;
    if way == Way::Tunnel && six {
        // What a guest sends is no longer than what the others' links take: nobody else cuts it.
        for guest in &net.guests {
            let router = six::six(Ipv4Addr::new(10, 0, 1, 1));
            guest.ip(&format!("route replace default via {router} mtu 1500\n"))?;
        }
    }
    let _unpacks = (way == Way::Tunnel)
        .then(|| net.guests_unpack())
        .transpose()?;
    let director = Director::start(&net.dom0, &Start::default())?;
    for command in commands(way, DATAGRAMS, six) {
        director.run(&command)?;
    }
    let names = [asks(&net, six)?, asks(&net, six)?];
    ensure!(names[0] != names[1], "rr gave both to {}", names[0]);
    net.nothing_refused()?;
    let stats = director.run("ipvsadm -Ln --stats --exact")?;
    let row = stats.lines().find(|line| line.starts_with("UDP"));
    let row = row.with_context(|| stats.clone())?;
    let words: Vec<_> = row.split_whitespace().skip(2).take(2).collect();
    ensure!(words == ["2", &(2 * TIMES).to_string()], "{stats}");
    director.stop()?;
    Ok(())
}

#[test]
fn masqueraded_datagrams_of_64_kb_go_both_ways() {
    within(60, || long_datagrams(Way::Masq, false));
}

#[test]
fn masqueraded_datagrams_of_64_kb_go_both_ways_over_ipv6() {
    within(60, || long_datagrams(Way::Masq, true));
}

#[test]
fn directly_routed_datagrams_of_64_kb_go_both_ways() {
    within(60, || long_datagrams(Way::Droute, false));
}

#[test]
fn directly_routed_datagrams_of_64_kb_go_both_ways_over_ipv6() {
    within(60, || long_datagrams(Way::Droute, true));
}

#[test]
fn datagrams_of_64_kb_go_through_a_tunnel() {
    within(60, || long_datagrams(Way::Tunnel, false));
}

#[test]
fn datagrams_of_64_kb_go_through_a_tunnel_over_ipv6() {
    within(60, || long_datagrams(Way::Tunnel, true));
}

/// A link of 600 bytes between router and dom0, whose router cuts what the client sends, and over which answers are cut.
fn narrow() -> Result<Topology> {
    let net = Topology::new()?;
    net.router.ip("link set dom0 mtu 600")?;
    net.dom0.ip("link set eth0 mtu 600")?;
    for netns in net.all() {
        // Nobody says "do not fragment".
        netns.set("ipv4/ip_no_pmtu_disc", "1")?;
    }
    Ok(net)
}

#[test]
fn masqueraded_segments_that_a_router_cuts_arrive() {
    within(90, || segments(Way::Masq));
}

#[test]
fn directly_routed_segments_that_a_router_cuts_arrive() {
    within(90, || segments(Way::Droute));
}

#[test]
fn tunneled_segments_that_a_router_cuts_arrive() {
    within(90, || segments(Way::Tunnel));
}

fn segments(way: Way) -> Result<()> {
    let net = narrow()?;
    if way != Way::Masq {
        net.guests_take_vip()?;
    }
    let _unpacks = (way == Way::Tunnel)
        .then(|| net.guests_unpack())
        .transpose()?;
    let servers = MailServers::start(&net, [25, 25])?;
    let director = Director::start(&net.dom0, &Start::default())?;
    for command in commands(way, "-t 10.0.0.5:25", false) {
        director.run(&command)?;
    }
    let mut session = call(&net, CLIENT)?;
    servers.mail_in(&net, &mut session, 1 << 20)?;
    session.quit()?;
    net.nothing_refused()?;
    let reasons = director.run("ipvsd reasons")?;
    ensure!(!reasons.contains("fragment_lost"), "{reasons}");
    let cut = cut_by(&net.router)?;
    ensure!(cut > 1000, "the router made {cut} fragments");
    director.stop()?;
    Ok(())
}

/// As many fragments has a namespace made.
fn cut_by(netns: &Netns) -> Result<u64> {
    let text = netns.output("cat", &["/proc/net/snmp"])?;
    let mut lines = text.lines().filter(|line| line.starts_with("Ip:"));
    let (names, counts) = lines.next().zip(lines.next()).context("no counts of IP")?;
    let mut pairs = names.split(' ').zip(counts.split(' '));
    let found = pairs.find(|(name, _)| *name == "FragCreates");
    Ok(found.context("no such count")?.1.parse()?)
}

#[test]
fn fragments_that_overtook_the_first_one_arrive_too() {
    within(60, || overtaking("native"));
}

#[test]
fn fragments_that_overtook_the_first_one_arrive_in_generic_mode_too() {
    within(60, || overtaking("generic"));
}

fn overtaking(mode: &'static str) -> Result<()> {
    let net = Topology::new()?;
    servers(&net, Way::Masq, false)?;
    let how = Start {
        mode: Some(mode),
        ..Start::default()
    };
    let director = Director::start(&net.dom0, &how)?;
    for command in commands(Way::Masq, DATAGRAMS, false) {
        director.run(&command)?;
    }
    // The neighbours get known.
    let name = asks(&net, false)?;
    let answers = net.client.udp(SocketAddrV4::new(CLIENT, 4000))?;
    answers.set_read_timeout(Some(Duration::from_secs(5)))?;
    let frame = backwards(&net)?;
    net.router.send_frames("dom0", &frame)?;
    let mut buffer = [0; 4096];
    let n = answers.recv(&mut buffer).context("no answer")?;
    ensure!(n > 3000, "{n} bytes came back");
    let reasons = director.run("ipvsd reasons")?;
    for expected in ["handed_early", "released_early"] {
        ensure!(reasons.contains(expected), "{name}: {reasons}");
    }
    // The director's own are not lost either.
    let own = net.dom0.udp(SocketAddrV4::new(VIP, 4001))?;
    own.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut mine = Packet::udp(
        SocketAddrV4::new(CLIENT, 4000),
        SocketAddrV4::new(VIP, 4001),
    );
    mine.df = false;
    let mut frames = cut(&net, mine, 78)?;
    frames.reverse();
    net.router.send_frames("dom0", &frames)?;
    let n = own.recv(&mut buffer).context("the director's own")?;
    ensure!(n == 3000, "{n} bytes arrived");
    director.stop()?;
    Ok(())
}

/// A datagram of the client in fragments, the last one first.
fn backwards(net: &Topology) -> Result<Vec<Vec<u8>>> {
    let mut packet = Packet::udp(
        SocketAddrV4::new(CLIENT, 4000),
        SocketAddrV4::new(VIP, PORT),
    );
    packet.df = false;
    let mut frames = cut(net, packet, 77)?;
    frames.reverse();
    Ok(frames)
}

fn cut(net: &Topology, packet: Packet, id: u32) -> Result<Vec<Vec<u8>>> {
    let (from, to) = (mac(net, false)?, mac(net, true)?);
    let frame = packet.data(3000).between(from, to).frame();
    Ok(pieces(&frame, false, &[1000, 2000], id))
}

/// Of the link between router and dom0: dom0's end, or the router's.
fn mac(net: &Topology, of_dom0: bool) -> Result<[u8; 6]> {
    let (netns, interface) = if of_dom0 {
        (&net.dom0, "eth0")
    } else {
        (&net.router, "dom0")
    };
    let shown = netns.output("ip", &["-br", "link", "show", interface])?;
    let text = shown.split_whitespace().nth(2).context("no address")?;
    let bytes: Result<Vec<u8>, _> = text.split(':').map(|b| u8::from_str_radix(b, 16)).collect();
    bytes?.try_into().ok().context("no address of six bytes")
}
