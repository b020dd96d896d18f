//! What a director leaves behind, who says so, and who takes it away.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ipvs_tests::topology::{
    DOM0_INTERFACES, Director, FarEnd, Left, Netns, Start, Topology, attach, eventually, within,
};

use super::{
    goes_on,
    load::{Load, SERVICES, serve},
    stays,
};

const SOON: Duration = Duration::from_secs(5);

const SETTINGS: [&str; 4] = ["forwarding", "send_redirects", "accept_local", "rp_filter"];

fn settings(dom0: &Netns) -> Result<Vec<String>> {
    let interfaces = DOM0_INTERFACES.into_iter();
    let keys =
        interfaces.flat_map(|interface| SETTINGS.map(|key| format!("ipv4/conf/{interface}/{key}")));
    keys.map(|key| Ok(format!("{key} = {}", dom0.get(&key)?)))
        .collect()
}

fn programs(dom0: &Netns) -> Result<usize> {
    Ok(dom0.output("ip", &["link"])?.matches("prog/xdp").count())
}

fn holds_neighbours(dom0: &Netns) -> bool {
    let neighbours = dom0.output("ip", &["neigh"]);
    neighbours.is_ok_and(|n| n.contains("managed"))
}

/// Where the pins of a daemon with this socket are.
pub(super) fn pins(socket: &str) -> Result<PathBuf> {
    let socket: String = socket.trim_start_matches('/').replace('/', "-");
    let instances = fs::read_dir("/sys/fs/bpf/ipvs")?;
    let mut paths = instances.flatten().map(|entry| entry.path());
    let found = paths.find(|p| p.to_string_lossy().contains(&socket));
    found.with_context(|| format!("nothing is pinned for {socket}"))
}

/// Nothing is left of it.
fn nothing_left(net: &Topology, socket: &str, before: &[String]) -> Result<()> {
    ensure!(pins(socket).is_err(), "{:?} is left", pins(socket));
    // The kernel lets go of links in its own time.
    let gone = eventually(SOON, || Ok(programs(&net.dom0).is_ok_and(|n| n == 0)))?;
    ensure!(gone, "{} programs are left", programs(&net.dom0)?);
    let after = settings(&net.dom0)?;
    ensure!(after == before, "{after:#?}");
    ensure!(!holds_neighbours(&net.dom0), "neighbours are held");
    Ok(())
}

fn socket_of(director: &Director) -> String {
    director.socket().display().to_string()
}

#[test]
fn detach_leaves_nothing_with_a_daemon_and_without() {
    within(120, || {
        let net = Topology::new()?;
        for interface in DOM0_INTERFACES {
            net.dom0
                .set(&format!("ipv4/conf/{interface}/rp_filter"), "1")?;
        }
        net.dom0.set("ipv4/ip_forward", "0")?;
        let before = settings(&net.dom0)?;

        let director = Director::start(&net.dom0, &stays())?;
        let socket = socket_of(&director);
        director.run_all(&SERVICES)?;
        ensure!(
            eventually(SOON, || Ok(holds_neighbours(&net.dom0)))?,
            "none is held"
        );
        let left = director.kill()?;
        ensure!(programs(&net.dom0)? == 3);
        ensure!(settings(&net.dom0)? != before);
        // Also of one that took over.
        let left = goes_on(left, &stays())?.leave()?;
        let said = left.run("ipvsd detach")?;
        ensure!(said.contains("everything is taken away"), "{said}");
        nothing_left(&net, &socket, &before)?;
        let said = left.run("ipvsd detach")?;
        ensure!(said.contains("nothing is there"), "{said}");

        let director = left.start(&stays())?;
        ensure!(director.log().contains("begins with empty tables"));
        director.run_all(&SERVICES)?;
        ensure!(
            eventually(SOON, || Ok(holds_neighbours(&net.dom0)))?,
            "none is held"
        );
        let said = director.run("ipvsd detach")?;
        ensure!(said.contains("everything is taken away"), "{said}");
        nothing_left(&net, &socket, &before)?;
        director.ended()?;
        Ok(())
    });
}

