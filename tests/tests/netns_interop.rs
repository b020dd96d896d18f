//! Beside other parts of the kernel: its tunnel device, conntrack and nftables; and the arrangement of the kernel's own test of
//! ip_vs with this director in the place of that one.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ipvs_tests::{
    scene::MailServers,
    smtp::{MailServer, Message, Session},
    topology::{
        CLIENT, Director, FarEnd, GUESTS, Netns, OnFarEnd, Part, Start, THREE_CLIENT, THREE_REAL,
        THREE_VIP, Three, Topology, VIP, attach, within,
    },
};

/// Each way.
const TRANSFER: usize = 2 << 20;
const PORT: u16 = 8000;
const ANSWER: Duration = Duration::from_secs(10);

/// A transfer through the three machines: the director's commands are those for `method`.
fn transfer(net: &Three, method: &str) -> Result<()> {
    let on = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT);
    let server = MailServer::on(net.real.listen(on)?, net.real.name())?;
    let director = Director::start(&net.director, &Three::start())?;
    director.run_all(&[
        &format!("ipvsadm -A -t {} -s rr", Three::vip(PORT)),
        &format!(
            "ipvsadm -a -t {} -r {THREE_REAL}:{PORT} {method}",
            Three::vip(PORT)
        ),
    ])?;
    let sent = send(net);
    let table = director.run("ipvsadm -Ln --stats")?;
    let reasons = director.run("ipvsd reasons")?;
    director.stop()?;
    sent.with_context(|| format!("{table}{reasons}"))?;
    let received = server.received();
    ensure!(
        received.len() == 1,
        "the real server has {} messages",
        received.len()
    );
    ensure!(
        *received[0].from.ip() == THREE_CLIENT,
        "from {}",
        received[0].from
    );
    // One packet at least for each 64 kB that went in: it was the director that forwarded it.
    let packets = table
        .lines()
        .find(|line| line.contains(&THREE_REAL.to_string()));
    let packets = packets.and_then(|line| line.split_whitespace().nth(3));
    ensure!(packets.is_some_and(|p| p.len() > 1), "{table}");
    Ok(())
}

/// A message there and back.
fn send(net: &Three) -> Result<()> {
    let stream = net.client.connect(THREE_CLIENT, Three::vip(PORT))?;
    let mut session = Session::over(stream)?;
    let message = Message::of(TRANSFER);
    let accepted = session.send(&message)?;
    ensure!(accepted.digest == message.digest(), "it arrived different");
    ensure!(
        session.take_back()? == message.digest(),
        "it came back different"
    );
    session.quit()
}

/// The real server unpacks: by the kernel's device where there is one, else by a program.
fn unpack(real: &Netns) -> Result<Option<OnFarEnd>> {
    if !Part::Ipip.is_there()? {
        return attach(real, "back", FarEnd::Decap).map(Some);
    }
    tunnel_device(real, "0")?;
    Ok(None)
}

fn tunnel_device(real: &Netns, rp_filter: &str) -> Result<()> {
    real.ip("link set tunl0 up")?;
    real.set("ipv4/conf/all/rp_filter", "0")?;
    real.set("ipv4/conf/tunl0/rp_filter", rp_filter)
}

#[test]
fn three_machines_carry_megabytes_by_direct_routing() {
    within(120, || transfer(&Three::new()?, "-g"));
}

#[test]
fn three_machines_carry_megabytes_by_masquerading() {
    within(120, || transfer(&Three::new()?, "-m"));
}

#[test]
fn three_machines_carry_megabytes_through_a_tunnel() {
    within(120, || {
        let net = Three::new()?;
        let _program = unpack(&net.real)?;
        transfer(&net, "-i")
    });
}

#[test]
fn kernels_tunnel_device_unpacks_with_a_loose_filter_and_not_with_a_strict_one() {
    within(120, || {
        if !Part::Ipip.is_there()? {
            return Ok(());
        }
        let net = Three::new()?;
        let with_address = format!("addr add {THREE_VIP}/32 dev tunl0\n");
        tunnel_device(&net.real, "2")?;
        net.real.ip(&with_address)?;
        transfer(&net, "-i")?;
        let net = Three::new()?;
        tunnel_device(&net.real, "1")?;
        net.real.ip(&with_address)?;
        let before = refused_by_filter(&net.real)?;
        ensure!(transfer(&net, "-i").is_err(), "a strict filter let them in");
        let refused = refused_by_filter(&net.real)? - before;
        ensure!(refused > 0, "it was not the filter that kept them out");
        Ok(())
    });
}

