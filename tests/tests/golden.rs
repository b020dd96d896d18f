//! Traces of the kernel's own ip_vs, replayed into the datapath on the host and the director over it.

use ipvs_tests::{
    replay::{Engine, Expectations, replay_all},
    trace::golden_dir,
};

#[test]
fn no_trace_is_different() {
    let expectations = Expectations::load().unwrap();
    let totals = replay_all(&[golden_dir()], &[Engine::Host], &expectations, |report| {
        println!("{report}");
    });
    let totals = totals.unwrap();
    assert!(totals.equal > 0 && totals.different == 0, "{totals}");
}
