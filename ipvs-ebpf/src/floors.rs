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
mod bytes;
#[cfg(target_arch = "bpf")]
#[path = "floors/harness.rs"]
mod harness;
#[cfg(target_arch = "bpf")]
mod object;

#[cfg(not(target_arch = "bpf"))]
fn main() {}