/// Packets that came in by another interface than their source's.
fn refused_by_filter(real: &Netns) -> Result<u64> {
    let text = real.output("cat", &["/proc/net/netstat"])?;
    let lines: Vec<_> = text.lines().filter(|l| l.starts_with("TcpExt:")).collect();
    let [names, numbers] = lines[..] else {
        anyhow::bail!("{text}");
    };
    let mut both = names.split_whitespace().zip(numbers.split_whitespace());
    let found = both.find(|(name, _)| *name == "IPReversePathFilter");
    Ok(found.context("it is not counted")?.1.parse()?)
}

/// A firewall as guides have it: it knows who may begin what, drops what conntrack does not know, and gives guests the
/// director's address when they call out. Nothing in it is about the service.
const FIREWALL: &str = "
table ip filter {
    chain raw {
        type filter hook prerouting priority raw;
        tcp dport 25 counter comment \"to the service\"
        tcp sport 25 counter comment \"from the service\"
    }
    chain input {
        type filter hook input priority filter; policy drop;
        iif lo accept
        ct state established,related accept
        ip protocol icmp accept
    }
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state invalid drop
        ct state established,related accept
        ip saddr 10.0.1.0/24 accept
    }
}
table ip nat {
    chain postrouting {
        type nat hook postrouting priority srcnat;
        ip saddr 10.0.1.0/24 oifname \"eth0\" masquerade
    }
}
";

#[test]
fn masquerading_goes_on_beside_a_firewall_that_drops_what_conntrack_does_not_know() {
    within(120, || {
        if !Part::Nftables.is_there()? {
            return Ok(());
        }
        let net = Topology::new()?;
        firewall(&net.dom0, FIREWALL)?;
        let servers = MailServers::start(&net, [25, 26])?;
        let director = masquerading(&net)?;
        servers.mail(&net, CLIENT, TRANSFER)?;
        guest_calls_out(&net)?;
        servers.mail(&net, CLIENT, TRANSFER)?;
        let rules = net.dom0.output("nft", &["list", "ruleset"])?;
        let unseen = rules.matches("counter packets 0 bytes 0").count();
        ensure!(
            unseen == 2,
            "the service's packets met the firewall:\n{rules}"
        );
        director.stop()?;
        Ok(())
    });
}

/// What goes through the kernel's routing is half of a connection to conntrack, so it is told not to look.
#[test]
fn packets_on_the_kernels_ways_pass_a_firewall_that_does_not_track_them() {
    within(120, || {
        if !Part::Nftables.is_there()? {
            return Ok(());
        }
        let net = Topology::bare()?;
        let untracked = FIREWALL
            .replace(
                "tcp dport 25 counter",
                "tcp dport { 25, 26 } counter notrack",
            )
            .replace("tcp sport 25 counter", "tcp sport 25 counter notrack")
            .replace("ct state established", "ct state untracked,established");
        firewall(&net.dom0, &untracked)?;
        let servers = MailServers::start(&net, [25, 26])?;
        let director = masquerading_in(&net, "generic")?;
        servers.mail(&net, CLIENT, TRANSFER)?;
        guest_calls_out(&net)?;
        let reasons = director.run("ipvsd reasons")?;
        ensure!(reasons.contains("kernel_routes"), "{reasons}");
        // It did see them.
        let rules = net.dom0.output("nft", &["list", "ruleset"])?;
        ensure!(!rules.contains("sport 25 counter packets 0 "), "{rules}");
        director.stop()?;
        Ok(())
    });
}

fn firewall(netns: &Netns, rules: &str) -> Result<()> {
    netns.output("nft", &[rules]).map(drop)
}

fn masquerading(net: &Topology) -> Result<Director> {
    masquerading_in(net, "native")
}

fn masquerading_in(net: &Topology, mode: &'static str) -> Result<Director> {
    let start = Start {
        mode: Some(mode),
        ..Start::default()
    };
    let director = Director::start(&net.dom0, &start)?;
    director.run_all(&[
        "ipvsadm -A -t 10.0.0.5:25 -s rr",
        "ipvsadm -a -t 10.0.0.5:25 -r 10.0.1.5 -m",
        "ipvsadm -a -t 10.0.0.5:25 -r 10.0.1.6:26 -m",
    ])?;
    Ok(director)
}

/// A connection of a guest's own: the kernel's masquerading has it, and its answers come to the address of the service.
fn guest_calls_out(net: &Topology) -> Result<()> {
    let to = SocketAddrV4::new(CLIENT, 7);
    let listener = net.client.listen(to)?;
    let [guest, _] = &net.guests;
    let mut inside = guest.connect(GUESTS[0], to)?;
    let (mut outside, from) = listener.accept()?;
    ensure!(from.ip() == VIP, "the guest came out as {from}");
    inside.write_all(b"question")?;
    let mut got = [0; 8];
    outside.read_exact(&mut got)?;
    outside.write_all(&got)?;
    inside.set_read_timeout(Some(ANSWER))?;
    inside.read_exact(&mut got).context("no answer came in")?;
    ensure!(&got == b"question");
    Ok(())
}
