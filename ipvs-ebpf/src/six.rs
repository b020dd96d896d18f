//! The functions of their own to the verifier once more, for IPv6: a key is too long to travel as numbers, so it stays on its
//! caller's stack.
//!
//! Each works on a copy: kernels before 6.2 look nothing up under a key on another function's stack.

use aya_ebpf::bindings::xdp_md;
use ipvs_common::{Addr, FlowKey, Service, SyncNote, TemplateKey};
use ipvs_datapath::{
    conn::{
        Table,
        advance::{self, Segment},
        expected, leave, promote, template,
    },
    exit::NO_DEST,
    expire,
    ip::v6,
    sched::lblcr,
};

use crate::{kernel_tables::Maps, notes::submit, xdp::XdpFrame};

type Key = FlowKey<Addr>;

/// The key that a pointer leads to. Null it never is, but the verifier wants to see that looked at.
#[inline(always)]
fn read<K: Copy>(key: *const K) -> Option<K> {
    // SAFETY: null, or a key on the caller's stack: the verifier looks at both sides.
    unsafe { key.as_ref() }.copied()
}

#[inline(always)]
const fn table(half_open: u32) -> Table {
    if half_open == 0 {
        Table::Established
    } else {
        Table::HalfOpen
    }
}

/// Ends a connection; 1 if it did.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn end_conn6(key: *const Key, half_open: u32) -> u32 {
    read(key).map_or(0, |key| {
        u32::from(leave::end(&mut Maps::only(), table(half_open), &key))
    })
}

/// Ends a connection past its deadline; 1: there is none any more.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn overdue_conn6(key: *const Key, half_open: u32) -> u32 {
    read(key).map_or(0, |key| {
        u32::from(expire::overdue_at(
            &mut Maps::only(),
            table(half_open),
            &key,
        ))
    })
}

/// Moves a connection to another state: TCP flags, that it is TCP, and that it is half-open, from the lowest bit on. Always 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn change_conn6(key: *const Key, what: u32) -> u32 {
    let segment = Segment {
        flags: what as u8,
        is_tcp: what & 1 << 8 != 0,
    };
    if let Some(key) = read(key) {
        advance::change_at(&mut Maps::only(), table(what >> 9), &key, segment);
    }
    0
}

/// Ends a half-open connection that a newer one pushes out; 1 if it did.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn evict_conn6(key: *const Key, seq: u32) -> u32 {
    read(key).map_or(0, |key| {
        u32::from(leave::evict(&mut Maps::only(), &key, seq))
    })
}

/// [`expected::meet`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn meet_conn6(key: *const Key) -> u64 {
    read(key).map_or(u64::from(NO_DEST), |key| {
        expected::meet(&mut Maps::only(), &key)
    })
}

/// Moves a connection to the established table; 1 if it did.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn promote_conn6(key: *const Key) -> u32 {
    read(key).map_or(0, |key| {
        u32::from(promote::promote(&mut Maps::only(), &key))
    })
}

/// [`template::join`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn join6(service: *const Service, key: *const Key) -> u64 {
    // SAFETY: null, or a service on the caller's stack: the verifier looks at both sides.
    let Some(service) = (unsafe { service.as_ref() }) else {
        return u64::from(NO_DEST);
    };
    read(key).map_or(u64::from(NO_DEST), |key| {
        template::join(&mut Maps::only(), service, &key).0
    })
}

/// [`lblcr::known`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn lblcr_known6(service: u32, dst: *const Addr) -> u64 {
    read(dst).map_or(u64::from(NO_DEST), |dst| {
        lblcr::known(&mut Maps::only(), service, dst)
    })
}

/// [`lblcr::join`]; always 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn lblcr_join6(service: u32, dst: *const Addr, dest: u32) -> u32 {
    if let Some(dst) = read(dst) {
        lblcr::join(&mut Maps::only(), service, dst, dest);
    }
    0
}

/// 1: the daemon will see the note.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn tell_flow6(key: *const Key) -> u32 {
    read(key).map_or(0, |key| submit(&SyncNote::flow(key)))
}

/// The same of a template.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn tell_template6(key: *const TemplateKey<Addr>) -> u32 {
    read(key).map_or(0, |key| submit(&SyncNote::template(key)))
}

/// What is behind the extension headers of a frame.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn behind_extensions(ctx: *mut xdp_md) -> u64 {
    v6::behind_extensions(&mut XdpFrame(ctx)).0
}

/// Ends one key of an expiry batch; 1 if it did.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn expire_step6(ctx: *mut xdp_md, index: u32) -> u32 {
    if index as usize >= expire::Batch::max::<Addr>() {
        return 0;
    }
    let maps = &mut Maps::<Addr>::of(ctx);
    u32::from(expire::step(&mut XdpFrame(ctx), maps, index as usize))
}

/// Enters one pair of a batch; 1 if it did.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn enter_step6(ctx: *mut xdp_md, index: u32) -> u32 {
    if index as usize >= expire::Batch::max::<Addr>() / 2 {
        return 0;
    }
    let maps = &mut Maps::<Addr>::of(ctx);
    u32::from(expire::enter(&mut XdpFrame(ctx), maps, index as usize))
}