#[test]
fn detach_that_is_killed_on_its_way_is_finished_by_the_next_one_or_by_a_start() {
    within(120, || {
        let net = Topology::new()?;
        net.dom0.set("ipv4/conf/vif1/rp_filter", "1")?;
        let before = settings(&net.dom0)?;
        let mut left: Option<Left> = None;
        for (gone, starts) in [
            ("links/vif2", false),
            ("links/vif2", true),
            ("current", false),
        ] {
            let director = match left.take() {
                None => Director::start(&net.dom0, &stays())?,
                Some(left) => left.start(&stays())?,
            };
            director.run_all(&SERVICES)?;
            let socket = socket_of(&director);
            let pins = pins(&socket)?;
            let mut killed = director.kill()?;
            killed.run_and_kill_when("ipvsd detach", || !pins.join(gone).exists())?;
            if starts {
                let director = killed.start(&stays())?;
                ensure!(programs(&net.dom0)? == 3, "{}", director.log());
                killed = director.leave()?;
            }
            killed.output("ipvsd detach")?;
            nothing_left(&net, &socket, &before).with_context(|| format!("{gone} {starts}"))?;
            left = Some(killed);
        }
        Ok(())
    });
}

#[test]
fn leftovers_are_listed_and_said() {
    within(120, || {
        let net = Topology::new()?;
        serve(&net)?;
        let director = Director::start(&net.dom0, &stays())?;
        director.run_all(&SERVICES)?;
        let load = Load::of(&net, 3)?;
        load.goes_on()?;
        let name = pins(&socket_of(&director))?;
        let name = name.file_name().context("no name")?.to_string_lossy();
        let line = |left: &str| -> Result<String> {
            let line = left.lines().find(|l| l.starts_with(&*name));
            Ok(line.with_context(|| left.to_owned())?.to_owned())
        };
        let running = line(&director.run("ipvsd instances")?)?;
        ensure!(running.contains("a daemon runs it"), "{running}");
        let left = director.kill()?;
        let listed = line(&left.run("ipvsd instances")?)?;
        for part in [
            "no daemon runs, packets are forwarded",
            "eth0, vif1, vif2",
            "socket",
        ] {
            ensure!(listed.contains(part), "{part}: {listed}");
        }
        let director = left.start(&stays())?;
        let log = director.log();
        // Six connections, the flow of datagrams, and a template of the persistent service of either family.
        let told = "5 services, 10 real servers, 9 connections and templates";
        ensure!(log.contains(told), "{log}");
        load.finish()?;
        director.leave()?.run("ipvsd detach")?;
        Ok(())
    });
}

#[test]
fn start_that_fails_leaves_what_was_there_as_it_was() {
    within(120, || {
        let net = Topology::new()?;
        serve(&net)?;
        let nowhere = Start {
            interfaces: vec!["eth0", "nosuch"],
            ..stays()
        };
        let before = settings(&net.dom0)?;
        Director::refusal(&net.dom0, &nowhere)?;
        ensure!(programs(&net.dom0)? == 0 && settings(&net.dom0)? == before);

        let director = Director::start(&net.dom0, &stays())?;
        director.run_all(&SERVICES)?;
        let load = Load::of(&net, 3)?;
        let left = director.kill()?;
        left.refusal(&nowhere)?;
        ensure!(programs(&net.dom0)? == 3);
        load.goes_on()?;
        let director = goes_on(left, &stays())?;
        load.finish()?;
        director.stop()?;
        Ok(())
    });
}

#[test]
fn interfaces_that_are_no_longer_named_are_let_go() {
    within(120, || {
        let net = Topology::new()?;
        let director = Director::start(&net.dom0, &stays())?;
        let before = settings(&net.dom0)?;
        let fewer = Start {
            interfaces: vec!["eth0", "vif2"],
            ..stays()
        };
        let director = goes_on(director.kill()?, &fewer)?;
        let gone = eventually(SOON, || Ok(programs(&net.dom0).is_ok_and(|n| n == 2)))?;
        ensure!(gone, "{} programs", programs(&net.dom0)?);
        ensure!(net.dom0.get("ipv4/conf/vif1/accept_local")? == "0");
        let director = goes_on(director.kill()?, &stays())?;
        ensure!(programs(&net.dom0)? == 3 && settings(&net.dom0)? == before);
        director.leave()?.run("ipvsd detach")?;
        Ok(())
    });
}

