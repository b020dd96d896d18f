//! The configuration file: TOML in, commands and settings out, and every mistake in it with place and advice.
//!
//! Knows the model's commands, because that is what a file comes down to. Must not know the daemon, maps or sockets.

mod api;
mod diagnostic;
mod director;
mod incremental;
mod interface;
mod matches;
mod problems;
mod section;
mod service;
mod sysctl;

pub use api::{Access, Api};
pub use diagnostic::{Diagnostic, Position};
pub use incremental::Reader;
pub use interface::{Interface, Mode};

pub use crate::timeouts::Timeouts;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use ipvs_common::{Service, Settings, maps::Capacities};
use toml::de::DeTable;

use crate::{
    carries::Carries,
    model::{Command, DestKey, DestSpec, Limits, MatchRules, Model, ServiceSpec},
};
use ipvs_common::ServiceKey;
use problems::Problems;
use section::Section;

/// A file without mistakes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// `[director]`
    pub capacities: Capacities,
    /// `[director.timeouts]`
    pub timeouts: Timeouts,
    /// ICMP errors that each CPU may send in a second; 0: no limit.
    pub icmp_rate: Option<u32>,
    /// `[sysctl]`: names and values, which a director takes.
    pub sysctls: Vec<(String, String)>,
    /// `[interface.NAME]`, by name.
    pub interfaces: BTreeMap<String, Interface>,
    /// `[api]`
    pub api: Api,
    /// `[[match]]`, in the order of the file.
    pub matches: MatchRules,
    /// `[[service]]`, in the order of the file. Shared, because those that stay the same from one reading to the next are.
    pub services: Vec<Arc<ServiceConfig>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceConfig {
    pub key: ServiceKey,
    pub spec: ServiceSpec,
    /// `[[service.real]]`, in the order of the file.
    pub reals: Vec<(DestKey, DestSpec)>,
}

impl Config {
    /// That of a file without a line.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            capacities: Capacities::DEFAULT,
            timeouts: Timeouts::default(),
            icmp_rate: None,
            sysctls: Vec::new(),
            api: Api::default(),
            interfaces: BTreeMap::new(),
            matches: MatchRules::from([]),
            services: Vec::new(),
        }
    }

    /// The commands that make an empty director the configured one. As with `ipvsadm`, what comes later in the file is newer.
    #[must_use]
    pub fn commands(&self) -> Vec<Command> {
        let matches = (!self.matches.is_empty()).then(|| Command::SetMatches {
            rules: Arc::clone(&self.matches),
        });
        let services = self.services.iter().flat_map(|s| s.commands());
        matches.into_iter().chain(services).collect()
    }

    /// Puts the configured settings in the place of the defaults.
    pub fn adjust(&self, settings: &mut Settings) {
        self.timeouts.put(settings);
        settings.icmp_rate = self.icmp_rate.unwrap_or(settings.icmp_rate);
    }
}

impl ServiceConfig {
    /// The commands that make it.
    pub fn commands(&self) -> impl Iterator<Item = Command> + '_ {
        let (service, spec) = (self.key, self.spec);
        let reals = self
            .reals
            .iter()
            .map(move |&(dest, spec)| Command::AddDest {
                service,
                dest,
                spec,
            });
        std::iter::once(Command::AddService { service, spec }).chain(reals)
    }
}

/// Reads a file. All of its mistakes come back, in the order of the file.
pub fn load(path: &Path) -> Result<Config, Vec<Diagnostic>> {
    Reader::default().load(path)
}

/// What is in a file.
pub fn text_of(path: &Path) -> Result<String, Diagnostic> {
    std::fs::read_to_string(path).map_err(|e| Diagnostic {
        file: path.display().to_string(),
        position: None,
        message: format!("cannot read it: {e}"),
        hint: "name a readable TOML file".to_owned(),
    })
}

/// How many mistakes there are, in words.
#[must_use]
pub fn counted(mistakes: usize) -> String {
    match mistakes {
        1 => "a mistake".to_owned(),
        n => format!("{n} mistakes"),
    }
}

/// Reads a text that is said to be from `file`.
pub fn parse(file: &str, text: &str) -> Result<Config, Vec<Diagnostic>> {
    parse_for(Carries::DATAPATH, file, text)
}

/// The same for a datapath that carries something else than this build's.
pub fn parse_for(carries: Carries, file: &str, text: &str) -> Result<Config, Vec<Diagnostic>> {
    let mut problems = Problems::new(file, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for e in errors {
        let hint = "this is no TOML; see https://toml.io";
        problems.report(e.span().unwrap_or(0..0), e.message(), hint);
    }
    // What follows a broken line would be misunderstood, so other mistakes are looked for once it is TOML.
    problems.stop_if_any()?;
    let root = Section::new(table.get_ref(), "the file", table.span());
    let mut config = read_head(&root, &mut problems);
    let services = service::read(&root, &mut problems);
    check_together(&services, limits(config.capacities), carries, &mut problems);
    problems.stop_if_any()?;
    config.services = services.into_iter().map(|s| Arc::new(s.config)).collect();
    Ok(config)
}

/// Everything but the services.
fn read_head(root: &Section<'_>, problems: &mut Problems<'_>) -> Config {
    root.only_known(
        &["api", "director", "interface", "match", "service", "sysctl"],
        problems,
    );
    let director = director::read(root, problems);
    Config {
        capacities: director.capacities,
        timeouts: director.timeouts,
        icmp_rate: director.icmp_rate,
        api: api::read(root, problems),
        interfaces: interface::read(root, problems),
        sysctls: sysctl::read(root, problems),
        matches: matches::read(root, problems),
        services: Vec::new(),
    }
}

const fn limits(capacities: Capacities) -> Limits {
    Limits {
        services: capacities.services,
        dests: capacities.dests,
        dests_per_service: Service::MAX_DESTS,
        maglev: capacities.maglev,
    }
}

/// What only the whole can break: the model is asked. It knows the rules that single keys do not show.
fn check_together(
    services: &[service::Located],
    limits: Limits,
    carries: Carries,
    problems: &mut Problems<'_>,
) {
    if problems.any() {
        return;
    }
    let mut model = Model::new(limits);
    for located in services {
        for command in located.config.commands() {
            if let Err(e) = model.apply(&command) {
                let hint = "leave some out, or raise the table's size in [director]";
                problems.report(located.span.clone(), e.to_string(), hint);
                return;
            }
            if let Err(e) = carries.check(&command) {
                let hint = "leave it out: no packet would be handled as it says";
                problems.report(located.span.clone(), e.to_string(), hint);
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests;
