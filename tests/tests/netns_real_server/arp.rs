//! Who answers ARP for the virtual address. The asker is a neighbour with an address of the same network.

use std::{net::UdpSocket, thread, time::Duration};

use anyhow::{Result, ensure};
use ipvs_tests::topology::{Netns, within};

use crate::machine::Machine;

const TURNS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

fn neighbours() -> Result<(Netns, Netns)> {
    let (asker, real) = (Netns::new("asker")?, Netns::new("real")?);
    let path = real.path();
    asker.ip(&format!(
        "link add eth0 type veth peer name eth0 netns {path}\n\
         addr add 10.0.0.9/24 dev eth0\n\
         addr add 2001:db8::9/64 dev eth0 nodad\n\
         link set eth0 up\n"
    ))?;
    real.ip("addr add 10.0.0.8/24 dev eth0\n\
         addr add 2001:db8::8/64 dev eth0 nodad\n\
         link set eth0 up\n\
         route add default via 10.0.0.1\n")?;
    Ok((asker, real))
}

/// Asks until somebody answers, or the kernel gives up.
fn answers(asker: &Netns, address: &str) -> Result<bool> {
    let from = if address.contains(':') {
        "[::]:0"
    } else {
        "0.0.0.0:0"
    };
    let to = if from == "[::]:0" {
        format!("[{address}]:9")
    } else {
        format!("{address}:9")
    };
    asker.enter(|| UdpSocket::bind(from)?.send_to(b"?", &to))?;
    for _ in 0..TURNS {
        let entry = asker.output("ip", &["neigh", "show", "to", address, "nud", "all"])?;
        if entry.contains("lladdr") {
            return Ok(true);
        }
        if entry.contains("FAILED") {
            return Ok(false);
        }
        thread::sleep(PAUSE);
    }
    anyhow::bail!("neither an answer nor none for {address}")
}

/// Whether the asker learns an address of the real server from a question of that one, in which it names whom to answer.
fn asks_as(asker: &Netns, real: &Netns, address: &str) -> Result<bool> {
    for machine in [asker, real] {
        machine.ip("neigh flush dev eth0\n")?;
    }
    let socket = real.udp(format!("{address}:40000").parse()?)?;
    socket.send_to(b"!", "10.0.0.9:9")?;
    for _ in 0..TURNS {
        thread::sleep(PAUSE);
        // The answer has come, so the question was heard.
        let far = real.output("ip", &["neigh", "show", "to", "10.0.0.9"])?;
        if far.contains("lladdr") {
            let known = asker.output("ip", &["neigh", "show", "to", address])?;
            return Ok(known.contains("lladdr"));
        }
    }
    anyhow::bail!("no neighbour heard a question")
}

#[test]
fn nobody_is_told_of_the_virtual_address() {
    within(60, || {
        let (asker, real) = neighbours()?;
        // By hand, and as long as nobody has set it right, this machine answers.
        real.ip("addr add 10.0.0.7/32 dev lo")?;
        ensure!(answers(&asker, "10.0.0.7")?, "the question is a wrong one");
        ensure!(
            asks_as(&asker, &real, "10.0.0.7")?,
            "the question is a wrong one"
        );

        let machine = Machine::new(&real)?;
        machine.run("--vip 10.0.0.5 --vip 2001:db8::5 --method dr")?;
        ensure!(!answers(&asker, "10.0.0.5")?, "the real server answers");
        ensure!(!answers(&asker, "2001:db8::5")?, "the real server answers");
        ensure!(answers(&asker, "10.0.0.8")?, "its own address is gone");

        // Nor does it give the address away when it asks for others: it names its own one.
        ensure!(!asks_as(&asker, &real, "10.0.0.5")?, "it gave itself away");
        Ok(())
    });
}

/// The kernel takes the larger value of `all` and the interface, and 3 answers for addresses of any scope but that of the host.
#[test]
fn interface_that_would_answer_by_its_own_setting_is_silenced() {
    within(60, || {
        let (asker, real) = neighbours()?;
        real.set("ipv4/conf/eth0/arp_ignore", "3")?;
        let machine = Machine::new(&real)?;
        let said = machine.run("--vip 10.0.0.5 --method dr")?;
        ensure!(
            said.contains("net.ipv4.conf.eth0.arp_ignore: 3 -> 1"),
            "{said}"
        );
        ensure!(!answers(&asker, "10.0.0.5")?, "the real server answers");
        machine.run("--undo")?;
        ensure!(real.get("ipv4/conf/eth0/arp_ignore")? == "3");
        Ok(())
    });
}
