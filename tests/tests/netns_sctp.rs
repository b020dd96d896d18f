//! SCTP with real sockets: bulk data both ways with offloads as they come, over every way to a real server and both versions of IP.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ipvs_tests::{
    six::six,
    topology::{
        CLIENT, Director, GUESTS, Netns, Part, Scratch, Start, Topology, VIP, eventually, within,
    },
};
use socket2::{Domain, Protocol, Socket, Type};

/// Bytes each way.
const BULK: usize = 1 << 20;
/// Of a message.
const MESSAGE: usize = 4000;
const LIMIT: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_secs(5);

/// Ways, each with the service's port, the real server's, and its options.
const WAYS: [(u16, u16, &str); 5] = [
    (3600, 3600, "-g"),
    (3601, 3701, "-m"),
    (3602, 3602, "-m"),
    (3603, 3603, "-i"),
    (3604, 3604, "-i --tun-type gue --tun-port 6080 --tun-csum"),
];

/// A socket of one association with one address, which is how it looks to its user like one of TCP.
fn socket(of: IpAddr) -> io::Result<Socket> {
    let domain = if of.is_ipv4() {
        Domain::IPV4
    } else {
        Domain::IPV6
    };
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::from(132)))?;
    socket.set_read_timeout(Some(LIMIT))?;
    socket.set_write_timeout(Some(LIMIT))?;
    Ok(socket)
}

/// Sends back what it gets.
fn serve(guest: &Netns, on: SocketAddr) -> Result<()> {
    let listen = || -> io::Result<TcpListener> {
        let socket = socket(on.ip())?;
        socket.set_read_timeout(None)?;
        socket.bind(&on.into())?;
        socket.listen(8)?;
        Ok(socket.into())
    };
    let listener = guest
        .enter(listen)
        .with_context(|| format!("listening on {on}"))?;
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            thread::spawn(move || echo(stream));
        }
    });
    Ok(())
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; MESSAGE];
    loop {
        let got = stream.read(&mut buffer)?;
        if got == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..got])?;
    }
}

fn connect(net: &Topology, from: IpAddr, to: SocketAddr) -> Result<TcpStream> {
    let connect = || -> io::Result<TcpStream> {
        let socket = socket(to.ip())?;
        socket.bind(&SocketAddr::new(from, 0).into())?;
        socket.connect_timeout(&to.into(), LIMIT)?;
        Ok(socket.into())
    };
    let connected = net.client.enter(connect);
    connected.with_context(|| format!("connecting to {to}"))
}

fn exchange(stream: &TcpStream) -> Result<()> {
    let data: Vec<u8> = (0..BULK).map(|n| (n * 7 + n / 251) as u8).collect();
    let (mut writer, mut reader) = (stream.try_clone()?, stream.try_clone()?);
    let sent = data.clone();
    let sending = thread::spawn(move || -> io::Result<()> {
        sent.chunks(MESSAGE)
            .try_for_each(|message| writer.write_all(message))
    });
    let mut back = vec![0; BULK];
    reader.read_exact(&mut back).context("what comes back")?;
    sending.join().map_err(|_| anyhow::anyhow!("sending"))??;
    ensure!(back == data, "other data came back");
    Ok(())
}

/// What no stack of the network may have counted.
fn no_checksum_was_wrong(net: &Topology) -> Result<()> {
    for netns in [&net.client, &net.guests[0], &net.guests[1]] {
        let counters = netns.output("cat", &["/proc/net/sctp/snmp"])?;
        let wrong = counters
            .lines()
            .find(|line| line.starts_with("SctpChecksumErrors"));
        let wrong = wrong.context("no counter")?;
        ensure!(wrong.ends_with("\t0"), "{}: {wrong}", netns.name());
    }
    Ok(())
}

/// The first guest takes what is for the virtual addresses from its link, the second one from tunnels.
fn ready(net: &Topology, scratch: &Scratch) -> Result<()> {
    net.over_six()?;
    net.guests_take_vip()?;
    for guest in &net.guests {
        guest.ip(&format!("addr add {}/128 dev lo nodad", six(VIP)))?;
    }
    for (guest, kind) in net.guests.iter().zip(["ipip", "gue --port 6080"]) {
        let state = scratch.path().join(guest.name());
        let words = format!(
            "real-server --vip {VIP} --vip {} --method tunnel --tunnel-type {kind} --unpack xdp --state {}",
            six(VIP),
            state.display()
        );
        let words: Vec<_> = words.split_whitespace().collect();
        guest.output(&Director::program()?.to_string_lossy(), &words)?;
    }
    Ok(())
}

/// One way over one version of IP.
fn goes(net: &Topology, director: &Director, ends: [IpAddr; 4], way: usize) -> Result<()> {
    let [client, vip, first, second] = ends;
    let (port, real_port, options) = WAYS[way];
    let (guest, real) = if options.contains("gue") {
        (&net.guests[1], second)
    } else {
        (&net.guests[0], first)
    };
    let local = if options == "-m" { real } else { vip };
    serve(guest, SocketAddr::new(local, real_port))?;
    let to = SocketAddr::new(vip, port);
    let at = SocketAddr::new(real, real_port);
    director.run(&format!("ipvsadm -A --sctp-service {to} -s rr"))?;
    director.run(&format!("ipvsadm -a --sctp-service {to} -r {at} {options}"))?;
    let stream = connect(net, client, to)?;
    exchange(&stream)?;
    let listed = director.run("ipvsadm -Lnc")?;
    let line = listed.lines().find(|line| line.contains(&at.to_string()));
    let line = line.with_context(|| listed.clone())?;
    ensure!(
        line.starts_with("SCTP") && line.contains(" ESTABLISHED "),
        "{line}"
    );
    drop(stream);
    // The association ends, which the director sees.
    let ends = || -> Result<bool> {
        let listed = director.run("ipvsadm -Lnc")?;
        let line = listed.lines().find(|line| line.contains(&at.to_string()));
        Ok(line.is_none_or(|line| !line.contains(" ESTABLISHED ")))
    };
    ensure!(eventually(SOON, ends)?, "it does not end");
    Ok(())
}

#[test]
fn associations_move_data_both_ways_with_offloads_as_they_come() {
    within(400, || {
        if !Part::Sctp.is_there()? {
            return Ok(());
        }
        let (net, scratch) = (Topology::new()?, Scratch::new()?);
        ready(&net, &scratch)?;
        let director = Director::start(&net.dom0, &Start::default())?;
        let four: [IpAddr; 4] = [CLIENT, VIP, GUESTS[0], GUESTS[1]].map(Into::into);
        let over_six = [CLIENT, VIP, GUESTS[0], GUESTS[1]].map(|addr| six(addr).into());
        for ends in [four, over_six] {
            for (way, (_, _, options)) in WAYS.iter().enumerate() {
                let what = || format!("{options} for {}", ends[1]);
                goes(&net, &director, ends, way).with_context(what)?;
            }
        }
        no_checksum_was_wrong(&net)?;
        let reasons = director.run("ipvsd reasons")?;
        ensure!(reasons.contains("checksum_completed"), "{reasons}");
        director.stop()?;
        Ok(())
    });
}
