//! What the kernel says of the whole machine in `/proc`: memory, and who may use which ports. And memory that it gets back.

use std::{
    fs,
    net::{Ipv4Addr, UdpSocket},
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    thread,
    time::Duration,
};

use nix::unistd::{SysconfVar, sysconf};

const MEMORY: &str = "/proc/meminfo";
const UNPRIVILEGED_PORT: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
const COMMON_PAGE: u64 = 4096;

/// Pages of memory that are free or only buffer block devices, by which ip_vs goes; `None`: the kernel does not tell.
#[must_use]
pub fn available_pages() -> Option<u64> {
    let text = fs::read_to_string(MEMORY).ok()?;
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    let page = page.and_then(|bytes| u64::try_from(bytes).ok());
    Some(available(&text)? * 1024 / page.unwrap_or(COMMON_PAGE))
}

/// Kilobytes.
fn available(meminfo: &str) -> Option<u64> {
    let of = |name: &str| -> Option<u64> {
        let line = meminfo.lines().find_map(|l| l.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Some(of("MemFree:")? + of("Buffers:")?)
}

/// First port that anybody may listen on; `None`: the kernel does not tell.
#[must_use]
pub fn unprivileged_port() -> Option<u32> {
    let text = fs::read_to_string(UNPRIVILEGED_PORT).ok()?;
    text.trim().parse().ok()
}

/// A number that no other network namespace has or had since the machine started; of a kernel that gives none (before 5.14),
/// one that no other has.
#[must_use]
pub fn netns_number() -> u64 {
    const SO_NETNS_COOKIE: libc::c_int = 71;
    let inode = || fs::metadata("/proc/self/ns/net").map_or(0, |m| m.ino());
    let Ok(socket) = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)) else {
        return inode();
    };
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, as many as `cookie` has.
    let asked = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if asked == 0 { cookie } else { inode() }
}

/// Gives back to the kernel what was freed, a little later and beside everything else: to read a large file takes more memory
/// than to keep what it says, and the C library keeps the difference in case it is asked for it again.
pub fn give_back_memory() {
    const LATER: Duration = Duration::from_secs(1);
    let give_back = || {
        thread::sleep(LATER);
        #[cfg(target_env = "gnu")]
        // SAFETY: takes a number; the allocator locks what it works on.
        unsafe {
            libc::malloc_trim(0)
        };
    };
    // Without a thread it stays as it is.
    let _ = thread::Builder::new().spawn(give_back);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_what_is_free_and_what_buffers() {
        let text =
            "MemTotal:  4019868 kB\nMemFree:    1000 kB\nMemAvailable: 9 kB\nBuffers:     24 kB\n";
        assert_eq!(available(text), Some(1024));
        assert_eq!(available("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(available_pages().is_some_and(|pages| pages > 0));
    }
}
