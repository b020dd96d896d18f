//! A director takes over from another one, which told it of its connections: real sockets, two directors, a link between them.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use ipvs_tests::{
    echo::{self, Steady},
    topology::{CLIENT, Director, OTHER_CLIENT, PAIR_VIP, Pair, within},
    trace::{Trace, What},
};

/// Of each service.
const CONNECTIONS: usize = 25;
/// What a master told is entered within this time, on a machine that has other work.
const SOON: Duration = Duration::from_secs(10);
/// Retransmission timers have grown while nobody forwarded.
const AFTER_A_WHILE: Duration = Duration::from_secs(30);

const MASQ: u16 = 7;
const DROUTE: u16 = 9;
const STICKY: u16 = 11;

/// Services of which the real servers send back what they get.
const SERVICES: [&str; 9] = [
    "ipvsadm -A -t 203.0.113.10:7 -s rr",
    "ipvsadm -a -t 203.0.113.10:7 -r 10.0.1.10 -m",
    "ipvsadm -a -t 203.0.113.10:7 -r 10.0.1.20 -m",
    "ipvsadm -A -t 203.0.113.10:9 -s rr",
    "ipvsadm -a -t 203.0.113.10:9 -r 10.0.1.10 -g",
    "ipvsadm -a -t 203.0.113.10:9 -r 10.0.1.20 -g",
    "ipvsadm -A -t 203.0.113.10:11 -s rr -p 300",
    "ipvsadm -a -t 203.0.113.10:11 -r 10.0.1.10 -m",
    "ipvsadm -a -t 203.0.113.10:11 -r 10.0.1.20 -g",
];

fn serve(net: &Pair) -> Result<()> {
    for real in &net.reals {
        for port in [MASQ, DROUTE, STICKY] {
            let on = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
            echo::tcp_server(real.listen(on)?, real.name());
        }
    }
    Ok(())
}

/// Both directors at work; the first tells the second.
fn told(net: &Pair, master: &str, backup: &str) -> Result<[Director; 2]> {
    serve(net)?;
    let first = Director::start(&net.directors[0], &Pair::start())?;
    let second = Director::start(&net.directors[1], &Pair::start())?;
    first.run_all(&SERVICES)?;
    second.run_all(&SERVICES)?;
    let start = |director: &Director, how: &str| {
        director.run(&format!(
            "ipvsadm --start-daemon {how} --mcast-interface sync0"
        ))
    };
    start(&second, backup)?;
    start(&first, master)?;
    Ok([first, second])
}

fn steady(net: &Pair, client: Ipv4Addr, port: u16) -> Result<Steady> {
    let to = SocketAddrV4::new(PAIR_VIP, port);
    Steady::over(net.client.connect(client, to)?)
}

/// Lines of the list of connections that say all of this.
fn listed(director: &Director, all: &[&str]) -> Result<usize> {
    let list = director.run("ipvsadm -Lnc")?;
    let fit = |line: &&str| all.iter().all(|word| line.contains(word));
    Ok(list.lines().filter(fit).count())
}

