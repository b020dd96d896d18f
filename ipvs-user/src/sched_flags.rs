//! The schedulers' own flags (`ipvsadm -b`): three bits that each scheduler may give a meaning and a name.

use ipvs_common::{Scheduler, ServiceFlags};

/// A name, its bit, and the scheduler that the name is for; `None`: for all of them.
const FLAGS: [(&str, u8, Option<Scheduler>); 7] = [
    ("flag-1", ServiceFlags::FALLBACK, None),
    ("flag-2", ServiceFlags::PORT, None),
    ("flag-3", ServiceFlags::SCHED_3, None),
    ("sh-fallback", ServiceFlags::FALLBACK, Some(Scheduler::Sh)),
    ("sh-port", ServiceFlags::PORT, Some(Scheduler::Sh)),
    ("mh-fallback", ServiceFlags::FALLBACK, Some(Scheduler::Mh)),
    ("mh-port", ServiceFlags::PORT, Some(Scheduler::Mh)),
];

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SchedFlagError {
    #[error("no scheduler flag `{flag}`")]
    Unknown { flag: String },
    #[error("scheduler flag `{flag}` is for {}, not for {scheduler}", of.name())]
    Incompatible {
        flag: String,
        of: Scheduler,
        /// The service's scheduler.
        scheduler: String,
    },
}

/// The bit of a name under a scheduler. `scheduler` need not be a known one.
pub fn bit(flag: &str, scheduler: &str) -> Result<u8, SchedFlagError> {
    let found = FLAGS.iter().find(|(name, ..)| *name == flag);
    match found {
        None => Err(SchedFlagError::Unknown {
            flag: flag.to_owned(),
        }),
        Some((.., Some(of))) if of.name() != scheduler => Err(SchedFlagError::Incompatible {
            flag: flag.to_owned(),
            of: *of,
            scheduler: scheduler.to_owned(),
        }),
        Some((_, bit, _)) => Ok(*bit),
    }
}

/// Bits of several names.
pub fn bits<'a>(
    flags: impl IntoIterator<Item = &'a str>,
    scheduler: &str,
) -> Result<u8, SchedFlagError> {
    let mut flags = flags.into_iter();
    flags.try_fold(0, |bits, flag| Ok(bits | bit(flag, scheduler)?))
}

/// The names of bits under a scheduler: its own where it has one.
#[must_use]
pub fn names(bits: u8, scheduler: Scheduler) -> Vec<&'static str> {
    let of_bit = |bit: u8| {
        let own = |of: &Option<Scheduler>| *of == Some(scheduler);
        let mut named = FLAGS.iter().filter(|(_, b, _)| *b == bit);
        let generic = named.clone().find(|(.., of)| of.is_none());
        named.find(|(.., of)| own(of)).or(generic)
    };
    let all = [
        ServiceFlags::FALLBACK,
        ServiceFlags::PORT,
        ServiceFlags::SCHED_3,
    ];
    let set = all.into_iter().filter(|bit| bits & bit != 0);
    set.filter_map(of_bit).map(|(name, ..)| *name).collect()
}

/// Every name that a scheduler takes.
#[must_use]
pub fn known(scheduler: &str) -> Vec<&'static str> {
    let takes = |of: &Option<Scheduler>| of.is_none_or(|of| of.name() == scheduler);
    let taken = FLAGS.iter().filter(|(.., of)| takes(of));
    taken.map(|(name, ..)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheduler_shows_its_own_names_and_takes_both() {
        let all = ServiceFlags::SCHED;
        assert_eq!(
            names(all, Scheduler::Sh),
            ["sh-fallback", "sh-port", "flag-3"]
        );
        assert_eq!(
            names(all, Scheduler::Mh),
            ["mh-fallback", "mh-port", "flag-3"]
        );
        assert_eq!(names(all, Scheduler::Rr), ["flag-1", "flag-2", "flag-3"]);
        for scheduler in Scheduler::ALL {
            let name = scheduler.name();
            assert_eq!(bits(names(all, *scheduler), name), Ok(all), "{name}");
            assert_eq!(bits(known(name), name), Ok(all), "{name}");
        }
    }

    #[test]
    fn a_flag_of_another_scheduler_is_told_from_an_unknown_one() {
        let other = bits(["flag-1", "mh-port"], "sh").unwrap_err();
        assert_eq!(
            other.to_string(),
            "scheduler flag `mh-port` is for mh, not for sh"
        );
        let unknown = bits(["sh_port"], "sh").unwrap_err();
        assert_eq!(unknown.to_string(), "no scheduler flag `sh_port`");
    }

    #[test]
    fn what_is_not_a_schedulers_flag_has_no_name() {
        let others = ServiceFlags::PERSISTENT | ServiceFlags::ONE_PACKET;
        assert_eq!(names(others, Scheduler::Sh), [""; 0]);
    }
}
