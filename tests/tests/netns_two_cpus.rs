//! Two clients on two CPUs, with real sockets, through one director: what the table of services counts is what the table of
//! connections lists, and in the end neither has anything left.

use std::{
    io::{self, BufRead as _, BufReader, ErrorKind, Write as _},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use ipvs_tests::{
    echo,
    topology::{CLIENT, Director, OTHER_CLIENT, Start, Topology, stay_on_cpu, vip, within},
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

const TIME: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(3);
/// A connection that a reset closed, and one that was given up while it was being opened, end within this; then the director
/// has another round to go.
const ALL_OVER: Duration = Duration::from_secs(20);

/// Every way of forwarding here, schedulers that count, thresholds and persistence.
const COMMANDS: [&str; 13] = [
    "ipvsadm --set 0 10 10",
    "ipvsadm -A -t 10.0.0.5:7 -s rr",
    "ipvsadm -a -t 10.0.0.5:7 -r 10.0.1.5 -m",
    "ipvsadm -a -t 10.0.0.5:7 -r 10.0.1.6 -m",
    "ipvsadm -A -t 10.0.0.5:8 -s wlc",
    "ipvsadm -a -t 10.0.0.5:8 -r 10.0.1.5:7 -m -x 400",
    "ipvsadm -a -t 10.0.0.5:8 -r 10.0.1.6:7 -m -x 100 -y 50",
    "ipvsadm -A -t 10.0.0.5:9 -s lblcr -p 3",
    "ipvsadm -a -t 10.0.0.5:9 -r 10.0.1.5:7 -m",
    "ipvsadm -a -t 10.0.0.5:9 -r 10.0.1.6:7 -m",
    "ipvsadm -A -t 10.0.0.5:10 -s wrr -p 2",
    "ipvsadm -a -t 10.0.0.5:10 -r 10.0.1.5:10 -g -w 2",
    "ipvsadm -a -t 10.0.0.5:10 -r 10.0.1.6:10 -g -w 3",
];
const PORTS: [u16; 4] = [7, LIMITED, 9, 10];
/// The service with thresholds.
const LIMITED: u16 = 8;

#[test]
fn counts_are_exact_after_two_cpus_worked_at_once() {
    within(90, || {
        let net = Topology::new()?;
        net.guests_take_vip()?;
        for guest in &net.guests {
            for port in [7, 10] {
                let on = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
                echo::tcp_server(guest.listen(on)?, guest.name());
            }
        }
        let director = Director::start(&net.dom0, &Start::default())?;
        director.run_all(&COMMANDS)?;
        let (made, kept) = hammer(&net)?;
        let connections = kept.len() as u32;
        println!("{made:?} connections were made, {connections} are kept");
        ensure!(made.iter().all(|n| *n > 50), "only {made:?} connections");

        // What was reset is over then; what was kept is not.
        let counts = settled(&director, |c| c.total() == connections)?;
        ensure!(counts.active == connections, "{counts:?}");
        kept.iter().try_for_each(reset)?;
        drop(kept);
        // A template that its connections held stays for another minute; it is counted as long as it is listed.
        settled(&director, |c| c.total() == 0)?;
        director.stop()?;
        Ok(())
    });
}

/// Both clients at work, each on a CPU of its own: how many connections each made, and those that are open yet.
fn hammer(net: &Topology) -> Result<([usize; 2], Vec<TcpStream>)> {
    let stop = AtomicBool::new(false);
    let work = |cpu: usize, from| {
        let stop = &stop;
        move || {
            net.client.enter(move || {
                stay_on_cpu(cpu)?;
                connect_and_reset(from, cpu, stop)
            })
        }
    };
    thread::scope(|scope| {
        let clients = [
            scope.spawn(work(0, CLIENT)),
            scope.spawn(work(1, OTHER_CLIENT)),
        ];
        thread::sleep(TIME);
        stop.store(true, Ordering::SeqCst);
        let ended = clients.map(|c| c.join().map_err(|_| anyhow!("a client panicked")));
        let [(a, mut kept), (b, others)] = match ended {
            [Ok(a), Ok(b)] => [a?, b?],
            [Err(e), _] | [_, Err(e)] => return Err(e),
        };
        kept.extend(others);
        Ok(([a, b], kept))
    })
}

/// Some are kept; most end with a reset, after a word or at once.
fn connect_and_reset(
    from: Ipv4Addr,
    cpu: usize,
    stop: &AtomicBool,
) -> Result<(usize, Vec<TcpStream>)> {
    let (mut tries, mut made, mut kept) = (cpu, 0, Vec::new());
    while !stop.load(Ordering::SeqCst) {
        tries += 1;
        let port = PORTS[tries % PORTS.len()];
        let stream = match connect(from, vip(port)) {
            Ok(stream) => stream,
            // All overloaded: those that were reset count for a while.
            Err(e) if port == LIMITED && e.kind() != ErrorKind::TimedOut => continue,
            Err(e) => return Err(e).with_context(|| format!("connection {made} to {port}")),
        };
        made += 1;
        if made % 3 != 0 {
            speak(&stream)?;
        }
        if made % 64 < 4 && kept.len() < 40 {
            kept.push(stream);
        } else {
            reset(&stream)?;
        }
    }
    for stream in &kept {
        speak(stream).context("of those kept")?;
    }
    Ok((made, kept))
}

fn connect(from: Ipv4Addr, to: SocketAddrV4) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddrV4::new(from, 0).into())?;
    socket.connect_timeout(&SocketAddr::V4(to).into(), PATIENCE)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// The server's name came, or what was said comes back.
fn speak(mut stream: &TcpStream) -> Result<()> {
    stream.write_all(b"so?\n")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    ensure!(line.ends_with('\n'), "got {line:?}");
    Ok(())
}

/// Closes with a reset, once it is dropped.
fn reset(stream: &TcpStream) -> Result<()> {
    Ok(SockRef::from(stream).set_linger(Some(Duration::ZERO))?)
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Counts {
    active: u32,
    inactive: u32,
    persistent: u32,
    /// Lines of the table of connections, and those of templates among them.
    listed: u32,
    templates: u32,
}

impl Counts {
    const fn total(&self) -> u32 {
        self.active + self.inactive
    }

    fn of(director: &Director) -> Result<Self> {
        let table = director.run("ipvsadm -Ln --persistent-conn")?;
        let listing = director.run("ipvsadm -Lnc")?;
        let real_servers = table
            .lines()
            .filter(|l| l.trim_start().starts_with("-> 10."));
        let mut counts = Self::default();
        for line in real_servers {
            let mut last = line.split_whitespace().rev();
            let mut number = || last.next().and_then(|n| n.parse::<u32>().ok());
            let row = (number(), number(), number());
            let (Some(inactive), Some(active), Some(persistent)) = row else {
                return Err(anyhow!("{line:?} has no three numbers"));
            };
            counts.inactive += inactive;
            counts.active += active;
            counts.persistent += persistent;
        }
        let entries = listing.lines().filter(|l| l.starts_with("TCP"));
        for line in entries {
            // A template's client has port 0.
            let source = line.split_whitespace().nth(3);
            if source.is_some_and(|s| s.ends_with(":0")) {
                counts.templates += 1;
            } else {
                counts.listed += 1;
            }
        }
        Ok(counts)
    }
}

/// Waits until what is there is right and both tables say the same; the last that was seen.
fn settled(director: &Director, right: impl Fn(&Counts) -> bool) -> Result<Counts> {
    let start = Instant::now();
    loop {
        let counts = Counts::of(director)?;
        let same = (counts.listed, counts.templates) == (counts.total(), counts.persistent);
        if same && right(&counts) {
            return Ok(counts);
        }
        ensure!(start.elapsed() < ALL_OVER, "after {ALL_OVER:?}: {counts:?}");
        thread::sleep(Duration::from_millis(200));
    }
}
