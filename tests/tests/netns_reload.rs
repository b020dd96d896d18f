//! The configuration of a running daemon changes, and connections do not notice.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ipvs_tests::{
    echo,
    topology::{CLIENT, Director, Start, Topology, eventually, eventually_every, vip, within},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// What goes to and fro in a transfer under changes.
const BULK: usize = 20 << 20;

/// Two echo servers; the second one's weight, and whether a third real server (of nobody) of weight 0 is there.
fn file(weight: u32, third: bool) -> String {
    let third = if third {
        "[[service.real]]\naddress = '10.0.1.77:9'\nmethod = 'masq'\nweight = 0\n"
    } else {
        ""
    };
    format!(
        "[interface.eth0]\n[interface.vif1]\n[interface.vif2]\n[[service]]\ntcp = '10.0.0.5:7'\nscheduler = 'wrr'\n\
         [[service.real]]\naddress = '10.0.1.5:7'\nmethod = 'masq'\n\
         [[service.real]]\naddress = '10.0.1.6:8'\nmethod = 'masq'\nweight = {weight}\n{third}"
    )
}

fn start(net: &Topology, how: Start) -> Result<Director> {
    for (guest, port) in net.guests.iter().zip([7, 8]) {
        let on = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
        echo::tcp_server(guest.listen(on)?, guest.name());
    }
    let how = Start {
        interfaces: Vec::new(),
        config: Some(file(1, false)),
        ..how
    };
    Director::start(&net.dom0, &how)
}

/// Sends so many bytes and reads them back, each compared; the server's name.
fn transfer(mut stream: TcpStream, bytes: usize) -> Result<String> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut name = Vec::new();
    let mut byte = [0];
    while byte != *b"\n" {
        stream.read_exact(&mut byte).context("greeting")?;
        name.push(byte[0]);
    }
    let mut writer = stream.try_clone()?;
    let sent = thread::spawn(move || -> Result<()> {
        for chunk in pattern(bytes).chunks(1 << 16) {
            writer.write_all(chunk)?;
        }
        Ok(())
    });
    let mut back = vec![0; bytes];
    stream.read_exact(&mut back).context("the way back")?;
    sent.join().expect("the sender does not panic")?;
    ensure!(back == pattern(bytes), "other bytes came back");
    Ok(String::from_utf8_lossy(&name).trim_end().to_owned())
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes)
        .map(|n| (n ^ (n >> 8) ^ (n >> 16)) as u8)
        .collect()
}

#[test]
fn reload_leaves_established_connections_alone() {
    within(120, || {
        let net = Topology::new()?;
        let director = start(&net, Start::default())?;
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let bulk = scope.spawn(|| -> Result<()> {
                let mut transfers = 0;
                // Two at a time, one to each server, again and again for as long as the file changes.
                while !done.load(Ordering::SeqCst) || transfers == 0 {
                    let streams = [0, 1].map(|_| net.client.connect(CLIENT, vip(7)));
                    for stream in streams {
                        transfer(stream?, BULK)?;
                    }
                    transfers += 1;
                }
                Ok(())
            });
            let reloads = (0..20).try_for_each(|round: u32| -> Result<()> {
                director.configure(&file(2 + round % 5, round.is_multiple_of(2)))?;
                let said = director.run("ipvsd reload")?;
                ensure!(said.starts_with("changed:\n"), "{said}");
                thread::sleep(Duration::from_millis(50));
                Ok(())
            });
            done.store(true, Ordering::SeqCst);
            bulk.join().expect("the client does not panic")?;
            reloads
        })?;
        net.nothing_refused()?;
        director.stop()?;
        Ok(())
    });
}

#[test]
fn hangup_reads_the_file_again_and_mistakes_change_nothing() {
    within(60, || {
        let net = Topology::new()?;
        let director = start(&net, Start::default())?;
        director.configure(&file(5, false))?;
        director.signal(Signal::SIGHUP)?;
        let listed = |what: &'static str| {
            let director = &director;
            move || Ok(director.run("ipvsadm -Ln")?.contains(what))
        };
        let limit = Duration::from_secs(5);
        ensure!(
            eventually(limit, listed("Masq    5"))?,
            "weight 5 did not come"
        );
        director.configure(&file(6, false).replace("'masq'", "'mask'"))?;
        director.signal(Signal::SIGHUP)?;
        let told = || Ok(director.log().contains("no forwarding method `mask`"));
        ensure!(eventually(limit, told)?, "{}", director.log());
        let refused = director.refused("ipvsd reload")?;
        ensure!(refused.contains("no forwarding method `mask`"), "{refused}");
        ensure!(listed("Masq    5")()?);
        let by = transfer(net.client.connect(CLIENT, vip(7))?, 1 << 20)?;
        ensure!(by.starts_with("guest"), "{by}");
        director.stop()?;
        Ok(())
    });
}

