//! The load that a restart must not disturb: connections by masquerading and by direct routing, and numbered datagrams.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ipvs_tests::{
    echo::{self, Pace, Steady},
    probe::{self, Probe},
    topology::{CLIENT, Director, Topology, vip},
};

use super::SOON;

/// Connections by each of the two methods.
const EACH: usize = 100;

/// Two TCP services, one by each method, and a masqueraded one of UDP.
pub(super) const SERVICES: [&str; 9] = [
    "ipvsadm -A -t 10.0.0.5:7 -s rr",
    "ipvsadm -a -t 10.0.0.5:7 -r 10.0.1.5 -m",
    "ipvsadm -a -t 10.0.0.5:7 -r 10.0.1.6:8 -m -w 3",
    "ipvsadm -A -t 10.0.0.5:9 -s wlc -p 600",
    "ipvsadm -a -t 10.0.0.5:9 -r 10.0.1.5 -g",
    "ipvsadm -a -t 10.0.0.5:9 -r 10.0.1.6 -g -w 2 -x 5000",
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
    net.guests_take_vip()?;
    for (guest, port) in net.guests.iter().zip([7, 8]) {
        for port in [port, 9] {
            let on = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
            echo::tcp_server(guest.listen(on)?, guest.name());
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
        for port in [7, 9].into_iter().cycle().take(2 * each) {
            let stream = net.client.connect(CLIENT, vip(port))?;
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
