//! Entries to bytes: collects them until a datagram is full.

use std::net::{IpAddr, SocketAddr};

use super::{Entry, HEADER, HEADER_V0, TYPE_V6, Version, option};

/// The datagram that is being filled.
#[derive(Clone, Debug)]
pub struct Writer {
    version: Version,
    syncid: u8,
    /// Longest datagram. One entry always fits.
    maxlen: usize,
    bytes: Vec<u8>,
    count: u8,
}

impl Writer {
    #[must_use]
    pub fn new(version: Version, syncid: u8, maxlen: usize) -> Self {
        let mut this = Self {
            version,
            syncid,
            maxlen,
            bytes: Vec::new(),
            count: 0,
        };
        this.begin();
        this
    }

    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Adds an entry. The datagram that it did not fit into any more comes back. What the version cannot say is left out.
    pub fn put(&mut self, entry: &Entry) -> Option<Vec<u8>> {
        let bytes = match self.version {
            Version::Zero => entry_v0(entry),
            Version::One => entry_v1(entry),
        };
        let bytes = bytes?;
        let full = self.count == u8::MAX || self.padded() + bytes.len() > self.maxlen;
        let done = if full { self.take() } else { None };
        self.bytes.resize(self.padded(), 0);
        self.bytes.extend_from_slice(&bytes);
        self.count += 1;
        done
    }

    /// The datagram as far as it is; `None`: nothing is in it.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        if self.count == 0 {
            return None;
        }
        let mut done = std::mem::take(&mut self.bytes);
        let size = (done.len() as u16).to_be_bytes();
        done[2..4].copy_from_slice(&size);
        match self.version {
            Version::Zero => done[0] = self.count,
            Version::One => done[4] = self.count,
        }
        self.begin();
        Some(done)
    }

    fn begin(&mut self) {
        self.count = 0;
        self.bytes = match self.version {
            Version::Zero => vec![0; HEADER_V0],
            Version::One => vec![0; HEADER],
        };
        self.bytes[1] = self.syncid;
        if self.version == Version::One {
            self.bytes[5] = 1;
        }
    }

    /// Where the next entry begins.
    const fn padded(&self) -> usize {
        self.bytes.len().next_multiple_of(4)
    }
}

fn entry_v1(e: &Entry) -> Option<Vec<u8>> {
    let (kind, addrs) = addresses(e)?;
    let mut options = Vec::new();
    if let Some(seq) = &e.seq {
        push_option(&mut options, option::SEQ, seq)?;
    }
    if let Some(engine) = &e.engine {
        push_option(&mut options, option::ENGINE_DATA, &engine.data)?;
        push_option(&mut options, option::ENGINE_NAME, &engine.name)?;
    }
    let len = super::FIXED + addrs.len() + options.len();
    let mut bytes = vec![kind, e.proto];
    bytes.extend((len as u16).to_be_bytes());
    bytes.extend(e.flags.to_be_bytes());
    bytes.extend(e.state.to_be_bytes());
    for socket in [e.client, e.virt, e.real] {
        bytes.extend(socket.port().to_be_bytes());
    }
    bytes.extend(e.mark.to_be_bytes());
    bytes.extend(e.timeout.unwrap_or_default().to_be_bytes());
    bytes.extend(addrs);
    bytes.extend(options);
    Some(bytes)
}

/// Type, and the three addresses.
fn addresses(e: &Entry) -> Option<(u8, Vec<u8>)> {
    let all = [e.client, e.virt, e.real].map(|a| a.ip());
    let v4 = all.iter().all(IpAddr::is_ipv4);
    if !v4 && all.iter().any(IpAddr::is_ipv4) {
        return None;
    }
    let bytes = all.iter().flat_map(|ip| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    });
    Some((if v4 { 0 } else { TYPE_V6 }, bytes.collect()))
}

/// `None`: too long for an option.
fn push_option(options: &mut Vec<u8>, kind: u8, data: &[u8]) -> Option<()> {
    if !data.is_empty() {
        options.extend([kind, u8::try_from(data.len()).ok()?]);
        options.extend(data);
    }
    Some(())
}

fn entry_v0(e: &Entry) -> Option<Vec<u8>> {
    let mut bytes = vec![0, e.proto];
    for socket in [e.client, e.virt, e.real] {
        bytes.extend(socket.port().to_be_bytes());
    }
    for socket in [e.client, e.virt, e.real] {
        let SocketAddr::V4(socket) = socket else {
            return None;
        };
        bytes.extend(socket.ip().octets());
    }
    bytes.extend((e.flags as u16).to_be_bytes());
    bytes.extend(e.state.to_be_bytes());
    bytes.extend(e.seq.iter().flatten());
    Some(bytes)
}
