//! The acts, in their order. Each leaves the director without services.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use super::screen::Screen;
use crate::{
    scene::{BULK, MailServers, STORY, call},
    topology::{CLIENT, Director, OTHER_CLIENT, Start, Topology},
};

const PICTURE: &str = "\
client 198.51.100.10 ─── router ─── eth0 dom0 vif1 ─── guest1 10.0.1.5
       198.51.100.11           10.0.0.5  vif2 ─── guest2 10.0.1.6";

pub(super) fn network(screen: &mut Screen) -> Result<Topology> {
    screen.act("A Xen Dom0 with two guests, made of network namespaces");
    screen.picture(PICTURE);
    let net = Topology::new()?;
    screen.says(
        "Every link has the checksum and segmentation offloads that it comes with: what the machines send is\n\
         unfinished, as from guests on a real Dom0.",
    );
    screen.proves(
        "no kernel module does the balancing: there is no ip_vs here",
        no_ip_vs(&net),
    );
    Ok(net)
}

fn no_ip_vs(net: &Topology) -> Result<()> {
    let there = net
        .dom0
        .enter(|| Path::new("/proc/thread-self/net/ip_vs").exists());
    ensure!(!there, "this kernel has ip_vs loaded");
    Ok(())
}

pub(super) fn director(screen: &mut Screen, net: &Topology) -> Result<Director> {
    screen.act("The director starts in dom0");
    screen.says("# ipvsd run --iface eth0 --iface vif1 --iface vif2");
    let director = Director::start(&net.dom0, &Start::default())?;
    screen.picture(director.ready());
    let programs = programs(net)?;
    screen.proves(
        "its XDP program is in the drivers of the three interfaces that were named",
        equal(&programs, &3, "programs"),
    );
    Ok(director)
}

fn programs(net: &Topology) -> Result<usize> {
    Ok(net
        .dom0
        .output("ip", &["link"])?
        .matches("prog/xdp")
        .count())
}

/// Mail both ways in a session that is shown while it lasts: who took it.
fn shown_mail(
    screen: &mut Screen,
    net: &Topology,
    director: &Director,
    servers: &MailServers,
) -> Result<String> {
    let mut session = call(net, CLIENT)?;
    let guest = servers.mail_in(net, &mut session, BULK)?;
    screen.proves(
        &format!("10 MB of mail reached {guest} and 10 MB came back, the same by SHA-256"),
        Ok(()),
    );
    screen.types(director, "ipvsadm -Lnc")?;
    session.quit()?;
    screen.types(director, "ipvsadm -Ln --stats")?;
    screen.proves(
        "no network stack on the way found a wrong checksum",
        net.nothing_refused(),
    );
    Ok(guest)
}

pub(super) fn masquerading(screen: &mut Screen, net: &Topology, director: &Director) -> Result<()> {
    screen.act("Masquerading: the administrator's commands");
    for line in STORY {
        screen.types(director, line)?;
    }
    screen.types(director, "ipvsadm -Ln")?;
    let servers = MailServers::start(net, [25, 26])?;
    screen.says("A client sends mail to 10.0.0.5 port 25. The guests listen on ports 25 and 26.");
    let guest = shown_mail(screen, net, director, &servers)?;
    let again = servers.mail(net, CLIENT, 1000)?;
    screen.proves(
        &format!("the same client comes to {guest} again: the service is persistent"),
        equal(&again, &guest, "server"),
    );
    Ok(())
}

pub(super) fn maintenance(screen: &mut Screen, net: &Topology, director: &Director) -> Result<()> {
    screen.act("Maintenance: a guest is taken out of service while it is at work");
    let servers = MailServers::start(net, [25, 26])?;
    let mut session = call(net, CLIENT)?;
    let busy = session.server().to_owned();
    let (real, other) = match busy.as_str() {
        "guest1" => ("10.0.1.5:25", "guest2"),
        _ => ("10.0.1.6:26", "guest1"),
    };
    screen.says(&format!("A client is talking to {busy}."));
    screen.types(
        director,
        &format!("ipvsadm -e -t 10.0.0.5:25 -r {real} -m -w 0"),
    )?;
    let table = screen.types(director, "ipvsadm -Ln")?;
    let row = row(&table, real)?;
    screen.proves(
        &format!("{busy} has weight 0 and still its one active connection"),
        equal(&(row.weight, row.active), &(0, 1), "weight and connections"),
    );
    let mailed = servers.mail_in(net, &mut session, BULK);
    screen.proves(
        &format!("10 MB go both ways over the connection that {busy} already had"),
        mailed.and_then(|by| equal(&by, &busy, "server")),
    );
    let next = servers.mail(net, OTHER_CLIENT, 1000)?;
    screen.proves(
        &format!("a new client comes to {other}"),
        equal(&next.as_str(), &other, "server"),
    );
    session.quit()?;
    let table = screen.types(director, "ipvsadm -Ln")?;
    let active = self::row(&table, real)?.active;
    screen.proves(
        &format!("the last connection is gone: {busy} may be shut down"),
        equal(&active, &0, "active connections"),
    );
    screen.types(director, "ipvsadm -C")?;
    Ok(())
}

