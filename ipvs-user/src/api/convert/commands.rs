//! Commands, on the wire and in the model.

use super::{dest_key, matches, service_id, service_key, spec, wire};
use crate::model::Command;

pub(in crate::api) fn command(c: &wire::Command) -> Result<Command, wire::Error> {
    Ok(match c {
        wire::Command::AddService { service, spec } => Command::AddService {
            service: service_key(*service)?,
            spec: spec::service_spec(*service, spec)?,
        },
        wire::Command::EditService { service, spec } => Command::EditService {
            service: service_key(*service)?,
            spec: spec::service_spec(*service, spec)?,
            keep: spec::unsaid_policies(spec),
        },
        wire::Command::DeleteService { service } => Command::DeleteService {
            service: service_key(*service)?,
        },
        wire::Command::Flush => Command::Flush,
        wire::Command::AddDest {
            service,
            dest,
            spec,
        } => Command::AddDest {
            service: service_key(*service)?,
            dest: dest_key(*dest)?,
            spec: spec::dest_spec(spec),
        },
        wire::Command::EditDest {
            service,
            dest,
            spec,
        } => Command::EditDest {
            service: service_key(*service)?,
            dest: dest_key(*dest)?,
            spec: spec::dest_spec(spec),
        },
        wire::Command::DeleteDest { service, dest } => Command::DeleteDest {
            service: service_key(*service)?,
            dest: dest_key(*dest)?,
        },
        wire::Command::Zero { service } => Command::Zero {
            service: service.map(service_key).transpose()?,
        },
        wire::Command::SetMatches { matches } => Command::SetMatches {
            rules: matches::rules(matches)?,
        },
    })
}

/// The way back, for those who are told what happened.
pub(in crate::api) fn shown_command(c: &Command) -> wire::Command {
    match c {
        Command::AddService { service, spec } => wire::Command::AddService {
            service: service_id(service),
            spec: spec::shown(service_id(service), spec),
        },
        Command::EditService { service, spec, .. } => wire::Command::EditService {
            service: service_id(service),
            spec: spec::shown(service_id(service), spec),
        },
        Command::DeleteService { service } => wire::Command::DeleteService {
            service: service_id(service),
        },
        Command::Flush => wire::Command::Flush,
        Command::AddDest {
            service,
            dest,
            spec,
        } => wire::Command::AddDest {
            service: service_id(service),
            dest: dest.socket(),
            spec: spec::dest_shown(spec),
        },
        Command::EditDest {
            service,
            dest,
            spec,
        } => wire::Command::EditDest {
            service: service_id(service),
            dest: dest.socket(),
            spec: spec::dest_shown(spec),
        },
        Command::DeleteDest { service, dest } => wire::Command::DeleteDest {
            service: service_id(service),
            dest: dest.socket(),
        },
        Command::Zero { service } => wire::Command::Zero {
            service: service.as_ref().map(service_id),
        },
        Command::SetMatches { rules } => wire::Command::SetMatches {
            matches: matches::shown_rules(rules),
        },
    }
}
