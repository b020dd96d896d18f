//! The daemon's refusals in the words of the original.

use crate::api::wire::{Error, ErrorCode};

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