#[test]
fn interfaces_come_and_go_with_the_file() {
    within(60, || {
        let net = Topology::new()?;
        let director = start(&net, Start::default())?;
        let attached = || -> Result<usize> {
            Ok(net
                .dom0
                .output("ip", &["link"])?
                .matches("prog/xdp")
                .count())
        };
        ensure!(attached()? == 3);
        director.configure(&file(1, false).replace("[interface.vif2]\n", ""))?;
        let said = director.run("ipvsd reload")?;
        ensure!(said.contains("- interface.vif2"), "{said}");
        ensure!(attached()? == 2);
        // One that is not there is refused, and all is as it was.
        director.configure(&file(9, false).replace("vif2", "vif9"))?;
        let refused = director.refused("ipvsd reload")?;
        ensure!(refused.contains("no interface vif9"), "{refused}");
        ensure!(attached()? == 2 && !director.run("ipvsadm -Ln")?.contains("Masq    9"));
        director.configure(&file(1, false))?;
        director.run("ipvsd reload")?;
        ensure!(attached()? == 3);
        for _ in 0..2 {
            transfer(net.client.connect(CLIENT, vip(7))?, 1 << 20)?;
        }
        director.stop()?;
        Ok(())
    });
}

#[test]
fn unconfirmed_change_is_taken_back_though_the_client_is_gone() {
    within(60, || {
        let net = Topology::new()?;
        let director = start(&net, Start::default())?;
        let other = director.config().with_extension("other");
        std::fs::write(&other, file(7, true))?;
        let line = format!("ipvsd apply {} --confirm 2s", other.display());
        let said = director.run(&line)?;
        ensure!(said.contains("goes back by itself in 2 seconds"), "{said}");
        ensure!(director.run("ipvsadm -Ln")?.contains("Masq    7"));
        let back = || Ok(!director.run("ipvsadm -Ln")?.contains("Masq    7"));
        ensure!(
            eventually(Duration::from_secs(10), back)?,
            "it is still there"
        );
        ensure!(director.log().contains("going back"), "{}", director.log());
        director.run(&line)?;
        director.run("ipvsd confirm")?;
        thread::sleep(Duration::from_secs(3));
        ensure!(director.run("ipvsadm -Ln")?.contains("Masq    7"));
        director.stop()?;
        Ok(())
    });
}

fn stays() -> Start {
    Start {
        stays: true,
        ..Start::default()
    }
}

/// A change of weights, and a third real server, in a file beside the daemon's own.
fn apply_for(director: &Director, seconds: u32) -> Result<String> {
    let other = director.config().with_extension("other");
    std::fs::write(&other, file(7, true))?;
    Ok(format!(
        "ipvsd apply {} --confirm {seconds}s",
        other.display()
    ))
}

fn holds(director: &Director) -> Result<bool> {
    let listed = director.run("ipvsadm -Ln")?;
    ensure!(
        listed.contains("Masq    7") == listed.contains("10.0.1.77:9"),
        "half of it:\n{listed}"
    );
    Ok(listed.contains("Masq    7"))
}

#[test]
fn change_goes_on_and_is_taken_back_though_its_client_was_interrupted() {
    within(90, || {
        let net = Topology::new()?;
        let director = start(&net, Start::default())?;
        director.configure(&file(1, false).replace("[interface.vif2]\n", ""))?;
        director.run("ipvsd reload")?;
        let line = apply_for(&director, 3)?;
        let mut client = director.begin(&line)?;
        let mut record = director.socket().into_os_string();
        record.push(".applied.json");
        // It is in the middle while it attaches to an interface.
        let begun = || {
            let record = std::fs::read_to_string(&record)?;
            Ok(record.contains("\"carried_out\":false"))
        };
        let limit = Duration::from_secs(20);
        let begun = eventually_every(Duration::from_millis(1), limit, begun)?;
        let pid = Pid::from_raw(client.id().cast_signed());
        kill(pid, Signal::SIGINT)?;
        let status = client.wait()?;
        ensure!(begun && !status.success(), "it was not in the middle");
        ensure!(eventually(limit, || holds(&director))?, "cut short");
        let back = || Ok(!holds(&director)?);
        ensure!(eventually(limit, back)?, "it is still there");
        director.stop()?;
        Ok(())
    });
}

#[test]
fn change_that_waits_outlives_a_killed_daemon_and_is_taken_back_in_time() {
    within(120, || {
        let net = Topology::new()?;
        let director = start(&net, stays())?;
        director.run(&apply_for(&director, 20)?)?;
        let how = Start {
            interfaces: Vec::new(),
            config: Some(file(1, false)),
            ..stays()
        };
        let director = director.kill()?.start(&how)?;
        ensure!(holds(&director)?, "{}", director.log());
        let other = director.config().with_extension("other");
        let plan = director.run(&format!("ipvsd plan {}", other.display()))?;
        ensure!(plan.contains("waits to be confirmed"), "{plan}");
        let back = || Ok(!holds(&director)?);
        ensure!(eventually(Duration::from_secs(40), back)?, "still there");
        ensure!(director.log().contains("going back"), "{}", director.log());
        // Its time ends while nobody is there.
        director.run(&apply_for(&director, 1)?)?;
        let left = director.kill()?;
        thread::sleep(Duration::from_secs(2));
        let director = left.start(&how)?;
        let log = director.log();
        ensure!(!holds(&director)?, "{log}");
        ensure!(log.contains("going back"), "{log}");
        let plan = director.run(&format!("ipvsd plan {}", director.config().display()))?;
        ensure!(plan == "nothing to change\n", "{plan}");
        director.stop()?;
        Ok(())
    });
}
