//! Where a thread runs.

use anyhow::Result;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::{Pid, SysconfVar, sysconf},
};

/// This thread, and those that it starts, run on the CPU of this number from here on; counted around where there are fewer.
pub fn stay_on_cpu(cpu: usize) -> Result<()> {
    let online = sysconf(SysconfVar::_NPROCESSORS_ONLN)?.unwrap_or(1);
    let mut one = CpuSet::new();
    one.set(cpu % usize::try_from(online)?)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &one)?)
}
