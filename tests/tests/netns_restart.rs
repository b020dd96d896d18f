//! Daemons that die, end and start again while data goes to and fro: packets flow on, and nothing is forgotten.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use anyhow::{Result, ensure};
use ipvs_tests::{
    echo::{self, Steady},
    topology::{CLIENT, Director, Start, Topology, vip, within},
};

/// Longer than a second of silence and the retransmission timer that has grown meanwhile.
const SOON: Duration = Duration::from_secs(10);

fn stays() -> Start {
    Start {
        stays: true,
        ..Start::default()
    }
}

/// Echo servers on both guests behind one masqueraded service.
fn echo_service(net: &Topology) -> Result<Director> {
    for (guest, port) in net.guests.iter().zip([7, 8]) {
        let on = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
        echo::tcp_server(guest.listen(on)?, guest.name());
    }
    let director = Director::start(&net.dom0, &stays())?;
    director.run_all(&[
        "ipvsadm -A -t 10.0.0.5:7 -s rr",
        "ipvsadm -a -t 10.0.0.5:7 -r 10.0.1.5 -m",
        "ipvsadm -a -t 10.0.0.5:7 -r 10.0.1.6:8 -m",
    ])?;
    Ok(director)
}

#[test]
fn killed_daemon_leaves_packets_flowing_and_the_next_one_goes_on() {
    within(120, || {
        let net = Topology::new()?;
        let director = echo_service(&net)?;
        let steady = Steady::over(net.client.connect(CLIENT, vip(7))?)?;
        steady.goes_on(SOON)?;
        let table = director.run("ipvsadm -Ln")?;
        let left = director.kill()?;
        steady.goes_on(SOON)?;
        let director = left.start(&stays())?;
        ensure!(
            director.log().contains("goes on where"),
            "{}",
            director.log()
        );
        steady.goes_on(SOON)?;
        let after = director.run("ipvsadm -Ln")?;
        ensure!(after == table, "{table}\n{after}");
        let left = director.leave()?;
        steady.goes_on(SOON)?;
        steady.finish()?;
        left.run("ipvsd detach")?;
        net.nothing_refused()?;
        Ok(())
    });
}
