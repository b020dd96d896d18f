//! Connections are taken over between this director and the kernel's ip_vs, either way: each tells the other by its own sync
//! daemon, and real sockets go on over the other one.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use ipvs_tests::{
    echo::{self, Pace, Steady},
    topology::{CLIENT, Director, IpVsModule, Netns, OTHER_CLIENT, PAIR_VIP, Pair, Part, within},
};

/// Of each service.
const CONNECTIONS: usize = 5;
/// The kernel's master sends once a second if it has little to say.
const SOON: Duration = Duration::from_secs(30);
/// Retransmission timers have grown while nobody forwarded.
const AFTER_A_WHILE: Duration = Duration::from_mins(1);

const MASQ: u16 = 7;
const DROUTE: u16 = 9;
const STICKY: u16 = 11;

const SERVICES: [&str; 9] = [
    "-A -t 203.0.113.10:7 -s rr",
    "-a -t 203.0.113.10:7 -r 10.0.1.10 -m",
    "-a -t 203.0.113.10:7 -r 10.0.1.20 -m",
    "-A -t 203.0.113.10:9 -s rr",
    "-a -t 203.0.113.10:9 -r 10.0.1.10 -g",
    "-a -t 203.0.113.10:9 -r 10.0.1.20 -g",
    "-A -t 203.0.113.10:11 -s rr -p 300",
    "-a -t 203.0.113.10:11 -r 10.0.1.10 -m",
    "-a -t 203.0.113.10:11 -r 10.0.1.20 -g",
];

/// Either director, told by the ipvsadm that belongs to it.
enum Either<'a> {
    Kernel(&'a Netns),
    Ours(Director),
}

impl<'a> Either<'a> {
    /// The kernel's takes packets only to addresses of its own, and routes what real servers send from there only if told so.
    fn kernel(netns: &'a Netns) -> Result<Self> {
        netns.ip(&format!("route add local {PAIR_VIP}/32 dev lo\n"))?;
        for name in ["all", "eth0", "eth1"] {
            netns.set(&format!("ipv4/conf/{name}/accept_local"), "1")?;
            netns.set(&format!("ipv4/conf/{name}/rp_filter"), "0")?;
        }
        Ok(Self::Kernel(netns))
    }

    fn ours(netns: &Netns) -> Result<Self> {
        Ok(Self::Ours(Director::start(netns, &Pair::start())?))
    }

    fn ipvsadm(&self, arguments: &str) -> Result<String> {
        match self {
            Self::Kernel(netns) => {
                let words: Vec<_> = arguments.split_whitespace().collect();
                netns.output("ipvsadm", &words)
            }
            Self::Ours(director) => director.run(&format!("ipvsadm {arguments}")),
        }
    }

    /// Services, and this end of the synchronisation.
    fn prepare(&self, role: &str) -> Result<()> {
        for line in SERVICES {
            self.ipvsadm(line)?;
        }
        let daemon = format!("--start-daemon {role} --mcast-interface sync0 --syncid 7");
        self.ipvsadm(&daemon).map(drop)
    }

    /// Waits until so many lines about connections say all of this.
    fn knows(&self, all: &[&str], count: usize) -> Result<()> {
        let start = Instant::now();
        loop {
            let list = self.ipvsadm("-Lnc")?;
            let fit = |line: &&str| all.iter().all(|word| line.contains(word));
            let now = list.lines().filter(fit).count();
            if now == count {
                return Ok(());
            }
            ensure!(
                start.elapsed() < SOON,
                "{now} of {all:?}, not {count}:\n{list}"
            );
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn stop(self) -> Result<()> {
        match self {
            Self::Kernel(netns) => {
                // Of either kind only one runs.
                let _ = netns.output("ipvsadm", &["--stop-daemon", "master"]);
                let _ = netns.output("ipvsadm", &["--stop-daemon", "backup"]);
                netns.output("ipvsadm", &["-C"]).map(drop)
            }
            Self::Ours(director) => director.stop().map(drop),
        }
    }
}

fn steady(net: &Pair, client: Ipv4Addr, port: u16) -> Result<Steady> {
    let to = SocketAddrV4::new(PAIR_VIP, port);
    Steady::at_pace(net.client.connect(client, to)?, Pace::GENTLE)
}

/// The master has connections; the backup takes over all of them, and knows whose client stays where.
fn take_over(net: &Pair, master: &Either<'_>, backup: &Either<'_>) -> Result<()> {
    for real in &net.reals {
        for port in [MASQ, DROUTE, STICKY] {
            let on = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
            echo::tcp_server(real.listen(on)?, real.name());
        }
    }
    backup.prepare("backup")?;
    master.prepare("master")?;
    let ports = [MASQ, DROUTE].into_iter();
    let all = ports.flat_map(|port| (0..CONNECTIONS).map(move |_| port));
    let all: Result<Vec<_>> = all.map(|port| steady(net, CLIENT, port)).collect();
    let all = all?;
    let one = steady(net, CLIENT, STICKY)?;
    let other = steady(net, OTHER_CLIENT, STICKY)?;
    ensure!(
        one.server() != other.server(),
        "rr gave both to {}",
        one.server()
    );
    for port in [MASQ, DROUTE] {
        let virt = format!("{PAIR_VIP}:{port} ");
        backup.knows(&["ESTABLISHED", &virt], CONNECTIONS)?;
    }
    backup.knows(&[":0 ", "203.0.113.10:11"], 2)?;
    net.put_in_charge(1)?;
    for connection in &all {
        connection.goes_on(AFTER_A_WHILE)?;
    }
    // In the other order, and twice, so that no scheduler would do the same.
    for (client, first) in [(OTHER_CLIENT, &other), (CLIENT, &one)] {
        for _ in 0..2 {
            let again = steady(net, client, STICKY)?;
            ensure!(
                again.server() == first.server(),
                "{client} went to {}",
                again.server()
            );
            again.finish()?;
        }
    }
    for connection in all.into_iter().chain([one, other]) {
        connection.finish()?;
    }
    Ok(())
}

#[test]
fn connections_of_the_kernels_master_go_on_over_this_director() {
    within(240, || {
        let _module = IpVsModule::hold();
        if !Part::IpVs.is_there()? {
            return Ok(());
        }
        let net = Pair::new()?;
        let kernel = Either::kernel(&net.directors[0])?;
        let ours = Either::ours(&net.directors[1])?;
        take_over(&net, &kernel, &ours)?;
        kernel.stop()?;
        ours.stop()
    });
}

#[test]
fn connections_of_this_master_go_on_over_the_kernels_ip_vs() {
    within(240, || {
        let _module = IpVsModule::hold();
        if !Part::IpVs.is_there()? {
            return Ok(());
        }
        let net = Pair::new()?;
        let ours = Either::ours(&net.directors[0])?;
        let kernel = Either::kernel(&net.directors[1])?;
        take_over(&net, &ours, &kernel)?;
        kernel.stop()?;
        ours.stop()
    });
}
