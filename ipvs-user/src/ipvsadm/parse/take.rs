//! One option of the command line into the arguments.

use std::num::NonZeroU32;

use super::{
    super::{
        Usage,
        grammar::{Opt, Word},
        names::{Names, Transport},
    },
    Args,
    address::{self, transport},
    daemon, flags,
    numbers::{number, persistence, within},
    words::Token,
};
use crate::api::wire::{Method, ServiceId, TunnelKind};

/// A netmask is understood anew once the service's family is known, so its text is put aside.
pub(super) fn take(
    args: &mut Args,
    mask: &mut Option<String>,
    token: &Token<'_>,
    names: &dyn Names,
) -> Result<(), Usage> {
    let value = token.value.unwrap_or_default();
    match token.word {
        Word::Command(_) => {
            return Err(Usage::mistake(format!("invalid option `{}'", token.raw)));
        }
        Word::Sort => {}
        Word::Tcp => addressed(args, ServiceId::Tcp, value, Transport::Tcp, names)?,
        Word::Udp => addressed(args, ServiceId::Udp, value, Transport::Udp, names)?,
        Word::Sctp => addressed(args, ServiceId::Sctp, value, Transport::Sctp, names)?,
        Word::Fwmark => {
            set(args, Opt::Service)?;
            let mark = value.trim_start().parse::<NonZeroU32>();
            let invalid = |_| Usage::mistake(format!("invalid fwmark value `{value}' specified"));
            args.service = Some(ServiceId::Fwmark(mark.map_err(invalid)?));
        }
        Word::Ipv6 => args.service = Some(of_ipv6(args.service)?),
        Word::Gatewaying => method(args, Method::Droute)?,
        Word::Ipip => method(args, Method::Tunnel)?,
        Word::Masquerading => method(args, Method::Masq)?,
        Word::Plain(Opt::Netmask) => {
            set(args, Opt::Netmask)?;
            args.netmask = Some(address::netmask(args.service, value, names)?);
            *mask = Some(value.to_owned());
        }
        Word::Plain(opt) => {
            set(args, opt)?;
            plain(args, opt, token.value, names)?;
        }
    }
    Ok(())
}

fn addressed(
    args: &mut Args,
    id: fn(std::net::SocketAddr) -> ServiceId,
    value: &str,
    transport: Transport,
    names: &dyn Names,
) -> Result<(), Usage> {
    set(args, Opt::Service)?;
    args.service = Some(id(address::service(value, transport, names)?));
    Ok(())
}

/// `-6` says so of a mark that was named before it.
fn of_ipv6(service: Option<ServiceId>) -> Result<ServiceId, Usage> {
    match service {
        Some(ServiceId::Fwmark(mark) | ServiceId::Fwmark6(mark)) => Ok(ServiceId::Fwmark6(mark)),
        Some(ServiceId::Tcp(_) | ServiceId::Udp(_) | ServiceId::Sctp(_)) | None => {
            Err(Usage::mistake("-6 used before -f\n"))
        }
    }
}

fn method(args: &mut Args, method: Method) -> Result<(), Usage> {
    set(args, Opt::Forward)?;
    args.method = method;
    Ok(())
}

fn set(args: &mut Args, opt: Opt) -> Result<(), Usage> {
    if args.options.insert(opt) {
        return Ok(());
    }
    Err(Usage::mistake(format!(
        "multiple '{}' options specified",
        opt.name()
    )))
}

fn plain(args: &mut Args, opt: Opt, value: Option<&str>, names: &dyn Names) -> Result<(), Usage> {
    let text = value.unwrap_or_default();
    match opt {
        Opt::Scheduler => args.scheduler = Some(text.to_owned()),
        Opt::Persistent => args.persistent = Some(persistence(value)?),
        Opt::Engine => args.engine = Some(text.to_owned()).filter(|name| !name.is_empty()),
        Opt::Server => {
            let transport = args.service.and_then(transport).unwrap_or(Transport::Tcp);
            let illegal = || Usage::mistake("illegal real server address[:port] specified");
            let found = address::host_port(text, transport, names);
            args.server = Some(found.ok_or_else(illegal)?);
        }
        Opt::Weight => args.weight = number(text, "illegal weight specified")?,
        Opt::UThreshold => args.upper = number(text, "illegal u_threshold specified")?,
        Opt::LThreshold => args.lower = number(text, "illegal l_threshold specified")?,
        Opt::TunType => args.tunnel = tunnel(text)?,
        Opt::TunPort => {
            let port = within(text, 1..=u16::MAX.into());
            let illegal = || Usage::mistake("illegal tunnel port specified");
            args.tunnel_port = port.ok_or_else(illegal)? as u16;
        }
        Opt::SchedFlags => args.sched_flags = flags::split(text),
        Opt::McastInterface => text.clone_into(&mut args.daemon.interface),
        Opt::SyncId => args.daemon.syncid = daemon::syncid(text)?,
        Opt::SyncMaxlen => args.daemon.maxlen = Some(daemon::maxlen(text)?),
        Opt::McastGroup => args.daemon.group = daemon::group(text)?,
        Opt::McastPort => args.daemon.port = daemon::port(text)?,
        Opt::McastTtl => args.daemon.ttl = daemon::ttl(text)?,
        Opt::Netmask
        | Opt::OnePacket
        | Opt::Numeric
        | Opt::Connection
        | Opt::Service
        | Opt::Forward
        | Opt::Timeout
        | Opt::Daemon
        | Opt::Stats
        | Opt::Rate
        | Opt::Thresholds
        | Opt::PersistentConn
        | Opt::NoSort
        | Opt::Exact
        | Opt::TunInfo
        | Opt::TunNocsum
        | Opt::TunCsum
        | Opt::TunRemcsum
        | Opt::Partial => {}
    }
    Ok(())
}

fn tunnel(name: &str) -> Result<TunnelKind, Usage> {
    match name {
        "ipip" => Ok(TunnelKind::Ipip),
        "gue" => Ok(TunnelKind::Gue),
        "gre" => Ok(TunnelKind::Gre),
        _ => Err(Usage::mistake("illegal tunnel type specified")),
    }
}
