//! From a configuration as it is to the one in a file, by as few commands as it takes: what is alike is not touched.

use std::collections::{BTreeMap, BTreeSet};

use super::{Config, ServiceConfig};
use crate::model::{Command, DestKey, DestSpec, Model, VirtualService};

impl Config {
    /// The commands that make of `model` what the file says.
    #[must_use]
    pub fn commands_from(&self, model: &Model) -> Vec<Command> {
        let wanted: BTreeSet<_> = self.services.iter().map(|s| s.key).collect();
        let gone = model.services().filter(|s| !wanted.contains(&s.key));
        let mut commands: Vec<_> = gone
            .map(|s| Command::DeleteService { service: s.key })
            .collect();
        for service in &self.services {
            match model.service(&service.key) {
                None => commands.extend(service.commands()),
                Some(known) => service.edit(known, &mut commands),
            }
        }
        commands
    }
}

impl ServiceConfig {
    fn edit(&self, known: &VirtualService, commands: &mut Vec<Command>) {
        let (service, spec) = (self.key, self.spec);
        if known.spec != spec {
            commands.push(Command::EditService {
                service,
                spec,
                keep: 0,
            });
        }
        let wanted: BTreeMap<DestKey, DestSpec> = self.reals.iter().copied().collect();
        let gone = known.dests.iter().filter(|d| !wanted.contains_key(&d.key));
        commands.extend(gone.map(|d| Command::DeleteDest {
            service,
            dest: d.key,
        }));
        let before: BTreeMap<_, _> = known.dests.iter().map(|d| (d.key, d.spec)).collect();
        for &(dest, spec) in &self.reals {
            match before.get(&dest) {
                None => commands.push(Command::AddDest {
                    service,
                    dest,
                    spec,
                }),
                Some(known) if *known != spec => commands.push(Command::EditDest {
                    service,
                    dest,
                    spec,
                }),
                Some(_) => {}
            }
        }
    }
}
