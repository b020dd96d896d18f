//! Bytes to entries. Nothing that comes in makes it panic, or take more than the datagram's own length.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    Datagram, Entry, FIXED, FIXED_V0, HEADER, HEADER_V0, LENGTH, TYPE_V6, Version, flag, option,
};

/// Not a datagram of the sync daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    #[error("shorter than its header")]
    Short,
    #[error("says it has {said} bytes, but has {has}")]
    Length { said: usize, has: usize },
}

/// Reads a datagram. What cannot be understood of its entries is skipped, and counted.
pub fn read(bytes: &[u8]) -> Result<Datagram, Malformed> {
    let mut at = Bytes(bytes);
    let (first, syncid, size) = head(&mut at).ok_or(Malformed::Short)?;
    if usize::from(size) != bytes.len() {
        return Err(Malformed::Length {
            said: size.into(),
            has: bytes.len(),
        });
    }
    // Whether it is of version 1 shows behind the old header.
    let version_1 = first == 0 && bytes.get(5..HEADER) == Some(&[1, 0, 0]);
    if version_1 {
        return Ok(read_v1(bytes, syncid));
    }
    Ok(read_v0(bytes, syncid, first))
}

fn head(at: &mut Bytes<'_>) -> Option<(u8, u8, u16)> {
    Some((at.u8()?, at.u8()?, at.u16()?))
}

fn read_v1(bytes: &[u8], syncid: u8) -> Datagram {
    let count = usize::from(bytes[4]);
    let mut datagram = Datagram {
        syncid,
        version: Version::One,
        entries: Vec::new(),
        skipped: 0,
    };
    let mut rest = &bytes[HEADER..];
    for left in (0..count).rev() {
        let Some((entry, behind)) = split(rest) else {
            // Where the next one begins is not known.
            datagram.skipped += left + 1;
            break;
        };
        match entry_v1(entry) {
            Some(entry) => datagram.entries.push(entry),
            None => datagram.skipped += 1,
        }
        rest = behind;
    }
    datagram
}

/// Cuts one entry off. The next one begins at a multiple of four bytes.
fn split(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let field = u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]);
    let len = usize::from(field & LENGTH);
    // Of another version than 0, or too short to get on.
    if field & !LENGTH != 0 || len < FIXED {
        return None;
    }
    let entry = rest.get(..len)?;
    let behind = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    Some((entry, behind))
}

fn entry_v1(bytes: &[u8]) -> Option<Entry> {
    let mut at = Bytes(bytes);
    let (kind, proto, _) = (at.u8()?, at.u8()?, at.u16()?);
    let (flags, state) = (at.u32()?, at.u16()?);
    let [cport, vport, dport] = [at.u16()?, at.u16()?, at.u16()?];
    let (mark, timeout) = (at.u32()?, at.u32()?);
    let mut addr = || -> Option<IpAddr> {
        Some(if kind & TYPE_V6 == 0 {
            Ipv4Addr::from(at.array()?).into()
        } else {
            Ipv6Addr::from(at.array()?).into()
        })
    };
    let [client, virt, real] = [addr()?, addr()?, addr()?];
    let mut entry = Entry {
        proto,
        flags: flags & flag::TAKEN,
        state,
        client: SocketAddr::new(client, cport),
        virt: SocketAddr::new(virt, vport),
        real: SocketAddr::new(real, dport),
        mark,
        timeout: Some(timeout),
        seq: None,
        engine: None,
    };
    while !at.0.is_empty() {
        take_option(&mut at, &mut entry)?;
    }
    Some(entry)
}

/// `None`: cut off, or not known and not to be skipped.
fn take_option(at: &mut Bytes<'_>, entry: &mut Entry) -> Option<()> {
    let (kind, len) = (at.u8()?, usize::from(at.u8()?));
    let data = at.take(len)?;
    match kind & !option::MAY_SKIP {
        option::SEQ => entry.seq = Some(data.try_into().ok()?),
        option::ENGINE_DATA => entry.engine.get_or_insert_default().data = data.to_vec(),
        option::ENGINE_NAME => entry.engine.get_or_insert_default().name = data.to_vec(),
        _ if kind & option::MAY_SKIP != 0 => {}
        _ => return None,
    }
    Some(())
}

fn read_v0(bytes: &[u8], syncid: u8, count: u8) -> Datagram {
    let mut at = Bytes(&bytes[HEADER_V0..]);
    let count = usize::from(count);
    let mut entries = Vec::new();
    while entries.len() < count
        && let Some(entry) = entry_v0(&mut at)
    {
        entries.push(entry);
    }
    Datagram {
        syncid,
        version: Version::Zero,
        skipped: count - entries.len(),
        entries,
    }
}

fn entry_v0(at: &mut Bytes<'_>) -> Option<Entry> {
    let mut entry = Bytes(at.take(FIXED_V0)?);
    let (_, proto) = (entry.u8()?, entry.u8()?);
    let [cport, vport, dport] = [entry.u16()?, entry.u16()?, entry.u16()?];
    let mut addr = || Some(Ipv4Addr::from(entry.array()?));
    let [client, virt, real] = [addr()?, addr()?, addr()?];
    let (flags, state) = (u32::from(entry.u16()?), entry.u16()?);
    let seq = if flags & (flag::IN_SEQ | flag::OUT_SEQ) == 0 {
        None
    } else {
        Some(at.array()?)
    };
    Some(Entry {
        proto,
        flags: flags & flag::TAKEN,
        state,
        client: SocketAddr::new(client.into(), cport),
        virt: SocketAddr::new(virt.into(), vport),
        real: SocketAddr::new(real.into(), dport),
        mark: 0,
        timeout: None,
        seq,
        engine: None,
    })
}

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }
}
