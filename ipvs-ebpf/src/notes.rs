//! Backup directors, in the kernel: notes to the daemon, and entering what another director told of. Functions of their own to
//! the verifier, which would otherwise follow them on every path that leads here.

use core::ptr;

use aya_ebpf::bindings::{BPF_RB_NO_WAKEUP, xdp_md};
use ipvs_common::{Address, SyncNote, TemplateKey};
use ipvs_datapath::expire;

use crate::{
    kernel_tables::{Maps, key_of},
    maps::SYNC_NOTES,
    xdp::XdpFrame,
};

/// 1: the daemon will see the note.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn tell_flow(src: u32, dst: u32, ports: u32, proto: u32) -> u32 {
    submit(&SyncNote::flow(key_of(src, dst, ports, proto)))
}

/// The same of a template.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn tell_template(client: u32, vip: u32, rest: u32) -> u32 {
    let key: TemplateKey = bytemuck::cast([client, vip, rest]);
    submit(&SyncNote::template(key))
}

/// Nobody is woken: the daemon comes by often enough, and sends many at once.
#[inline(always)]
pub(crate) fn submit<A: Address>(note: &SyncNote<A>) -> u32 {
    let Some(mut record) = SYNC_NOTES.reserve::<SyncNote<A>>(0) else {
        return 0;
    };
    // SAFETY: a record of this size, which is this program's until it is submitted.
    unsafe { ptr::write_unaligned(record.as_mut_ptr(), *note) };
    record.submit(BPF_RB_NO_WAKEUP.into());
    1
}

/// Enters one pair of a batch; 1 if it did.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn enter_step(ctx: *mut xdp_md, index: u32) -> u32 {
    if index as usize >= expire::Batch::max::<[u8; 4]>() / 2 {
        return 0;
    }
    u32::from(expire::enter(
        &mut XdpFrame(ctx),
        &mut Maps::<[u8; 4]>::of(ctx),
        index as usize,
    ))
}
