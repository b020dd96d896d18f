//! Baselines for the benchmark: what a packet costs before a balancer does anything for it, and the harness that gives them
//! and the director the same packets.
//!
//! `floor_*` do a part of a balancer's work, `lean_*` the least that could be called one. None of them knows the director.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(core_intrinsics))]
#![cfg_attr(
    target_arch = "bpf",
    expect(internal_features, reason = "the target has no stable atomics"),
    expect(
        clippy::cast_possible_wrap,
        reason = "the helpers take signed differences"
    ),
    expect(
        clippy::needless_pass_by_value,
        reason = "the signature of a program is given"
    )
)]

#[cfg(target_arch = "bpf")]
#[path = "floors/baselines.rs"]
mod baselines;
#[cfg(target_arch = "bpf")]
#[path = "floors/frame.rs"]
mod frame;
#[cfg(target_arch = "bpf")]
#[path = "floors/harness.rs"]
mod harness;

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel lends some helpers only to programs under the GPL or a double licence with it.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
