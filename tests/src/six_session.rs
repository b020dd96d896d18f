//! Sessions, mostly over IPv6, with servers that send back what they get. Knows nothing of the director.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    six::six,
    topology::{Netns, Topology, VIP},
};

/// Port of the virtual address.
pub const PORT: u16 = 25;

/// A server in a namespace, for both families: tells its name and who calls, then sends back what it gets.
pub fn serve(netns: &Netns, port: u16) -> Result<()> {
    let name = netns.name();
    let listener = netns.enter(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)))?;
    thread::spawn(move || {
        while let Ok((stream, from)) = listener.accept() {
            thread::spawn(move || answer(name, stream, from));
        }
    });
    Ok(())
}

fn answer(name: &str, mut stream: TcpStream, from: SocketAddr) -> Result<()> {
    writeln!(stream, "{name} {}", from.ip().to_canonical())?;
    let mut sender = stream.try_clone()?;
    Ok(std::io::copy(&mut stream, &mut sender).map(|_| ())?)
}

/// A session with a server.
pub struct Session {
    stream: TcpStream,
    /// The server's first line.
    pub line: String,
}

impl Session {
    pub fn begin(net: &Topology) -> Result<Self> {
        Self::begin_with(net, six(VIP).into())
    }

    /// With a virtual address of either family.
    pub fn begin_with(net: &Topology, vip: IpAddr) -> Result<Self> {
        Self::with(net, SocketAddr::new(vip, PORT))
    }

    /// With a server of either family.
    pub fn with(net: &Topology, to: SocketAddr) -> Result<Self> {
        Self::from(&net.client, to)
    }

    /// From any namespace.
    pub fn from(client: &Netns, to: SocketAddr) -> Result<Self> {
        let stream = client
            .enter(|| TcpStream::connect_timeout(&to, Duration::from_secs(5)))
            .with_context(|| format!("connecting to {to}"))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut reader = stream.try_clone()?;
        let (mut line, mut byte) = (Vec::new(), [0]);
        while byte != *b"\n" {
            reader.read_exact(&mut byte).context("the first line")?;
            line.push(byte[0]);
        }
        let line = String::from_utf8(line)?.trim().to_owned();
        Ok(Self { stream, line })
    }

    /// Sends data and takes it back.
    pub fn exchange(&self, bytes: usize) -> Result<()> {
        let data: Vec<u8> = (0..bytes).map(|n| (n * 7 + n / 251) as u8).collect();
        let mut writer = self.stream.try_clone()?;
        let sent = data.clone();
        let sending = thread::spawn(move || writer.write_all(&sent));
        let mut back = vec![0; bytes];
        let mut reader = self.stream.try_clone()?;
        reader.read_exact(&mut back).context("what comes back")?;
        sending.join().map_err(|_| anyhow::anyhow!("sending"))??;
        ensure!(back == data, "other data came back");
        Ok(())
    }
}

/// A session with so much data each way; returns the server's first line.
pub fn call(net: &Topology, bytes: usize) -> Result<String> {
    let session = Session::begin(net)?;
    session.exchange(bytes)?;
    Ok(session.line)
}
