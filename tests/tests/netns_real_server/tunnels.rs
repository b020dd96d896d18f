//! Packets of every tunnel, in and over either version of IP, reach a socket on the virtual address; others do not.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ipvs_tests::topology::{Netns, within};

use crate::{
    machine::{Machine, same},
    packets::{CLIENTS, Tunnel, VIPS, datagram, send},
};

const REALS: [&str; 2] = ["10.0.1.5", "2001:db8:1::5"];
const SOON: Duration = Duration::from_secs(5);
const LATER: Duration = Duration::from_millis(300);
const PORT: u16 = 5300;

/// The director's place, and a real server with either version; it answers clients by another interface.
fn pair() -> Result<(Netns, Machine)> {
    let (director, real) = (Netns::new("director")?, Netns::new("real")?);
    let path = director.path();
    real.ip(&format!(
        "link add eth0 type veth peer name eth0 netns {path}\n\
         link add out type veth peer name beyond\n\
         addr add 10.0.1.5/24 dev eth0\n\
         addr add 2001:db8:1::5/64 dev eth0 nodad\n\
         addr add 10.0.2.5/24 dev out\n\
         addr add 2001:db8:2::5/64 dev out nodad\n\
         link set eth0 up\n\
         link set out up\n\
         link set beyond up\n\
         route add default via 10.0.2.1\n\
         route add default via 2001:db8:2::1\n"
    ))?;
    director.ip("addr add 10.0.1.1/24 dev eth0\n\
         addr add 2001:db8:1::1/64 dev eth0 nodad\n\
         link set eth0 up\n")?;
    real.output("ethtool", &["-K", "eth0", "gro", "on"])?;
    settled(&real)?;
    Ok((director, Machine::new(&real)?))
}

/// Links are known to be up a moment after they are, and link-local addresses are the interface's once nobody else was found
/// to have them.
pub(crate) fn settled(netns: &Netns) -> Result<()> {
    for _ in 0..100 {
        let links = netns.output("ip", &["-o", "link", "show", "type", "veth"])?;
        let up = links.lines().all(|line| line.contains("state UP"));
        if up && !netns.output("ip", &["addr"])?.contains("tentative") {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
    anyhow::bail!("a link does not come up, or an address stays tentative")
}

fn listen(real: &Netns, on: IpAddr) -> Result<UdpSocket> {
    let socket = real.enter(|| UdpSocket::bind(SocketAddr::new(on, PORT)));
    let socket = socket.with_context(|| format!("socket on {on}"))?;
    socket.set_read_timeout(Some(SOON))?;
    Ok(socket)
}

fn arrives(socket: &UdpSocket, payload: &[u8], from: IpAddr) -> Result<()> {
    let mut buffer = [0; 100];
    let (length, sender) = socket.recv_from(&mut buffer).context("nothing arrives")?;
    ensure!(&buffer[..length] == payload && sender.ip() == from);
    Ok(())
}

#[test]
fn ip_in_ip_reaches_a_socket_on_the_virtual_address() {
    within(120, || reaches_whoever_unpacks(Tunnel::Ipip));
}

#[test]
fn gue_reaches_a_socket_on_the_virtual_address() {
    within(120, || reaches_whoever_unpacks(Tunnel::Gue(6080)));
}

#[test]
fn gre_reaches_a_socket_on_the_virtual_address() {
    within(120, || reaches_whoever_unpacks(Tunnel::Gre));
}

/// By the kernel's devices, where it has them, and by the program, where it does not matter whether it has.
fn reaches_whoever_unpacks(tunnel: Tunnel) -> Result<()> {
    reaches(tunnel, "auto")?;
    reaches(tunnel, "xdp")
}

/// Either version of IP in either, on a machine that is strict about sources.
fn reaches(tunnel: Tunnel, unpack: &str) -> Result<()> {
    let (director, machine) = pair()?;
    let real = machine.netns().clone();
    for interface in ["all", "default", "eth0", "out"] {
        real.set(&format!("ipv4/conf/{interface}/rp_filter"), "1")?;
    }
    let before = machine.all()?;
    let arguments = format!(
        "--vip 10.0.0.5 --vip 2001:db8::5 {} --unpack {unpack}",
        tunnel.arguments()
    );
    machine.run(&arguments)?;
    let again = machine.run(&arguments)?;
    ensure!(again.starts_with("nothing to change\n"), "{again}");
    for (client, vip) in CLIENTS.into_iter().zip(VIPS) {
        let socket = listen(&real, vip)?;
        let (from, to) = (SocketAddr::new(client, 4000), SocketAddr::new(vip, PORT));
        for outer in REALS {
            let payload = format!("{tunnel:?}: {vip} over {outer}");
            let packet = datagram(from, to, payload.as_bytes())?;
            send(&director, tunnel, outer.parse()?, &packet)?;
            arrives(&socket, payload.as_bytes(), client).context(payload)?;
        }
    }
    machine.run("--check")?;
    machine.run("--undo")?;
    same(&before, &machine.all()?)
}

#[test]
fn program_leaves_alone_what_is_not_for_a_virtual_address() {
    within(60, || {
        let (director, machine) = pair()?;
        let real = machine.netns().clone();
        machine.run("--vip 10.0.0.5 --method tunnel --unpack xdp --director 10.0.1.1")?;
        let (own, client): (IpAddr, SocketAddr) =
            ("10.0.1.5".parse()?, "198.51.100.10:4000".parse()?);
        let socket = listen(&real, own)?;
        let inside = datagram(client, SocketAddr::new(own, PORT), b"?")?;
        send(&director, Tunnel::Ipip, own, &inside)?;
        let to_vip = datagram(client, SocketAddr::new(VIPS[0], PORT), b"?")?;
        send(&director, Tunnel::Gre, own, &to_vip)?;
        send(&director, Tunnel::Ipip, own, &to_vip[..to_vip.len() - 1])?;
        socket.set_read_timeout(Some(LATER))?;
        ensure!(
            socket.recv(&mut [0; 9]).is_err(),
            "it came through a tunnel"
        );
        let said = machine.run("--check")?;
        ensure!(
            said.contains("0 unpacked, 1 not ours, 0 unsupported, 1 broken"),
            "{said}"
        );
        Ok(())
    });
}

#[test]
fn program_of_somebody_else_stays_where_it_is() {
    within(60, || {
        let (_director, machine) = pair()?;
        let theirs = ipvs_tests::topology::attach(
            machine.netns(),
            "eth0",
            ipvs_tests::topology::FarEnd::Pass,
        )?;
        let arguments = "--vip 10.0.0.5 --method tunnel --unpack xdp";
        let said = machine.refused(&format!("{arguments} --interface eth0"))?;
        ensure!(
            said.contains("--unpack xdp: eth0: another XDP program is attached: ")
                && said.contains("or use --unpack kernel"),
            "{said}"
        );
        ensure!(!machine.state().exists());
        drop(theirs);
        machine.run(arguments)?;
        let link = machine.netns().output("ip", &["link", "show", "eth0"])?;
        ensure!(link.contains("ipvs_unpack"), "{link}");
        Ok(())
    });
}