/// Waits until so many connections are listed.
fn becomes(director: &Director, all: &[&str], count: usize) -> Result<()> {
    let start = Instant::now();
    loop {
        let now = listed(director, all)?;
        if now == count {
            return Ok(());
        }
        ensure!(start.elapsed() < SOON, "{now} of {all:?}, not {count}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Active and inactive connections of a service's real servers, added up.
fn counts(director: &Director, port: u16) -> Result<(u32, u32)> {
    let table = director.run(&format!("ipvsadm -Ln -t {PAIR_VIP}:{port}"))?;
    let reals = table.lines().filter(|l| l.contains("-> 10.0."));
    let mut sum = (0, 0);
    for line in reals {
        let words: Vec<_> = line.split_whitespace().collect();
        let number = |n: usize| words[n].parse::<u32>().context("no count");
        sum = (sum.0 + number(4)?, sum.1 + number(5)?);
    }
    Ok(sum)
}

#[test]
fn fifty_connections_go_on_over_the_backup_when_the_master_dies() {
    within(180, || {
        let net = Pair::new()?;
        let [first, second] = told(&net, "master --syncid 7", "backup --syncid 7")?;
        let ports = [MASQ, DROUTE].into_iter();
        let all = ports.flat_map(|port| (0..CONNECTIONS).map(move |_| port));
        let all: Result<Vec<_>> = all.map(|port| steady(&net, CLIENT, port)).collect();
        let all = all?;
        for port in [MASQ, DROUTE] {
            let virt = format!("{PAIR_VIP}:{port}");
            becomes(&second, &["ESTABLISHED", &virt], CONNECTIONS)?;
            let expected = (CONNECTIONS as u32, 0);
            ensure!(counts(&second, port)? == expected, "at the backup");
        }
        first.kill()?;
        net.put_in_charge(1)?;
        for connection in &all {
            connection.goes_on(AFTER_A_WHILE)?;
        }
        let more: Result<Vec<_>> = (0..4).map(|_| steady(&net, CLIENT, MASQ)).collect();
        for connection in all.into_iter().chain(more?) {
            connection.finish()?;
        }
        let reasons = second.run("ipvsd reasons")?;
        ensure!(reasons.contains("sync entered"), "{reasons}");
        second.stop()?;
        Ok(())
    });
}

#[test]
fn persistent_clients_come_back_to_their_real_servers_at_the_backup() {
    within(120, || {
        let net = Pair::new()?;
        let [first, second] = told(&net, "master", "backup")?;
        let one = steady(&net, CLIENT, STICKY)?;
        let other = steady(&net, OTHER_CLIENT, STICKY)?;
        let (one_at, other_at) = (one.server().to_owned(), other.server().to_owned());
        ensure!(one_at != other_at, "rr gave both to {one_at}");
        one.finish()?;
        other.finish()?;
        becomes(&second, &["ASSURED", ":0 ", "203.0.113.10:11"], 2)?;
        net.put_in_charge(1)?;
        // In the other order, and each twice, so that no scheduler would do the same.
        for (client, at) in [(OTHER_CLIENT, &other_at), (CLIENT, &one_at)] {
            for _ in 0..2 {
                let again = steady(&net, client, STICKY)?;
                ensure!(again.server() == at, "{} after {at}", again.server());
                again.finish()?;
            }
        }
        first.stop()?;
        second.stop()?;
        Ok(())
    });
}

#[test]
fn backup_only_director_leaves_clients_to_the_host_until_its_backup_ends() {
    within(120, || {
        let net = Pair::new()?;
        let [first, second] = told(&net, "master", "backup")?;
        second.run("ipvsd sysctl backup_only=1")?;
        let one = steady(&net, CLIENT, MASQ)?;
        becomes(&second, &["ESTABLISHED"], 1)?;
        for (director, origin) in [(&first, " LOCAL "), (&second, " SYNC ")] {
            let list = director.run("ipvsd proc ip_vs_conn_sync")?;
            ensure!(list.contains(origin), "{list}");
        }
        first.kill()?;
        net.put_in_charge(1)?;
        let new = SocketAddrV4::new(PAIR_VIP, DROUTE);
        ensure!(net.client.connect(CLIENT, new).is_err(), "it balances");
        let reasons = second.run("ipvsd reasons")?;
        ensure!(reasons.contains("stands_by"), "{reasons}");
        // The end of the backup is where it takes over.
        second.run("ipvsadm --stop-daemon backup")?;
        steady(&net, CLIENT, DROUTE)?.finish()?;
        second.stop()?;
        drop(one);
        Ok(())
    });
}

#[test]
fn masters_with_another_syncid_are_not_listened_to() {
    within(120, || {
        let net = Pair::new()?;
        let [first, second] = told(&net, "master --syncid 7", "backup --syncid 8")?;
        let connection = steady(&net, CLIENT, MASQ)?;
        let start = Instant::now();
        while !second.run("ipvsd reasons")?.contains("sync other_syncid") {
            ensure!(start.elapsed() < SOON, "nothing came");
            thread::sleep(Duration::from_millis(50));
        }
        ensure!(listed(&second, &["203.0.113.10:7"])? == 0);
        // A backup without a number takes what it gets.
        second.run("ipvsadm --stop-daemon backup")?;
        second.run("ipvsadm --start-daemon backup --mcast-interface sync0")?;
        let another = steady(&net, CLIENT, MASQ)?;
        becomes(&second, &["ESTABLISHED", "203.0.113.10:7"], 1)?;
        connection.finish()?;
        another.finish()?;
        first.stop()?;
        second.stop()?;
        Ok(())
    });
}

#[test]
fn sync_goes_on_when_its_link_was_down_or_another_one_took_its_name() {
    within(120, || {
        let net = Pair::new()?;
        let [first, second] = told(&net, "master", "backup")?;
        let down = |netns: &ipvs_tests::topology::Netns| netns.ip("link set sync0 down\n");
        net.directors.iter().try_for_each(down)?;
        let unheard = steady(&net, CLIENT, MASQ)?;
        thread::sleep(Duration::from_millis(200));
        ensure!(listed(&second, &["203.0.113.10:7"])? == 0);
        let up = |netns: &ipvs_tests::topology::Netns| netns.ip("link set sync0 up\n");
        net.directors.iter().try_for_each(up)?;
        let heard = steady(&net, CLIENT, DROUTE)?;
        becomes(&second, &["ESTABLISHED", "203.0.113.10:9"], 1)?;

        let second_path = net.directors[1].path();
        net.directors[0].ip(&format!(
            "link del sync0\n\
             link add sync0 type veth peer name sync0 netns {second_path}\n\
             addr add 192.168.77.1/24 dev sync0\n\
             link set sync0 up\n"
        ))?;
        net.directors[1].ip("addr add 192.168.77.2/24 dev sync0\nlink set sync0 up\n")?;
        // Interfaces are looked at once a second.
        thread::sleep(Duration::from_secs(3));
        let later = steady(&net, CLIENT, DROUTE)?;
        becomes(&second, &["ESTABLISHED", "203.0.113.10:9"], 2)?;
        for connection in [unheard, heard, later] {
            connection.finish()?;
        }
        first.stop()?;
        second.stop()?;
        Ok(())
    });
}

#[test]
fn what_the_kernel_sent_is_taken_in() {
    within(60, || {
        let net = Pair::new()?;
        let director = Director::start(&net.directors[1], &Pair::start())?;
        director.run_all(&[
            "ipvsadm -A -t 203.0.113.10:80 -s rr",
            "ipvsadm -a -t 203.0.113.10:80 -r 10.0.1.10:80 -g",
            "ipvsadm -A -t 203.0.113.10:81 -s rr -p 60",
            "ipvsadm -a -t 203.0.113.10:81 -r 10.0.1.10:81 -g",
            "ipvsadm -A -u 203.0.113.10:53 -s rr",
            "ipvsadm -a -u 203.0.113.10:53 -r 10.0.1.10:53 -g",
            "ipvsadm --start-daemon backup --mcast-interface sync0 --syncid 7",
        ])?;
        let socket = net.directors[0].udp("192.168.77.1:0".parse()?)?;
        for datagram in recorded()? {
            socket.send_to(&datagram, "224.0.0.81:8848")?;
        }
        becomes(&director, &["203.0.113.10:53"], 1)?;
        let list = director.run("ipvsadm -Lnc")?;
        let all = [
            ["TCP", "ASSURED", "198.51.100.1:0", "203.0.113.10:81"],
            ["TCP", "FIN_WAIT", "198.51.100.1:1000", "203.0.113.10:80"],
            ["TCP", "ESTABLISHED", "198.51.100.1:1001", "203.0.113.10:81"],
            ["UDP", "UDP", "198.51.100.1:1002", "203.0.113.10:53"],
        ];
        for line in &all {
            ensure!(listed(&director, line)? == 1, "{line:?} not in\n{list}");
        }
        ensure!(counts(&director, 80)? == (0, 1) && counts(&director, 81)? == (1, 0));
        director.stop()?;
        Ok(())
    });
}

/// The datagrams of the kernel's own master.
fn recorded() -> Result<Vec<Vec<u8>>> {
    const GROUP: [u8; 6] = [1, 0, 0x5e, 0, 0, 0x51];
    const HEADERS: usize = 14 + 20 + 8;
    let trace = Trace::of("sync_master")?;
    let sent = trace.steps.iter().filter_map(|step| match &step.what {
        What::Out(frame) => Some(&frame.bytes),
        What::In(_)
        | What::Ctl { .. }
        | What::Show { .. }
        | What::Sysctl { .. }
        | What::Sleep { .. } => None,
    });
    let datagrams = sent.filter(|f| f.starts_with(&GROUP));
    Ok(datagrams.map(|f| f[HEADERS..].to_vec()).collect())
}

#[test]
fn who_runs_already_or_has_no_interface_is_told_so() {
    within(60, || {
        let net = Pair::new()?;
        let director = Director::start(&net.directors[0], &Pair::start())?;
        let fails = |line: &str, says: &str| -> Result<()> {
            let failed = director.run(line);
            let said = failed.err().context("it went well")?;
            ensure!(format!("{said:#}").contains(says), "{said:#}");
            Ok(())
        };
        let start = "ipvsadm --start-daemon master --mcast-interface";
        fails(&format!("{start} nix0"), "No such device")?;
        fails("ipvsadm --stop-daemon master", "No daemon is running")?;
        director.run(&format!("{start} sync0"))?;
        fails(&format!("{start} sync0"), "Daemon has already run")?;
        director.run("ipvsadm --start-daemon backup --mcast-interface sync0 --syncid 3")?;
        let list = director.run("ipvsadm -L --daemon")?;
        let master = "master sync daemon (mcast=sync0, syncid=0, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)";
        ensure!(list.contains(master), "{list}");
        ensure!(
            list.contains("backup sync daemon (mcast=sync0, syncid=3"),
            "{list}"
        );
        director.run("ipvsadm --stop-daemon master")?;
        director.run("ipvsadm --stop-daemon backup")?;
        ensure!(director.run("ipvsadm -L --daemon")?.is_empty());
        director.stop()?;
        Ok(())
    });
}
