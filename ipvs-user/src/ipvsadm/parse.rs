//! From words to arguments that are each valid by themselves, and go together with their command.

mod address;
mod daemon;
mod flags;
mod numbers;
mod take;
mod words;

use std::{collections::BTreeSet, net::IpAddr};

use super::{
    Usage,
    grammar::{Command, Opt, Rule, Word},
    names::Names,
};
use crate::api::wire::{Method, Netmask, ServiceId, SyncDaemon, SyncRole, TunnelKind};
pub(super) use address::transport;
use words::{Token, Words};

const DEFAULT_SCHEDULER: &str = "wlc";

/// What was typed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Args {
    pub(super) command: Command,
    pub(super) options: BTreeSet<Opt>,
    pub(super) service: Option<ServiceId>,
    pub(super) scheduler: Option<String>,
    pub(super) persistent: Option<u32>,
    pub(super) netmask: Option<Netmask>,
    pub(super) engine: Option<String>,
    pub(super) sched_flags: Vec<String>,
    /// Real server; its port if one was given.
    pub(super) server: Option<(IpAddr, Option<u16>)>,
    pub(super) method: Method,
    pub(super) weight: u32,
    pub(super) upper: u32,
    pub(super) lower: u32,
    pub(super) tunnel: TunnelKind,
    pub(super) tunnel_port: u16,
    /// Of TCP, of closing TCP and of UDP; 0: as it is.
    pub(super) timeouts: [u32; 3],
    pub(super) daemon: SyncDaemon,
}

impl Args {
    fn new(command: Command) -> Self {
        Self {
            command,
            options: BTreeSet::new(),
            service: None,
            scheduler: None,
            persistent: None,
            netmask: None,
            engine: None,
            sched_flags: Vec::new(),
            server: None,
            method: Method::Droute,
            weight: 1,
            upper: 0,
            lower: 0,
            tunnel: TunnelKind::Ipip,
            tunnel_port: 0,
            timeouts: [0; 3],
            daemon: SyncDaemon::new(SyncRole::Master),
        }
    }

    /// What was named, or what `-A` and `-E` use without.
    pub(super) fn scheduler(&self) -> &str {
        let named = self.scheduler.as_deref().filter(|s| !s.is_empty());
        named.unwrap_or(DEFAULT_SCHEDULER)
    }

    pub(super) fn has(&self, opt: Opt) -> bool {
        self.options.contains(&opt)
    }
}

pub(super) fn try_help(program: &str) -> String {
    format!("Try `{program} -h' or '{program} --help' for more information.")
}

pub(super) fn parse(program: &str, args: &[String], names: &dyn Names) -> Result<Args, Usage> {
    if args.is_empty() {
        return Ok(Args::new(Command::List));
    }
    let mut words = Words::new(args);
    let Some(Ok(Token {
        word: Word::Command(command),
        value,
        ..
    })) = words.next()
    else {
        return Err(Usage {
            status: super::REFUSED,
            message: try_help(program),
        });
    };
    let mut parsed = Args::new(command);
    if matches!(command, Command::Help | Command::Version) {
        return Ok(parsed);
    }
    daemon::role(&mut parsed, value)?;
    let mut mask = None;
    for token in &mut words {
        take::take(&mut parsed, &mut mask, &token?, names)?;
    }
    if let Some(mask) = mask
        && parsed.service.is_some_and(ServiceId::is_v6)
    {
        parsed.netmask = Some(address::netmask(parsed.service, &mask, names)?);
    }
    let mut left_over = words.left_over.into_iter();
    if command == Command::Set {
        parsed.timeouts = numbers::timeouts(&mut left_over)?;
    }
    if let Some(word) = left_over.next() {
        return Err(Usage::mistake(format!("unexpected argument {word}")));
    }
    flags::check(&parsed)?;
    let of = format!("'{}' command", command.name());
    check(&of, |opt| command.rule(opt), &Opt::ALL, &parsed)?;
    Ok(parsed)
}

/// Whether options go together with what they are given to, which is called `of`.
pub(super) fn check(
    of: &str,
    rule: impl Fn(Opt) -> Rule,
    options: &[Opt],
    args: &Args,
) -> Result<(), Usage> {
    let mut one_of: Option<Opt> = None;
    for &opt in options {
        let name = opt.name();
        let message = match (rule(opt), args.has(opt)) {
            (Rule::Must, false) => {
                format!("You need to supply the '{name}' option for the {of}")
            }
            (Rule::MustNot, true) => format!("Illegal '{name}' option with the {of}"),
            (Rule::OneOf, true) => match one_of.replace(opt) {
                None => continue,
                Some(other) => format!(
                    "The option '{name}' conflicts with the '{}' option in the {of}",
                    other.name(),
                ),
            },
            (Rule::May, _) | (Rule::Must, true) | (Rule::MustNot | Rule::OneOf, false) => continue,
        };
        return Err(Usage::mistake(message));
    }
    Ok(())
}
