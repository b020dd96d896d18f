//! What is not the director's business goes to the kernel as if there were no director.

use std::{
    io,
    mem::MaybeUninit,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use ipvs_tests::{
    scene::{BULK, STORY},
    smtp::{MailServer, Message, Session},
    topology::{
        CLIENT, DOM0_INTERFACES, Director, GUESTS, Netns, ROUTER, Start, Topology, VIP, vip, within,
    },
};
use socket2::{Domain, Protocol, Socket, Type};

fn with_story(net: &Topology) -> Result<Director> {
    let director = Director::start(&net.dom0, &Start::default())?;
    director.run_all(&STORY)?;
    Ok(director)
}

/// Asks for an ICMP echo (RFC 792): whether it came back with its data.
fn ping(from: &Netns, to: Ipv4Addr, bytes: u8) -> Result<bool> {
    const REQUEST: u8 = 8;
    const ID: [u8; 2] = [0x17, 0x42];
    let mut packet = vec![REQUEST, 0, 0, 0, ID[0], ID[1], 0, bytes];
    packet.extend(0..bytes);
    let [high, low] = checksum(&packet).to_be_bytes();
    [packet[2], packet[3]] = [high, low];
    let socket = from.enter(|| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)))?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    socket.send_to(&packet, &SocketAddr::from((to, 0)).into())?;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        // The socket sees everybody's ICMP, behind its IP header.
        if let Ok(answer) = receive(&socket)
            && answer.get(20) == Some(&0)
            && answer.get(24..) == Some(&packet[4..])
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn receive(socket: &Socket) -> io::Result<Vec<u8>> {
    let mut buffer = [MaybeUninit::new(0); 2048];
    let n = socket.recv(&mut buffer)?;
    // SAFETY: all of it was initialised above.
    let bytes = buffer[..n].iter().map(|byte| unsafe { byte.assume_init() });
    Ok(bytes.collect())
}

fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|c| [c[0], *c.get(1).unwrap_or(&0)]);
    let sum: u32 = words.map(|w| u32::from(u16::from_be_bytes(w))).sum();
    !((sum & 0xffff) + (sum >> 16)) as u16
}

fn mail_to_a_server_of_its_own(
    server: &Netns,
    client: &Netns,
    from: Ipv4Addr,
    to: SocketAddrV4,
) -> Result<()> {
    let listener = server.listen(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, to.port()))?;
    let _server = MailServer::on(listener, server.name())?;
    let mut session = Session::over(client.connect(from, to)?)?;
    ensure!(session.server() == server.name(), "{}", session.server());
    let message = Message::of(BULK);
    ensure!(session.send(&message)?.digest == message.digest());
    ensure!(session.take_back()? == message.digest());
    session.quit()
}

#[test]
fn ping_to_the_virtual_address_is_answered() {
    within(40, || {
        let net = Topology::new()?;
        let director = with_story(&net)?;
        for bytes in [0, 1, 56, 200] {
            ensure!(ping(&net.client, VIP, bytes)?, "{bytes} bytes");
        }
        ensure!(!ping(&net.client, Ipv4Addr::new(10, 0, 0, 6), 8)?);
        director.stop()?;
        Ok(())
    });
}

#[test]
fn other_port_of_dom0_is_served_by_dom0() {
    within(40, || {
        let net = Topology::new()?;
        let director = with_story(&net)?;
        mail_to_a_server_of_its_own(&net.dom0, &net.client, CLIENT, vip(22))?;
        net.nothing_refused()?;
        director.stop()?;
        Ok(())
    });
}

#[test]
fn port_that_nobody_serves_is_refused_by_the_stack() {
    within(40, || {
        let net = Topology::new()?;
        let director = with_story(&net)?;
        let e = net.client.connect(CLIENT, vip(24)).err();
        let e = format!("{:#}", e.context("somebody answered")?);
        ensure!(e.contains("refused"), "{e}");
        director.stop()?;
        Ok(())
    });
}

#[test]
fn routed_traffic_that_is_not_to_a_service_flows_both_ways() {
    within(60, || {
        let net = Topology::new()?;
        let director = with_story(&net)?;
        let [guest1, guest2] = &net.guests;
        let guest = SocketAddrV4::new(GUESTS[0], 8025);
        mail_to_a_server_of_its_own(guest1, &net.client, CLIENT, guest)?;
        // A guest as a client of the world, and Dom0 as a client of a guest.
        let world = SocketAddrV4::new(CLIENT, 25);
        mail_to_a_server_of_its_own(&net.client, guest2, GUESTS[1], world)?;
        let dom0 = Ipv4Addr::new(10, 0, 1, 1);
        mail_to_a_server_of_its_own(guest1, &net.dom0, dom0, SocketAddrV4::new(GUESTS[0], 25))?;
        ensure!(ping(&guest1.clone(), ROUTER, 56)?);
        net.nothing_refused()?;
        director.stop()?;
        Ok(())
    });
}

#[test]
fn only_named_interfaces_get_a_program() {
    within(40, || {
        let net = Topology::new()?;
        let start = Start {
            interfaces: vec!["eth0", "vif1"],
            ..Start::default()
        };
        let director = Director::start(&net.dom0, &start)?;
        let mut with_program = Vec::new();
        for interface in DOM0_INTERFACES.into_iter().chain(["lo"]) {
            let link = net.dom0.output("ip", &["link", "show", interface])?;
            if link.contains("prog/xdp") {
                with_program.push(interface);
            }
        }
        ensure!(with_program == ["eth0", "vif1"], "{with_program:?}");
        director.stop()?;
        Ok(())
    });
}
