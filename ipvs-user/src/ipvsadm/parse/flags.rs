//! The scheduler's flags, which are looked at once the scheduler is known.

use super::{super::Usage, Args};
use crate::sched_flags::{self, SchedFlagError};

pub(super) fn split(list: &str) -> Vec<String> {
    let flags = list.split(',').filter(|flag| !flag.is_empty());
    flags.map(str::to_owned).collect()
}

pub(super) fn check(args: &Args) -> Result<(), Usage> {
    for flag in &args.sched_flags {
        sched_flags::bit(flag, args.scheduler()).map_err(|e| {
            let what = match e {
                SchedFlagError::Unknown { .. } => "invalid",
                SchedFlagError::Incompatible { .. } => "incompatible",
            };
            Usage::mistake(format!("{what} scheduler flag `{flag}'"))
        })?;
    }
    Ok(())
}