#[test]
fn interface_that_was_made_anew_is_attached_anew() {
    within(120, || {
        let net = Topology::new()?;
        serve(&net)?;
        let director = Director::start(&net.dom0, &stays())?;
        director.run_all(&SERVICES)?;
        let anew = |net: &Topology| -> Result<()> {
            let path = net.guests[0].path();
            net.dom0.ip("link del vif1")?;
            net.dom0.ip(&format!(
                "link add vif1 type veth peer name eth0 netns {path}\n\
                 addr add 10.0.1.1/32 dev vif1\n\
                 link set vif1 up\n\
                 route add 10.0.1.5/32 dev vif1 src 10.0.1.1\n"
            ))?;
            net.guests[0].ip("addr add 10.0.1.5/24 dev eth0\n\
                 link set eth0 up\n\
                 route add default via 10.0.1.1\n")?;
            net.guests[0].output("ethtool", &["-K", "eth0", "gro", "on"])?;
            Ok(())
        };
        let attached = || eventually(SOON, || Ok(programs(&net.dom0).is_ok_and(|n| n == 3)));
        anew(&net)?;
        ensure!(attached()?, "{} programs", programs(&net.dom0)?);
        // And while nobody looks: its pins are of an interface that is gone.
        let left = director.kill()?;
        anew(&net)?;
        let director = goes_on(left, &stays())?;
        ensure!(attached()?, "{} programs", programs(&net.dom0)?);
        ensure!(net.dom0.get("ipv4/conf/vif1/accept_local")? == "1");
        let load = Load::of(&net, 3)?;
        load.goes_on()?;
        load.finish()?;
        director.stop()?;
        Ok(())
    });
}

#[test]
fn program_of_another_is_named_with_the_way_to_remove_it() {
    within(60, || {
        let net = Topology::new()?;
        let on = attach(&net.dom0, "vif1", FarEnd::Pass)?;
        let said = Director::refusal(&net.dom0, &stays())?;
        let last = said.lines().last().unwrap_or_default();
        for part in ["vif1", "peer_pass", "id ", "bpftool link detach id"] {
            ensure!(last.contains(part), "{part}: {said}");
        }
        ensure!(programs(&net.dom0)? == 1);
        drop(on);
        // Another director's is said to be one.
        let first = Director::start(&net.dom0, &stays())?;
        let said = Director::refusal(&net.dom0, &stays())?;
        let last = said.lines().last().unwrap_or_default();
        ensure!(last.contains("`ipvsd detach --instance"), "{said}");
        first.leave()?.run("ipvsd detach")?;
        Ok(())
    });
}

#[test]
fn instances_of_two_namespaces_do_not_collide() {
    within(120, || {
        let nets = [Topology::new()?, Topology::new()?];
        let mut loads = Vec::new();
        let mut lefts: Vec<Left> = Vec::new();
        for net in &nets {
            serve(net)?;
            let director = Director::start(&net.dom0, &stays())?;
            director.run_all(&SERVICES)?;
            loads.push(Load::of(net, 3)?);
            lefts.push(director.kill()?);
        }
        let second = lefts.pop().context("two")?;
        let first = lefts.pop().context("two")?;
        first.run("ipvsd detach")?;
        ensure!(eventually(SOON, || Ok(
            programs(&nets[0].dom0).is_ok_and(|n| n == 0)
        ))?);
        ensure!(programs(&nets[1].dom0)? == 3);
        let load = loads.pop().context("two")?;
        load.goes_on()?;
        let director = goes_on(second, &stays())?;
        load.finish()?;

        // By the same name on purpose: the one that works is not touched.
        let named = |name: &str| Start {
            instance: Some(name.to_owned()),
            ..stays()
        };
        director.stop()?;
        let name = format!("ipvs-netns-{}-x", std::process::id());
        let one = Director::start(&nets[0].dom0, &named(&name))?;
        let said = Director::refusal(&nets[0].dom0, &named(&name))?;
        ensure!(said.contains("another ipvsd runs instance"), "{said}");
        let left = one.leave()?;
        let said = Director::refusal(&nets[1].dom0, &named(&name))?;
        ensure!(said.contains("another network namespace"), "{said}");
        ensure!(programs(&nets[0].dom0)? == 3 && programs(&nets[1].dom0)? == 0);
        left.run(&format!("ipvsd detach --instance {name}"))?;
        Ok(())
    });
}
