//! From words to arguments that are each valid by themselves. Reads like popt, which the original uses: short options may be
//! bundled, a value may follow directly or as the next word, other words are left over.

mod numbers;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroU32,
};

use super::{
    Usage,
    grammar::{Command, Opt, Rule, SPELLINGS, Spelling, Value, Word},
    names::{Names, Transport},
};
use crate::api::wire::{Method, Netmask, ServiceId};
use numbers::{number, persistence, timeouts};

/// What was typed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Args {
    pub(super) command: Command,
    pub(super) options: BTreeSet<Opt>,
    pub(super) service: Option<ServiceId>,
    pub(super) scheduler: Option<String>,
    pub(super) persistent: Option<u32>,
    pub(super) netmask: Option<Netmask>,
    pub(super) sched_flags: String,
    /// Real server; its port if one was given.
    pub(super) server: Option<(IpAddr, Option<u16>)>,
    pub(super) method: Method,
    pub(super) weight: u32,
    pub(super) upper: u32,
    pub(super) lower: u32,
    /// Of TCP, of closing TCP and of UDP; 0: as it is.
    pub(super) timeouts: [u32; 3],
}

impl Args {
    const fn new(command: Command) -> Self {
        Self {
            command,
            options: BTreeSet::new(),
            service: None,
            scheduler: None,
            persistent: None,
            netmask: None,
            sched_flags: String::new(),
            server: None,
            method: Method::Droute,
            weight: 1,
            upper: 0,
            lower: 0,
            timeouts: [0; 3],
        }
    }

    pub(super) fn has(&self, opt: Opt) -> bool {
        self.options.contains(&opt)
    }
}

pub(super) fn parse(program: &str, args: &[String], names: &dyn Names) -> Result<Args, Usage> {
    if args.is_empty() {
        return Ok(Args::new(Command::List));
    }
    let mut words = Words::new(args);
    let Some(Ok(Token {
        word: Word::Command(command),
        ..
    })) = words.next()
    else {
        return Err(Usage {
            status: super::REFUSED,
            message: format!("Try `{program} -h' or '{program} --help' for more information."),
        });
    };
    let mut parsed = Args::new(command);
    if matches!(command, Command::Help | Command::Version) {
        return Ok(parsed);
    }
    for token in &mut words {
        take(&mut parsed, &token?, names)?;
    }
    let mut left_over = words.left_over.into_iter();
    if command == Command::Set {
        parsed.timeouts = timeouts(&mut left_over)?;
    }
    if let Some(word) = left_over.next() {
        return Err(Usage::mistake(format!("unexpected argument {word}")));
    }
    check(&parsed)?;
    Ok(parsed)
}

/// An option of the command line with its value.
struct Token<'a> {
    /// The word it came in.
    raw: &'a str,
    word: Word,
    value: Option<&'a str>,
}

/// Splits words into options as popt does.
struct Words<'a> {
    rest: std::slice::Iter<'a, String>,
    /// The word whose short options are being read, and those not read yet.
    bundle: Option<(&'a str, &'a str)>,
    left_over: Vec<&'a str>,
}

impl<'a> Words<'a> {
    fn new(args: &'a [String]) -> Self {
        Self {
            rest: args.iter(),
            bundle: None,
            left_over: Vec::new(),
        }
    }

    fn short(&mut self, raw: &'a str, rest: &'a str) -> Result<Token<'a>, Usage> {
        let mut chars = rest.chars();
        let letter = chars.next();
        let found = SPELLINGS
            .iter()
            .find(|s| s.short.is_some() && s.short == letter);
        let found = found.ok_or_else(|| bad(raw, "unknown option"))?;
        let rest = chars.as_str();
        let direct = (found.value != Value::No && !rest.is_empty())
            .then(|| rest.strip_prefix('=').unwrap_or(rest));
        if direct.is_none() && !rest.is_empty() {
            self.bundle = Some((raw, rest));
        }
        self.with_value(raw, found, direct)
    }

    fn long(&mut self, raw: &'a str, text: &'a str) -> Result<Token<'a>, Usage> {
        let (name, direct) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let found = SPELLINGS
            .iter()
            .find(|s| s.long == name && (direct.is_none() || s.value != Value::No));
        let found = found.ok_or_else(|| bad(raw, "unknown option"))?;
        self.with_value(raw, found, direct)
    }

    fn with_value(
        &mut self,
        raw: &'a str,
        found: &Spelling,
        direct: Option<&'a str>,
    ) -> Result<Token<'a>, Usage> {
        let value = match (direct, found.value) {
            (Some(value), _) => Some(value),
            (None, Value::No) => None,
            (None, Value::Needed) => {
                let next = self.rest.next().map(String::as_str);
                Some(next.ok_or_else(|| bad(raw, "missing argument"))?)
            }
            (None, Value::Possible) => {
                let next = self.rest.as_slice().first();
                next.filter(|w| !w.starts_with('-'))
                    .and_then(|_| self.rest.next())
                    .map(String::as_str)
            }
        };
        Ok(Token {
            raw,
            word: found.word,
            value,
        })
    }
}

