//! What is said of the sync daemon.

use std::net::{IpAddr, Ipv6Addr};

use super::{
    super::{Usage, grammar::Command},
    Args,
    numbers::within,
};
use crate::api::wire::SyncRole;

/// Largest message: what fits into a UDP datagram over IPv4.
const MAX_MESSAGE: u16 = u16::MAX - 20 - 8;

/// The value of a command that has one.
pub(super) fn role(args: &mut Args, value: Option<&str>) -> Result<(), Usage> {
    let wrong = match args.command {
        Command::StartDaemon => "illegal start-daemon parameter specified",
        Command::StopDaemon => "illegal start_daemon specified",
        Command::Add
        | Command::Edit
        | Command::Delete
        | Command::Flush
        | Command::AddServer
        | Command::EditServer
        | Command::DeleteServer
        | Command::List
        | Command::Save
        | Command::Restore
        | Command::Zero
        | Command::Set
        | Command::Help
        | Command::Version => return Ok(()),
    };
    args.daemon.role = match value {
        Some("master") => SyncRole::Master,
        Some("backup") => SyncRole::Backup,
        Some(_) | None => return Err(Usage::mistake(wrong)),
    };
    Ok(())
}

pub(super) fn syncid(text: &str) -> Result<u8, Usage> {
    let number = within(text, 0..=u8::MAX.into()).map(|n| n as u8);
    number.ok_or_else(|| Usage::mistake("illegal syncid specified"))
}

pub(super) fn maxlen(text: &str) -> Result<u16, Usage> {
    let number = within(text, 1..=MAX_MESSAGE.into()).map(|n| n as u16);
    number.ok_or_else(|| Usage::mistake("illegal sync-maxlen specified"))
}

pub(super) fn port(text: &str) -> Result<u16, Usage> {
    let number = within(text, 1..=u16::MAX.into()).map(|n| n as u16);
    number.ok_or_else(|| Usage::mistake("illegal mcast-port specified"))
}

pub(super) fn ttl(text: &str) -> Result<u8, Usage> {
    let number = within(text, 1..=u8::MAX.into()).map(|n| n as u8);
    number.ok_or_else(|| Usage::mistake("illegal mcast-ttl specified"))
}

pub(super) fn group(text: &str) -> Result<IpAddr, Usage> {
    let (family, group) = if text.contains(':') {
        ("IPv6", text.parse::<Ipv6Addr>().ok().map(IpAddr::V6))
    } else {
        ("IPv4", text.parse().ok().map(IpAddr::V4))
    };
    let invalid = || Usage::mistake(format!("invalid {family} mcast-group `{text}'"));
    group.filter(IpAddr::is_multicast).ok_or_else(invalid)
}
