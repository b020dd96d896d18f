//! Mail through our director to two real servers that the command made, 10 MB each way, with offloads as they come.

use anyhow::{Result, ensure};
use ipvs_tests::{
    scene::{BULK, MailServers},
    topology::{CLIENT, Director, Start, Topology, within},
};

use crate::machine::Machine;

fn real_servers(net: &Topology, arguments: &str) -> Result<[Machine; 2]> {
    let [first, second] = &net.guests;
    let machines = [Machine::new(first)?, Machine::new(second)?];
    for machine in &machines {
        machine.run(arguments)?;
    }
    Ok(machines)
}

/// Both real servers get mail, and give it back.
fn mail_goes(net: &Topology, letter: &str) -> Result<()> {
    let servers = MailServers::start(net, [25, 25])?;
    let director = Director::start(&net.dom0, &Start::default())?;
    director.run("ipvsadm -A -t 10.0.0.5:25 -s rr")?;
    for real in ["10.0.1.5", "10.0.1.6"] {
        director.run(&format!("ipvsadm -a -t 10.0.0.5:25 -r {real} {letter}"))?;
    }
    let took = [
        servers.mail(net, CLIENT, BULK)?,
        servers.mail(net, CLIENT, BULK)?,
    ];
    ensure!(took[0] != took[1], "rr gave both to {}", took[0]);
    net.nothing_refused()?;
    director.stop()?;
    Ok(())
}

#[test]
fn direct_routing_reaches_real_servers_that_the_command_made() {
    within(90, || {
        let net = Topology::new()?;
        let machines = real_servers(&net, "--vip 10.0.0.5 --method dr")?;
        mail_goes(&net, "-g")?;
        for machine in &machines {
            machine.run("--check")?;
            machine.run("--undo")?;
        }
        Ok(())
    });
}

#[test]
fn ip_in_ip_reaches_real_servers_that_were_strict_about_sources() {
    within(90, || {
        let net = Topology::new()?;
        for guest in &net.guests {
            for interface in ["all", "default", "eth0"] {
                guest.set(&format!("ipv4/conf/{interface}/rp_filter"), "1")?;
            }
        }
        let machines = real_servers(&net, "--vip 10.0.0.5 --method tunnel")?;
        mail_goes(&net, "-i")?;
        for machine in &machines {
            machine.run("--check")?;
            machine.run("--undo")?;
        }
        Ok(())
    });
}

/// The service is there, and on the wrong address; the clients' way out is another than the director.
#[test]
fn what_the_command_may_not_change_it_names() {
    within(30, || {
        let net = Topology::bare()?;
        let machine = Machine::new(&net.guests[0])?;
        let nobody = machine.run("--vip 10.0.0.5 --method dr --dry-run")?;
        ensure!(
            nobody.contains("no service listens on 10.0.0.5"),
            "{nobody}"
        );
        let alone = net.guests[0].listen("10.0.1.5:25".parse()?)?;
        let elsewhere = machine.run("--vip 10.0.0.5 --method dr --dry-run")?;
        ensure!(elsewhere.contains("on 10.0.1.5:25 alone"), "{elsewhere}");
        drop(alone);
        let _all = net.guests[0].listen("0.0.0.0:25".parse()?)?;
        let fine = machine.run("--vip 10.0.0.5 --method dr --dry-run")?;
        ensure!(!fine.contains("note:"), "{fine}");

        let right = machine.run("--vip 10.0.0.5 --method masq --director 10.0.1.1 --check")?;
        ensure!(
            right.contains("right  the default route goes by the director"),
            "{right}"
        );
        ensure!(right.contains("note   clients in 10.0.1.0/24"), "{right}");
        net.guests[0].ip("route replace default via 10.0.1.7")?;
        let wrong = machine.refused("--vip 10.0.0.5 --method masq --director 10.0.1.1")?;
        ensure!(wrong.contains("goes by 10.0.1.7 on eth0"), "{wrong}");
        ensure!(
            wrong.contains("`ip route replace default via 10.0.1.1`"),
            "{wrong}"
        );
        Ok(())
    });
}
