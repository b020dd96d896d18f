//! Traces of the kernel's own ip_vs, replayed into the real programs in the kernel. Needs root.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use ipvs_common::AttachMode;
use ipvs_tests::{
    replay::{Engine, Expectations, replay_all},
    trace::golden_dir,
};

fn assert_no_trace_is_different(mode: AttachMode) {
    let expectations = Expectations::load().unwrap();
    let engine = Engine::Kernel(mode);
    let totals = replay_all(&[golden_dir()], &[engine], &expectations, |report| {
        println!("{report}");
    });
    let totals = totals.unwrap();
    assert!(totals.equal > 0 && totals.different == 0, "{totals}");
}

#[test]
fn no_trace_is_different_in_native_mode() {
    assert_no_trace_is_different(AttachMode::Native);
}

#[test]
fn no_trace_is_different_in_generic_mode() {
    assert_no_trace_is_different(AttachMode::Generic);
}