pub(super) fn direct_routing(
    screen: &mut Screen,
    net: &Topology,
    director: &Director,
) -> Result<()> {
    screen.act("Direct routing: guests that have the address themselves");
    net.guests_take_vip()?;
    serve(screen, director, "rr", "-g")?;
    let servers = MailServers::start(net, [25, 25])?;
    let guest = shown_mail(screen, net, director, &servers)?;
    let stats = director.run("ipvsadm -Ln --stats")?;
    screen.proves(
        "replies went their own way: the director has seen requests only",
        answers(&stats).and_then(|n| equal(&n, &0, "packets out")),
    );
    let other = servers.mail(net, CLIENT, 1000)?;
    screen.proves(
        "the next mail comes to the other guest, round robin",
        different(&other, &guest, "server"),
    );
    screen.types(director, "ipvsadm -C")?;
    Ok(())
}

pub(super) fn tunnel(screen: &mut Screen, net: &Topology, director: &Director) -> Result<()> {
    screen.act("IP in IP: guests that may be anywhere");
    let _programs = net.guests_unpack()?;
    serve(screen, director, "rr", "-i")?;
    let servers = MailServers::start(net, [25, 25])?;
    shown_mail(screen, net, director, &servers)?;
    let learned = net.learned_mtu()?;
    screen.proves(
        "the client was told to leave 20 bytes for the outer header: its packets have 1480 bytes now",
        equal(&learned, &Some(1480), "bytes"),
    );
    screen.types(director, "ipvsadm -C")?;
    Ok(())
}

fn serve(screen: &Screen, director: &Director, scheduler: &str, method: &str) -> Result<()> {
    let lines = [
        format!("ipvsadm -A -t 10.0.0.5:25 -s {scheduler}"),
        format!("ipvsadm -a -t 10.0.0.5:25 -r 10.0.1.5 {method}"),
        format!("ipvsadm -a -t 10.0.0.5:25 -r 10.0.1.6 {method}"),
        "ipvsadm -Ln".to_owned(),
    ];
    lines
        .iter()
        .try_for_each(|line| screen.types(director, line).map(drop))
}

pub(super) fn end(screen: &mut Screen, net: &Topology, director: Director) -> Result<()> {
    screen.act("The director stops");
    screen.says("Why packets went to the kernel, or nowhere, is counted all the time:");
    screen.types(&director, "ipvsd reasons")?;
    director.stop()?;
    let programs = programs(net)?;
    screen.proves(
        "no program is left on any interface",
        equal(&programs, &0, "programs"),
    );
    Ok(())
}

/// A real server's line of `ipvsadm -Ln`.
struct Row {
    weight: u32,
    active: u32,
}

fn row(table: &str, real: &str) -> Result<Row> {
    let line = table.lines().find(|line| line.contains(real));
    let line = line.with_context(|| format!("no {real} in the table"))?;
    let words: Vec<_> = line.split_whitespace().collect();
    // -> address method weight active inactive
    let [_, _, _, weight, active, _] = words[..] else {
        bail!("not a line of a real server: {line}");
    };
    Ok(Row {
        weight: weight.parse()?,
        active: active.parse()?,
    })
}

/// The packets out of the only service in `ipvsadm -Ln --stats`.
fn answers(stats: &str) -> Result<u64> {
    let line = stats.lines().find(|line| line.starts_with("TCP"));
    let line = line.context("no service in the table")?;
    let words: Vec<_> = line.split_whitespace().collect();
    // TCP address connections packets-in packets-out …
    let [_, _, _, _, out, ..] = words[..] else {
        bail!("not a line of a service: {line}");
    };
    Ok(out.parse()?)
}

fn equal<T: PartialEq + std::fmt::Debug>(is: &T, should: &T, what: &str) -> Result<()> {
    ensure!(is == should, "{what}: {is:?}, not {should:?}");
    Ok(())
}

fn different<T: PartialEq + std::fmt::Debug>(is: &T, other: &T, what: &str) -> Result<()> {
    ensure!(is != other, "{what}: {is:?} again");
    Ok(())
}
