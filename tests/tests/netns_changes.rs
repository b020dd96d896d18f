//! Changes under load: real servers quiesced, deleted and added again, neighbours forgotten, while data goes to and fro.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use ipvs_tests::{
    echo::{self, Steady},
    scene::{BULK, MailServers},
    topology::{CLIENT, Director, Start, Topology, flushing_pause, vip, within},
};

/// Longer than a second of silence and the retransmission timer that has grown meanwhile.
const SOON: Duration = Duration::from_secs(10);

/// Echo servers on both guests behind one masqueraded service, without persistence.
fn echo_service(net: &Topology) -> Result<Director> {
    for (guest, port) in net.guests.iter().zip([7, 8]) {
        let on = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
        echo::tcp_server(guest.listen(on)?, guest.name());
    }
    let director = Director::start(&net.dom0, &Start::default())?;
    director.run_all(&[
        "ipvsadm -A -t 10.0.0.5:7 -s rr",
        "ipvsadm -a -t 10.0.0.5:7 -r 10.0.1.5 -m",
        "ipvsadm -a -t 10.0.0.5:7 -r 10.0.1.6:8 -m",
    ])?;
    Ok(director)
}

fn steady(net: &Topology) -> Result<Steady> {
    Steady::over(net.client.connect(CLIENT, vip(7))?)
}

/// One connection to each guest, in their order.
fn one_each(net: &Topology) -> Result<[Steady; 2]> {
    let (a, b) = (steady(net)?, steady(net)?);
    ensure!(a.server() != b.server(), "rr gave both to {}", a.server());
    Ok(if a.server() == "guest1" {
        [a, b]
    } else {
        [b, a]
    })
}

/// Where the next connections go.
fn servers_of_new(net: &Topology, count: usize) -> Result<Vec<String>> {
    let connections: Result<Vec<_>> = (0..count).map(|_| steady(net)).collect();
    let connections = connections?;
    let names = connections.iter().map(|c| c.server().to_owned()).collect();
    connections.into_iter().try_for_each(Steady::finish)?;
    Ok(names)
}

#[test]
fn quiesced_server_keeps_its_connections_and_gets_no_others() {
    within(60, || {
        let net = Topology::new()?;
        let director = echo_service(&net)?;
        let [first, second] = one_each(&net)?;
        first.goes_on(SOON)?;
        director.run("ipvsadm -e -t 10.0.0.5:7 -r 10.0.1.5 -m -w 0")?;
        ensure!(servers_of_new(&net, 4)? == ["guest2"; 4]);
        first.goes_on(SOON)?;
        second.goes_on(SOON)?;
        let table = director.run("ipvsadm -Ln")?;
        let line = "  -> 10.0.1.5:7                   Masq    0      1          0";
        ensure!(table.contains(line), "{table}");

        director.run("ipvsadm -e -t 10.0.0.5:7 -r 10.0.1.5 -m -w 1")?;
        let names = servers_of_new(&net, 2)?;
        ensure!(names.contains(&"guest1".to_owned()), "{names:?}");
        first.finish()?;
        second.finish()?;
        net.nothing_refused()?;
        director.stop()?;
        Ok(())
    });
}

#[test]
fn connections_of_a_deleted_server_stand_still_and_revive_when_it_is_added_again() {
    within(60, || {
        let net = Topology::new()?;
        let director = echo_service(&net)?;
        let [first, second] = one_each(&net)?;
        second.goes_on(SOON)?;
        director.run("ipvsadm -d -t 10.0.0.5:7 -r 10.0.1.6:8")?;
        second.stands_still(Duration::from_secs(1))?;
        first.goes_on(SOON)?;
        ensure!(servers_of_new(&net, 3)? == ["guest1"; 3]);
        let table = director.run("ipvsadm -Ln")?;
        ensure!(!table.contains("10.0.1.6"), "{table}");

        director.run("ipvsadm -a -t 10.0.0.5:7 -r 10.0.1.6:8 -m")?;
        second.goes_on(SOON)?;
        first.finish()?;
        second.finish()?;
        net.nothing_refused()?;
        director.stop()?;
        Ok(())
    });
}

#[test]
fn quiesced_one_goes_on_while_the_other_is_deleted() {
    within(60, || {
        let net = Topology::new()?;
        let director = echo_service(&net)?;
        let [first, second] = one_each(&net)?;
        director.run_all(&[
            "ipvsadm -e -t 10.0.0.5:7 -r 10.0.1.5 -m -w 0",
            "ipvsadm -d -t 10.0.0.5:7 -r 10.0.1.6:8",
        ])?;
        second.stands_still(Duration::from_secs(1))?;
        first.goes_on(SOON)?;
        // Nobody is left for a new one: it is refused, and does not hang.
        let limit = Duration::from_secs(2);
        let refused = net.client.connect_within(limit, CLIENT, vip(7));
        let refused = refused.err().map(|e| format!("{e:#}"));
        ensure!(
            refused.as_ref().is_some_and(|e| e.contains("refused")),
            "a new connection: {refused:?}"
        );
        director.run("ipvsadm -a -t 10.0.0.5:7 -r 10.0.1.6:8 -m")?;
        second.goes_on(SOON)?;
        first.finish()?;
        second.finish()?;
        director.stop()?;
        Ok(())
    });
}

/// Mail goes through while dom0 is made to forget its neighbours again and again.
fn mail_despite_forgotten_neighbours(net: &Topology, servers: &MailServers) -> Result<u32> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let mail = scope.spawn(|| {
            let result = (0..3).try_for_each(|_| servers.mail(net, CLIENT, BULK).map(drop));
            done.store(true, Ordering::SeqCst);
            result
        });
        let mut flushes = 0;
        while !done.load(Ordering::SeqCst) {
            net.dom0.ip("neigh flush all")?;
            flushes += 1;
            thread::sleep(flushing_pause());
        }
        mail.join().expect("the client does not panic")?;
        Ok(flushes)
    })
}

#[test]
fn masqueraded_mail_outlives_forgotten_neighbours() {
    within(60, || {
        let net = Topology::new()?;
        let servers = MailServers::start(&net, [25, 26])?;
        let director = Director::start(&net.dom0, &Start::default())?;
        director.run_all(&[
            "ipvsadm -A -t 10.0.0.5:25 -s rr",
            "ipvsadm -a -t 10.0.0.5:25 -r 10.0.1.5 -m",
            "ipvsadm -a -t 10.0.0.5:25 -r 10.0.1.6:26 -m",
        ])?;
        let flushes = mail_despite_forgotten_neighbours(&net, &servers)?;
        ensure!(flushes > 10, "flushed only {flushes} times");
        net.nothing_refused()?;
        director.stop()?;
        Ok(())
    });
}

#[test]
fn directly_routed_mail_outlives_forgotten_neighbours() {
    within(60, || {
        let net = Topology::new()?;
        net.guests_take_vip()?;
        let servers = MailServers::start(&net, [25, 25])?;
        let director = Director::start(&net.dom0, &Start::default())?;
        director.run_all(&[
            "ipvsadm -A -t 10.0.0.5:25 -s wlc",
            "ipvsadm -a -t 10.0.0.5:25 -r 10.0.1.5 -g",
            "ipvsadm -a -t 10.0.0.5:25 -r 10.0.1.6 -g",
        ])?;
        let flushes = mail_despite_forgotten_neighbours(&net, &servers)?;
        ensure!(flushes > 10, "flushed only {flushes} times");
        net.nothing_refused()?;
        director.stop()?;
        Ok(())
    });
}
