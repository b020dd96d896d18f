//! UDP with real sockets, with and without a checksum.

use std::{
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    time::Duration,
};

use anyhow::{Result, ensure};
use ipvs_tests::{
    echo,
    topology::{CLIENT, Director, GUESTS, OTHER_CLIENT, Start, Topology, VIP, vip, within},
};
use nix::{libc, setsockopt_impl, sockopt_impl, sys::socket::setsockopt};

sockopt_impl!(
    /// Sends zero instead of a checksum.
    NoChecksum,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_NO_CHECK,
    bool
);

/// Fits into one packet; more is for fragments.
const LONGEST: usize = 1472;

/// Servers bound to one address each: an answer comes from where the question went.
fn servers(net: &Topology, addrs: [Ipv4Addr; 2], ports: [u16; 2]) -> Result<()> {
    for ((guest, addr), port) in net.guests.iter().zip(addrs).zip(ports) {
        let on = SocketAddrV4::new(addr, port);
        echo::udp_server(guest.udp(on)?, guest.name());
    }
    Ok(())
}

fn client(net: &Topology, from: Ipv4Addr) -> Result<UdpSocket> {
    let socket = net.client.udp(SocketAddrV4::new(from, 0))?;
    net.client.enter(|| socket.connect(vip(53)))?;
    Ok(socket)
}

/// Several datagrams over one flow stay with one server, which is the result.
fn exchange(socket: &UdpSocket) -> Result<String> {
    let first = echo::udp_ask(socket, b"first")?;
    for len in [0, 1, 2, 3, 100, 1000, LONGEST - 7] {
        let data = vec![b'x'; len];
        let server = echo::udp_ask(socket, &data)?;
        ensure!(server == first, "first {first}, then {server}");
    }
    Ok(first)
}

fn flows(net: &Topology) -> Result<()> {
    let first = client(net, CLIENT)?;
    let second = client(net, CLIENT)?;
    let names = [exchange(&first)?, exchange(&second)?];
    ensure!(names[0] != names[1], "rr gave both flows to {}", names[0]);

    let without = client(net, OTHER_CLIENT)?;
    setsockopt(&without, NoChecksum, &true)?;
    exchange(&without)?;
    net.nothing_refused()
}

#[test]
fn masqueraded_datagrams_come_back() {
    within(40, || {
        let net = Topology::new()?;
        servers(&net, GUESTS, [53, 54])?;
        let director = Director::start(&net.dom0, &Start::default())?;
        director.run_all(&[
            "ipvsadm -A -u 10.0.0.5:53 -s rr",
            "ipvsadm -a -u 10.0.0.5:53 -r 10.0.1.5 -m",
            "ipvsadm -a -u 10.0.0.5:53 -r 10.0.1.6:54 -m",
        ])?;
        flows(&net)?;
        director.stop()?;
        Ok(())
    });
}

#[test]
fn directly_routed_datagrams_come_back() {
    within(40, || {
        let net = Topology::new()?;
        net.guests_take_vip()?;
        servers(&net, [VIP; 2], [53; 2])?;
        let director = Director::start(&net.dom0, &Start::default())?;
        director.run_all(&[
            "ipvsadm -A -u 10.0.0.5:53 -s rr",
            "ipvsadm -a -u 10.0.0.5:53 -r 10.0.1.5 -g",
            "ipvsadm -a -u 10.0.0.5:53 -r 10.0.1.6 -g",
        ])?;
        flows(&net)?;
        director.stop()?;
        Ok(())
    });
}

#[test]
fn datagram_goes_nowhere_when_there_is_no_server() {
    within(40, || {
        let net = Topology::new()?;
        let director = Director::start(&net.dom0, &Start::default())?;
        director.run("ipvsadm -A -u 10.0.0.5:53 -s rr")?;
        let socket = client(&net, CLIENT)?;
        socket.set_read_timeout(Some(Duration::from_secs(3)))?;
        socket.send(b"anybody?")?;
        let e = socket.recv(&mut [0; 16]).unwrap_err();
        // Port unreachable, as ip_vs answers.
        ensure!(e.kind() == std::io::ErrorKind::ConnectionRefused, "{e}");
        director.stop()?;
        Ok(())
    });
}