/// popt's own complaints come out with another status than the tool's.
fn bad(word: &str, what: &str) -> Usage {
    Usage {
        status: super::REFUSED,
        message: format!("{word}: {what}"),
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = Result<Token<'a>, Usage>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some((raw, rest)) = self.bundle.take() {
            return Some(self.short(raw, rest));
        }
        loop {
            let word = self.rest.next()?.as_str();
            if word == "--" {
                self.left_over
                    .extend(self.rest.by_ref().map(String::as_str));
                return None;
            }
            if let Some(text) = word.strip_prefix("--") {
                return Some(self.long(word, text));
            }
            match word.strip_prefix('-') {
                Some(letters) if !letters.is_empty() => return Some(self.short(word, letters)),
                Some(_) | None => self.left_over.push(word),
            }
        }
    }
}

fn take(args: &mut Args, token: &Token<'_>, names: &dyn Names) -> Result<(), Usage> {
    let value = token.value.unwrap_or_default();
    match token.word {
        Word::Command(_) => {
            return Err(Usage::mistake(format!("invalid option `{}'", token.raw)));
        }
        Word::Sort => {}
        Word::Tcp => {
            set(args, Opt::Service)?;
            args.service = Some(ServiceId::Tcp(virtual_address(
                value,
                Transport::Tcp,
                names,
            )?));
        }
        Word::Udp => {
            set(args, Opt::Service)?;
            args.service = Some(ServiceId::Udp(virtual_address(
                value,
                Transport::Udp,
                names,
            )?));
        }
        Word::Fwmark => {
            set(args, Opt::Service)?;
            let mark = value.parse::<NonZeroU32>();
            let invalid = |_| Usage::mistake(format!("invalid fwmark value `{value}' specified"));
            args.service = Some(ServiceId::Fwmark(mark.map_err(invalid)?));
        }
        Word::Gatewaying => method(args, Method::Droute)?,
        Word::Ipip => method(args, Method::Tunnel)?,
        Word::Masquerading => method(args, Method::Masq)?,
        Word::Plain(opt) => {
            set(args, opt)?;
            plain(args, opt, token.value, names)?;
        }
    }
    Ok(())
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
        Opt::Netmask => {
            let illegal = || Usage::mistake("illegal virtual server persistent mask specified");
            args.netmask = Some(Netmask::Mask(address(text, names).ok_or_else(illegal)?));
        }
        Opt::Server => {
            let transport = args.service.and_then(transport).unwrap_or(Transport::Tcp);
            let illegal = || Usage::mistake("illegal real server address[:port] specified");
            args.server = Some(host_port(text, transport, names).ok_or_else(illegal)?);
        }
        Opt::Weight => args.weight = number(text, "illegal weight specified")?,
        Opt::UThreshold => args.upper = number(text, "illegal u_threshold specified")?,
        Opt::LThreshold => args.lower = number(text, "illegal l_threshold specified")?,
        Opt::TunType if text != "ipip" => {
            return Err(Usage::mistake("illegal tunnel type specified"));
        }
        Opt::SchedFlags => text.clone_into(&mut args.sched_flags),
        Opt::TunType
        | Opt::OnePacket
        | Opt::Numeric
        | Opt::Connection
        | Opt::Service
        | Opt::Forward
        | Opt::Timeout
        | Opt::Stats
        | Opt::Rate
        | Opt::Thresholds
        | Opt::PersistentConn
        | Opt::TunInfo
        | Opt::NoSort
        | Opt::Exact => {}
    }
    Ok(())
}

fn virtual_address(
    text: &str,
    transport: Transport,
    names: &dyn Names,
) -> Result<SocketAddr, Usage> {
    let illegal = || Usage::mistake("illegal virtual server address[:port] specified");
    let (address, port) = host_port(text, transport, names).ok_or_else(illegal)?;
    Ok(SocketAddr::new(address, port.unwrap_or(0)))
}

fn host_port(text: &str, transport: Transport, names: &dyn Names) -> Option<(IpAddr, Option<u16>)> {
    let Some((host, port)) = text.rsplit_once(':') else {
        return Some((address(text, names)?.into(), None));
    };
    let port = match port.parse() {
        Ok(number) => number,
        Err(_) => names.port(port, transport)?,
    };
    Some((address(host, names)?.into(), Some(port)))
}

fn address(host: &str, names: &dyn Names) -> Option<Ipv4Addr> {
    host.parse().ok().or_else(|| names.address(host))
}

/// `None`: a firewall mark service takes any.
pub(super) const fn transport(service: ServiceId) -> Option<Transport> {
    match service {
        ServiceId::Tcp(_) => Some(Transport::Tcp),
        ServiceId::Udp(_) => Some(Transport::Udp),
        ServiceId::Sctp(_) => Some(Transport::Sctp),
        ServiceId::Fwmark(_) | ServiceId::Fwmark6(_) => None,
    }
}

/// Whether command and options go together.
fn check(args: &Args) -> Result<(), Usage> {
    let command = args.command;
    let mut one_of: Option<Opt> = None;
    for opt in Opt::ALL {
        let name = opt.name();
        let message = match (command.rule(opt), args.has(opt)) {
            (Rule::Must, false) => format!(
                "You need to supply the '{name}' option for the '{}' command",
                command.name()
            ),
            (Rule::MustNot, true) => {
                format!(
                    "Illegal '{name}' option with the '{}' command",
                    command.name()
                )
            }
            (Rule::OneOf, true) => match one_of.replace(opt) {
                None => continue,
                Some(other) => format!(
                    "The option '{name}' conflicts with the '{}' option in the '{}' command",
                    other.name(),
                    command.name()
                ),
            },
            (Rule::May, _) | (Rule::Must, true) | (Rule::MustNot | Rule::OneOf, false) => continue,
        };
        return Err(Usage::mistake(message));
    }
    Ok(())
}
