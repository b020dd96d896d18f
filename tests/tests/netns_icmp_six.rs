//! ICMPv6 errors about connections, with real sockets: whoever sent the packet hears of it.
//!
//! Behind the first guest, which is a router here, stands a real server at the end of a link that takes no long packets:
//!
//! ```text
//!   client ── router ── dom0 ── guest1 ──1400── far 2001:db8:a00:9::9
//! ```

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddrV6, UdpSocket},
    time::Duration,
};

use anyhow::{Result, ensure};
use ipvs_tests::{
    six::{PREFIX, six},
    six_session::{PORT, Session, serve},
    topology::{
        CLIENT, Director, FarEnd, GUESTS, Netns, Start, Topology, VIP, attach, eventually, within,
    },
};
use nix::sys::socket::{setsockopt, sockopt::Ipv6RecvErr};

/// Dom0's address towards the guests.
const DOM0: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
const FAR: Ipv4Addr = Ipv4Addr::new(10, 0, 9, 9);
const BEFORE_FAR: Ipv4Addr = Ipv4Addr::new(10, 0, 9, 1);
const NARROW: u32 = 1400;
const MEGABYTE: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(5);

/// The network with a real server behind the first guest.
fn with_far() -> Result<(Topology, Netns)> {
    let net = Topology::new()?;
    net.over_six()?;
    let far = Netns::new("far")?;
    let [guest, _] = &net.guests;
    guest.set("ipv6/conf/all/forwarding", "1")?;
    let (before, there, vip) = (six(BEFORE_FAR), six(FAR), six(VIP));
    guest.ip(&format!(
        "link add far type veth peer name eth0 netns {}\n\
         addr add {before}/{PREFIX} dev far nodad\n\
         link set far mtu {NARROW} up\n",
        far.path()
    ))?;
    // It says that it takes long packets, and sends none: the way there is what is to be found out.
    far.ip(&format!(
        "addr add {there}/{PREFIX} dev eth0 nodad\n\
         addr add {vip}/128 dev lo nodad\n\
         link set eth0 up\n\
         route add default via {before} mtu lock {NARROW} advmss 1440\n"
    ))?;
    guest.ip(&format!("route add {vip}/128 via {there} dev far\n"))?;
    net.dom0.ip(&format!(
        "route add {there}/128 via {} dev vif1 src {}\n",
        six(GUESTS[0]),
        six(DOM0)
    ))?;
    Ok((net, far))
}

fn services(method: &str) -> [String; 2] {
    let virt = format!("[{}]:{PORT}", six(VIP));
    [
        format!("ipvsadm -A -t {virt} -s rr"),
        format!("ipvsadm -a -t {virt} -r [{}]:{PORT} {method}", six(FAR)),
    ]
}

/// A megabyte to the real server and back, and what the client has learned of the way.
fn megabyte(method: &str) -> Result<Option<u32>> {
    let (net, far) = with_far()?;
    let _program = (method == "-i")
        .then(|| attach(&far, "eth0", FarEnd::Decap))
        .transpose()?;
    serve(&far, PORT)?;
    let director = Director::start(&net.dom0, &Start::default())?;
    for command in services(method) {
        director.run(&command)?;
    }
    Session::begin(&net)?.exchange(MEGABYTE)?;
    let learned = net.learned_mtu_over_six()?;
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
        ensure!(learned == Some(NARROW), "the client learned {learned:?}");
        Ok(())
    });
}

#[test]
fn client_of_direct_routing_learns_of_a_narrow_link_behind_a_router() {
    within(60, || {
        let learned = megabyte("-g")?;
        ensure!(learned == Some(NARROW), "the client learned {learned:?}");
        Ok(())
    });
}

#[test]
fn client_of_a_tunnel_learns_of_a_narrow_link_on_its_way() {
    within(60, || {
        let learned = megabyte("-i")?;
        ensure!(
            learned == Some(NARROW - 40),
            "the client learned {learned:?}"
        );
        Ok(())
    });
}

/// A client's socket that is connected to the virtual address.
fn datagrams(net: &Topology) -> Result<UdpSocket> {
    let (from, to) = (six(CLIENT), SocketAddrV6::new(six(VIP), 53, 0, 0));
    let socket = net.client.enter(|| {
        let socket = UdpSocket::bind((from, 0))?;
        socket.connect(to)?;
        Ok::<_, std::io::Error>(socket)
    })?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn dns(real: Ipv4Addr, port: u16) -> [String; 2] {
    let virt = format!("[{}]:53", six(VIP));
    [
        format!("ipvsadm -A -u {virt} -s rr"),
        format!("ipvsadm -a -u {virt} -r [{}]:{port} -m", six(real)),
    ]
}

#[test]
fn masqueraded_client_hears_that_nobody_listens() {
    within(40, || {
        let net = Topology::new()?;
        net.over_six()?;
        let director = Director::start(&net.dom0, &Start::default())?;
        for command in dns(GUESTS[0], 5353) {
            director.run(&command)?;
        }
        let socket = datagrams(&net)?;
        // The first to a neighbour that is not known may be lost.
        let heard = eventually(PATIENCE, || {
            socket.send(b"anybody?")?;
            let error = socket.recv(&mut [0; 9]).unwrap_err();
            Ok(error.kind() == ErrorKind::ConnectionRefused)
        })?;
        ensure!(heard, "it waits for an answer");
        let reasons = director.run("ipvsd reasons")?;
        ensure!(reasons.contains("icmp_relayed"), "{reasons}");
        director.stop()?;
        Ok(())
    });
}

/// What a traceroute asks: whose hop limit ends where.
#[test]
fn masqueraded_client_hears_where_a_datagram_ends() {
    within(40, || {
        let (net, _far) = with_far()?;
        let director = Director::start(&net.dom0, &Start::default())?;
        for command in dns(FAR, 53) {
            director.run(&command)?;
        }
        let socket = datagrams(&net)?;
        setsockopt(&socket, Ipv6RecvErr, &true)?;
        // Past the guest, to where nobody listens; past the director; past the router. The farthest comes first, because what is
        // relayed has the kernel ask who the router is, and what the director tells by itself does not.
        for (hops, kind) in [
            (4, ErrorKind::ConnectionRefused),
            (3, ErrorKind::HostUnreachable),
            (2, ErrorKind::HostUnreachable),
        ] {
            setsockopt(&socket, nix::sys::socket::sockopt::Ipv6Ttl, &hops)?;
            let heard = eventually(PATIENCE, || {
                socket.send(b"how far?")?;
                let error = socket.recv(&mut [0; 9]).unwrap_err();
                Ok(error.kind() == kind)
            })?;
            ensure!(heard, "hop limit {hops}");
        }
        director.stop()?;
        Ok(())
    });
}
