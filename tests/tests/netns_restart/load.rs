//! The load that a restart must not disturb: connections by masquerading and by direct routing over IPv4 and IPv6, and numbered
//! datagrams.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ipvs_tests::{
    echo::{self, Pace, Steady},
    probe::{self, Probe},
    six::six,
    topology::{CLIENT, Director, Topology, VIP, vip},
};

use super::SOON;

/// Connections by each of the two methods, half of them over IPv6.
const EACH: usize = 100;

/// Two TCP services in both families, one by each method, and a masqueraded one of UDP.
pub(super) const SERVICES: [&str; 15] = [
    "ipvsadm -A -t 10.0.0.5:7 -s rr",
    "ipvsadm -a -t 10.0.0.5:7 -r 10.0.1.5 -m",
    "ipvsadm -a -t 10.0.0.5:7 -r 10.0.1.6:8 -m -w 3",
    "ipvsadm -A -t 10.0.0.5:9 -s wlc -p 600",
    "ipvsadm -a -t 10.0.0.5:9 -r 10.0.1.5 -g",
    "ipvsadm -a -t 10.0.0.5:9 -r 10.0.1.6 -g -w 2 -x 5000",
    "ipvsadm -A -t [2001:db8:a00::5]:7 -s rr",
    "ipvsadm -a -t [2001:db8:a00::5]:7 -r 2001:db8:a00:1::5 -m",
    "ipvsadm -a -t [2001:db8:a00::5]:7 -r [2001:db8:a00:1::6]:8 -m -w 3",
    "ipvsadm -A -t [2001:db8:a00::5]:9 -s wlc -p 600",
    "ipvsadm -a -t [2001:db8:a00::5]:9 -r 2001:db8:a00:1::5 -g",
    "ipvsadm -a -t [2001:db8:a00::5]:9 -r 2001:db8:a00:1::6 -g -w 2 -x 5000",
    "ipvsadm -A -u 10.0.0.5:5000 -s wrr",
    "ipvsadm -a -u 10.0.0.5:5000 -r 10.0.1.5 -m",
    "ipvsadm -a -u 10.0.0.5:5000 -r 10.0.1.6 -m",
];

/// The same in a file, but for a weight.
pub(super) const CONFIG: &str = r#"
[[service]]
tcp = "10.0.0.5:7"
scheduler = "rr"
[[service.real]]
address = "10.0.1.5:7"
method = "masq"
[[service.real]]
address = "10.0.1.6:8"
method = "masq"
weight = 3

[[service]]
tcp = "10.0.0.5:9"
scheduler = "wlc"
persistent = 600
[[service.real]]
address = "10.0.1.5:9"
method = "droute"
[[service.real]]
address = "10.0.1.6:9"
method = "droute"
weight = 7

[[service]]
tcp = "[2001:db8:a00::5]:7"
scheduler = "rr"
[[service.real]]
address = "[2001:db8:a00:1::5]:7"
method = "masq"
[[service.real]]
address = "[2001:db8:a00:1::6]:8"
method = "masq"
weight = 3

[[service]]
tcp = "[2001:db8:a00::5]:9"
scheduler = "wlc"
persistent = 600
[[service.real]]
address = "[2001:db8:a00:1::5]:9"
method = "droute"
[[service.real]]
address = "[2001:db8:a00:1::6]:9"
method = "droute"
weight = 7

[[service]]
udp = "10.0.0.5:5000"
scheduler = "wrr"
[[service.real]]
address = "10.0.1.5:5000"
method = "masq"
[[service.real]]
address = "10.0.1.6:5000"
method = "masq"
"#;

/// Servers for [`SERVICES`] on both guests.
pub(super) fn serve(net: &Topology) -> Result<()> {
    net.over_six()?;
    net.guests_take_vip()?;
    net.guests_take_vip_over_six()?;
    for (guest, port) in net.guests.iter().zip([7, 8]) {
        for port in [port, 9] {
            let both = (Ipv6Addr::UNSPECIFIED, port);
            let listener = guest.enter(|| TcpListener::bind(both))?;
            echo::tcp_server(listener, guest.name());
        }
        probe::mirror(guest.udp(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 5000))?)?;
    }
    Ok(())
}

/// What goes on while daemons come and go.
pub(super) struct Load {
    connections: Vec<Steady>,
    probe: Probe,
}

impl Load {
    pub(super) fn start(net: &Topology) -> Result<Self> {
        Self::of(net, EACH)
    }

    pub(super) fn of(net: &Topology, each: usize) -> Result<Self> {
        let mut connections = Vec::new();
        let kinds = [
            (VIP.into(), 7),
            (six(VIP).into(), 9),
            (VIP.into(), 9),
            (six(VIP).into(), 7),
        ];
        for (vip, port) in kinds.into_iter().cycle().take(2 * each) {
            let stream = call(net, SocketAddr::new(vip, port))?;
            connections.push(Steady::at_pace(stream, Pace::GENTLE)?);
        }
        let socket = net.client.udp(SocketAddrV4::new(CLIENT, 0))?;
        socket.connect(vip(5000))?;
        Ok(Self {
            connections,
            probe: Probe::start(socket)?,
        })
    }

    /// Every connection moves.
    pub(super) fn goes_on(&self) -> Result<()> {
        self.connections
            .iter()
            .try_for_each(|c| c.goes_on_for(2, SOON))
    }

    /// Ends it: no connection broke, and no datagram was lost. Returns how many were sent.
    pub(super) fn finish(self) -> Result<u64> {
        let sent = self.probe.finish()?;
        ensure!(sent > 100, "only {sent} datagrams were sent");
        for connection in self.connections {
            connection.finish()?;
        }
        Ok(sent)
    }
}

fn call(net: &Topology, to: SocketAddr) -> Result<TcpStream> {
    let stream = net.client.enter(|| TcpStream::connect_timeout(&to, SOON));
    stream.with_context(|| format!("connecting to {to}"))
}

/// Packets in and out that the UDP service counted.
pub(super) fn datagrams(director: &Director) -> Result<(u64, u64)> {
    let table = director.run("ipvsadm -Ln --stats --exact")?;
    let line = table.lines().find(|l| l.starts_with("UDP"));
    let line = line.with_context(|| format!("no UDP service:\n{table}"))?;
    let numbers: Vec<u64> = line
        .split_whitespace()
        .filter_map(|w| w.parse().ok())
        .collect();
    match numbers[..] {
        [_, packets_in, packets_out, ..] => Ok((packets_in, packets_out)),
        _ => anyhow::bail!("{line}"),
    }
}

/// Long enough for what is under way.
pub(super) const MOMENT: Duration = Duration::from_millis(300);
