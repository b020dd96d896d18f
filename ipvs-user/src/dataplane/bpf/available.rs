//! How much memory this process can still get: what the machine has, or the control groups it is in.
//!
//! Knows the files in which the kernel tells it, in both of their versions.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use super::memory::megabytes;

/// Memory to be had, and who sets the limit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Available {
    pub bytes: u64,
    /// `None`: the machine.
    group: Option<PathBuf>,
}

impl fmt::Display for Available {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = megabytes(self.bytes);
        match &self.group {
            None => write!(f, "{megabytes} MB are available"),
            Some(group) => write!(
                f,
                "the control group {} has {megabytes} MB left",
                group.display()
            ),
        }
    }
}

impl Available {
    pub(super) const fn on_machine(bytes: u64) -> Self {
        Self { bytes, group: None }
    }

    /// Here and now. What the kernel does not tell sets no limit.
    #[must_use]
    pub fn now() -> Self {
        let machine = fs::read_to_string("/proc/meminfo");
        let machine = machine.ok().and_then(|text| of_machine(&text));
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let groups = groups(&own, &mounts);
        let groups = groups.into_iter().filter_map(|(group, version)| {
            Some(Self {
                bytes: version.left(&group)?,
                group: Some(group),
            })
        });
        let machine = Self::on_machine(machine.unwrap_or(u64::MAX));
        groups.fold(machine, |least, group| {
            if group.bytes < least.bytes {
                group
            } else {
                least
            }
        })
    }
}

fn of_machine(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

/// The interface of control groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Version {
    One,
    Two,
}

impl Version {
    /// Files of limit and usage, and the line of the statistics that tells what of the usage could be given up.
    const fn files(self) -> [&'static str; 3] {
        match self {
            Self::One => [
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "total_inactive_file",
            ],
            Self::Two => ["memory.max", "memory.current", "inactive_file"],
        }
    }

    /// What a group has left; `None` without a limit.
    fn left(self, group: &Path) -> Option<u64> {
        let [limit, usage, cache] = self.files();
        let read = |file| fs::read_to_string(group.join(file)).ok();
        let statistics = read("memory.stat").unwrap_or_default();
        left(&read(limit)?, &read(usage)?, &statistics, cache)
    }
}

fn left(limit: &str, usage: &str, statistics: &str, cache: &str) -> Option<u64> {
    // Without a limit version 2 has the word "max", and version 1 a number that no machine reaches.
    let limit: u64 = limit.trim().parse().ok()?;
    let usage: u64 = usage.trim().parse().ok()?;
    let mut lines = statistics.lines().filter_map(|l| l.split_once(' '));
    let cache = lines.find(|(name, _)| *name == cache);
    let cache: u64 = cache.map_or(0, |(_, bytes)| bytes.trim().parse().unwrap_or(0));
    Some(limit.saturating_sub(usage.saturating_sub(cache)))
}

/// The directories of all groups that this process is in, down from the root of each hierarchy, as far as they limit memory.
fn groups(own: &str, mounts: &str) -> Vec<(PathBuf, Version)> {
    let mounted = |version| {
        let mut each = mounts.lines().map(|l| l.split(' ').collect::<Vec<_>>());
        let found = each.find(|m| match (m.get(2), version) {
            (Some(&"cgroup2"), Version::Two) => true,
            (Some(&"cgroup"), Version::One) => {
                let options = m.get(3).copied().unwrap_or_default();
                options.split(',').any(|o| o == "memory")
            }
            _ => false,
        });
        found.and_then(|m| m.get(1).map(|path| PathBuf::from(*path)))
    };
    let mut groups = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let version = match controllers {
            "" => Version::Two,
            names if names.split(',').any(|n| n == "memory") => Version::One,
            _ => continue,
        };
        let Some(mut dir) = mounted(version) else {
            continue;
        };
        groups.push((dir.clone(), version));
        for part in path.split('/').filter(|p| !p.is_empty()) {
            dir.push(part);
            groups.push((dir.clone(), version));
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_tells_in_kilobytes() {
        let text = "MemTotal:       24683656 kB\nMemAvailable:   23103548 kB\n";
        assert_eq!(of_machine(text), Some(23_103_548 << 10));
        assert_eq!(of_machine("MemTotal: 1 kB"), None);
    }

    #[test]
    fn a_group_without_a_limit_sets_none() {
        assert_eq!(left("max\n", "100\n", "", "inactive_file"), None);
    }

    #[test]
    fn a_groups_cache_counts_as_free() {
        let statistics = "anon 5\ninactive_file 30\nactive_file 7\n";
        assert_eq!(left("1000", "400", statistics, "inactive_file"), Some(630));
        assert_eq!(left("1000", "2000", "", "inactive_file"), Some(0));
    }

    #[test]
    fn groups_of_both_versions_are_found_down_from_the_root() {
        let own = "4:memory:/a/b\n3:cpu:/c\n0::/d\n";
        let mounts = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
            cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n\
            cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let found = groups(own, mounts);
        let found: Vec<_> = found
            .iter()
            .map(|(p, v)| (p.to_str().unwrap(), *v))
            .collect();
        assert_eq!(
            found,
            [
                ("/sys/fs/cgroup/memory", Version::One),
                ("/sys/fs/cgroup/memory/a", Version::One),
                ("/sys/fs/cgroup/memory/a/b", Version::One),
                ("/sys/fs/cgroup/unified", Version::Two),
                ("/sys/fs/cgroup/unified/d", Version::Two),
            ]
        );
    }

    #[test]
    fn here_is_some_memory() {
        assert!(Available::now().bytes > 1 << 20);
    }
}
