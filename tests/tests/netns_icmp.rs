//! ICMP errors about connections, with real sockets: whoever sent the packet hears of it, be it the client through masquerading
//! or the director for a tunnel.
//!
//! Behind the first guest, which is a router here, stands a real server at the end of a link that takes no long packets:
//!
//! ```text
//!   client ── router ── dom0 ── guest1 ──1300── far 10.0.9.9
//! ```

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    time::Duration,
};

use anyhow::{Result, ensure};
use ipvs_tests::{
    smtp::{MailServer, Message, Session},
    topology::{
        CLIENT, Director, FarEnd, Netns, Start, Topology, VIP, attach, eventually, vip, within,
    },
};
use nix::sys::socket::{setsockopt, sockopt::Ipv4RecvErr};

const FAR: Ipv4Addr = Ipv4Addr::new(10, 0, 9, 9);
const MEGABYTE: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(5);

/// The network with a real server behind the first guest.
fn with_far() -> Result<(Topology, Netns)> {
    let net = Topology::new()?;
    let far = Netns::new("far")?;
    let [guest, _] = &net.guests;
    guest.set("ipv4/ip_forward", "1")?;
    guest.ip(&format!(
        "link add far type veth peer name eth0 netns {}\n\
         addr add 10.0.9.1/24 dev far\n\
         link set far mtu 1300 up\n",
        far.path()
    ))?;
    far.set("ipv4/conf/all/arp_ignore", "1")?;
    far.set("ipv4/conf/all/arp_announce", "2")?;
    // It says that it takes long packets, and sends none: the way there is what is to be found out.
    far.ip(&format!(
        "addr add {FAR}/24 dev eth0\n\
         addr add {VIP}/32 dev lo\n\
         link set eth0 up\n\
         route add default via 10.0.9.1 mtu lock 1300 advmss 1460\n"
    ))?;
    guest.ip(&format!("route add {VIP}/32 via {FAR} dev far\n"))?;
    net.dom0
        .ip("route add 10.0.9.0/24 via 10.0.1.5 dev vif1 src 10.0.1.1\n")?;
    Ok((net, far))
}

/// A megabyte to the real server and back, and what the client has learned of the way.
fn megabyte(method: &str) -> Result<Option<u32>> {
    let (net, far) = with_far()?;
    let _program = (method == "-i")
        .then(|| attach(&far, "eth0", FarEnd::Decap))
        .transpose()?;
    let listener = far.listen(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 25))?;
    let _server = MailServer::on(listener, far.name())?;
    let director = Director::start(&net.dom0, &Start::default())?;
    director.run_all(&[
        "ipvsadm -A -t 10.0.0.5:25 -s rr",
        &format!("ipvsadm -a -t 10.0.0.5:25 -r {FAR} {method}"),
    ])?;
    let mut session = Session::over(net.client.connect(CLIENT, vip(25))?)?;
    let message = Message::of(MEGABYTE);
    let accepted = session.send(&message)?;
    ensure!(accepted.digest == message.digest(), "another message came");
    ensure!(session.take_back()? == message.digest());
    session.quit()?;
    let learned = net.learned_mtu()?;
    if method == "-i" {
        let reasons = director.run("ipvsd reasons")?;
        ensure!(reasons.contains("path_mtu"), "{reasons}");
    }
    director.stop()?;
    Ok(learned)
}

#[test]
fn masqueraded_client_learns_of_a_narrow_link_behind_a_router() {
    within(60, || {
        let learned = megabyte("-m")?;
        ensure!(learned == Some(1300), "the client learned {learned:?}");
        Ok(())
    });
}

#[test]
fn client_of_direct_routing_learns_of_a_narrow_link_behind_a_router() {
    within(60, || {
        let learned = megabyte("-g")?;
        ensure!(learned == Some(1300), "the client learned {learned:?}");
        Ok(())
    });
}

#[test]
fn client_of_a_tunnel_learns_of_a_narrow_link_on_its_way() {
    within(60, || {
        let learned = megabyte("-i")?;
        ensure!(learned == Some(1280), "the client learned {learned:?}");
        Ok(())
    });
}

/// A client's socket that is connected to the virtual address.
fn datagrams(net: &Topology) -> Result<UdpSocket> {
    let socket = net.client.udp(SocketAddrV4::new(CLIENT, 0))?;
    net.client.enter(|| socket.connect(vip(53)))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

#[test]
fn masqueraded_client_hears_that_nobody_listens() {
    within(40, || {
        let net = Topology::new()?;
        let director = Director::start(&net.dom0, &Start::default())?;
        director.run_all(&[
            "ipvsadm -A -u 10.0.0.5:53 -s rr",
            "ipvsadm -a -u 10.0.0.5:53 -r 10.0.1.5:5353 -m",
        ])?;
        let socket = datagrams(&net)?;
        socket.send(b"anybody?")?;
        let error = socket.recv(&mut [0; 9]).unwrap_err();
        ensure!(error.kind() == ErrorKind::ConnectionRefused, "{error}");
        let rates = director.run("ipvsadm -Ln --stats --exact")?;
        // The error is a reply: its bytes are those of two headers, ICMP's and what was sent.
        ensure!(
            rates.contains("1        1        1       36       64"),
            "{rates}"
        );
        director.stop()?;
        Ok(())
    });
}

#[test]
fn masqueraded_client_hears_of_a_router_that_lets_nobody_through() {
    within(40, || {
        let (net, _far) = with_far()?;
        net.guests[0].ip(&format!("route add prohibit {FAR}/32\n"))?;
        let director = Director::start(&net.dom0, &Start::default())?;
        director.run_all(&[
            "ipvsadm -A -t 10.0.0.5:25 -s rr",
            &format!("ipvsadm -a -t 10.0.0.5:25 -r {FAR} -m"),
        ])?;
        let error = net.client.connect(CLIENT, vip(25)).unwrap_err();
        let kind = error
            .downcast_ref::<std::io::Error>()
            .map(std::io::Error::kind);
        ensure!(kind == Some(ErrorKind::HostUnreachable), "{error:#}");
        director.stop()?;
        Ok(())
    });
}

/// What a traceroute asks: whose time to live ends where.
#[test]
fn masqueraded_client_hears_where_a_datagram_ends() {
    within(40, || {
        let (net, _far) = with_far()?;
        let director = Director::start(&net.dom0, &Start::default())?;
        director.run_all(&[
            "ipvsadm -A -u 10.0.0.5:53 -s rr",
            &format!("ipvsadm -a -u 10.0.0.5:53 -r {FAR}:53 -m"),
        ])?;
        let socket = datagrams(&net)?;
        setsockopt(&socket, Ipv4RecvErr, &true)?;
        // Past the router; past the director; past the guest, to where nobody listens.
        for (ttl, kind) in [
            (2, ErrorKind::HostUnreachable),
            (3, ErrorKind::HostUnreachable),
            (4, ErrorKind::ConnectionRefused),
        ] {
            socket.set_ttl(ttl)?;
            // The first to a neighbour that is not known may be lost.
            let heard = eventually(PATIENCE, || {
                socket.send(b"how far?")?;
                let error = socket.recv(&mut [0; 9]).unwrap_err();
                Ok(error.kind() == kind)
            })?;
            ensure!(heard, "time to live {ttl}");
        }
        let reasons = director.run("ipvsd reasons")?;
        ensure!(reasons.contains("icmp_relayed"), "{reasons}");
        director.stop()?;
        Ok(())
    });
}
