//! The daemon's refusals in the words of the original.

use crate::api::wire::{Error, ErrorCode};

/// Of one of many commands that were to be carried out as a whole.
pub(super) fn text_of_one(e: &Error, count: usize) -> &str {
    let text = text(e);
    let number = e.command.unwrap_or_default();
    let one = text.strip_prefix(&format!("command {number} of {count}: "));
    let one = one.and_then(|t| t.strip_suffix("; none was carried out"));
    one.unwrap_or(text)
}

pub(super) fn text(e: &Error) -> &str {
    match e.code {
        ErrorCode::ServiceExists => "Service already exists",
        ErrorCode::NoService => "No such service",
        ErrorCode::ServiceUndefined => "Service not defined",
        ErrorCode::DestExists => "Destination already exists",
        ErrorCode::NoDest => "No such destination",
        ErrorCode::UnknownScheduler | ErrorCode::UnknownEngine => {
            "Scheduler or persistence engine not found"
        }
        ErrorCode::SyncRuns => "Daemon has already run",
        ErrorCode::NoSync => "No daemon is running",
        ErrorCode::NoDevice => "No such device",
        ErrorCode::Range => "Numerical result out of range",
        ErrorCode::Invalid => {
            "Invalid operation.  Possibly wrong module version, address not unicast, ..."
        }
        ErrorCode::Full => "Memory allocation problem",
        ErrorCode::UnknownSysctl
        | ErrorCode::DoesNotApply
        | ErrorCode::NotCarried
        | ErrorCode::Tables
        | ErrorCode::Config
        | ErrorCode::Pending
        | ErrorCode::ReadOnly
        | ErrorCode::Interface
        | ErrorCode::BadRequest
        | ErrorCode::Other => &e.message,
    }
}
