//! The choices of every scheduler against rules written down again, naively and by themselves: over random loads and edits, and
//! over whole cycles where shares have to follow the weights. (twos is random, and only has to choose what is usable.)
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod hashed;
mod naive;
mod pair;
mod reals;
mod shares;

use ipvs_common::{Scheduler, ServiceFlags};
use proptest::{collection::vec, prelude::*};

use pair::{Pair, Step};
use reals::Spec;

/// Real servers that come and go.
const REALS: usize = 9;

fn any_spec() -> impl Strategy<Value = Spec> {
    // Weights with and without a common divisor, and thresholds that are reached.
    let weight = prop_oneof![1..5_u32, (1..4_u32).prop_map(|w| w * 6), 1..300_u32];
    let thresholds = prop_oneof![
        3 => Just((0, 0)),
        1 => (1..6_u32).prop_map(|upper| (upper, 0)),
        1 => (2..6_u32, 1..3_u32).prop_map(|(upper, lower)| (upper, lower.min(upper))),
    ];
    (weight, thresholds).prop_map(|(weight, (upper, lower))| Spec {
        weight,
        upper,
        lower,
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    let real = 0..REALS;
    prop_oneof![
        20 => (any::<u8>(), 0..4_u8).prop_map(|(client, to)| Step::Connect { client, to }),
        5 => (any::<u8>(), 0..4_u8).prop_map(|(client, to)| Step::Datagram { client, to }),
        8 => any::<prop::sample::Index>().prop_map(Step::Close),
        3 => (1..13_u64).prop_map(Step::Pass),
        3 => (real.clone(), any_spec()).prop_map(|(real, spec)| Step::Add(real, spec)),
        3 => (real.clone(), any_spec(), prop::bool::weighted(0.3)).prop_map(|(real, spec, quiesce)| {
            let weight = if quiesce { 0 } else { spec.weight };
            Step::Edit(real, Spec { weight, ..spec })
        }),
        2 => real.prop_map(Step::Delete),
    ]
}

fn any_steps() -> impl Strategy<Value = (Vec<Step>, Vec<Step>)> {
    let add = |real| any_spec().prop_map(move |spec| Step::Add(real, spec));
    let begin: Vec<_> = (0..5).map(add).collect();
    (begin, vec(any_step(), 20..120))
}

/// Every choice of a run, and the counts after each step.
fn compare(scheduler: Scheduler, flags: u8, steps: &(Vec<Step>, Vec<Step>)) {
    let mut pair = Pair::new(scheduler, flags);
    for step in steps.0.iter().chain(&steps.1) {
        pair.step(step);
    }
}

macro_rules! as_the_rules_say {
    ($($test:ident: $scheduler:ident, $flags:expr;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig {
                cases: 48,
                failure_persistence: None,
                ..ProptestConfig::default()
            })]

            $(#[test]
            fn $test(steps in any_steps()) {
                compare(Scheduler::$scheduler, $flags, &steps);
            })*
        }
    };
}

as_the_rules_say! {
    rr_chooses_as_the_rules_say: Rr, 0;
    wrr_chooses_as_the_rules_say: Wrr, 0;
    lc_chooses_as_the_rules_say: Lc, 0;
    wlc_chooses_as_the_rules_say: Wlc, 0;
    sed_chooses_as_the_rules_say: Sed, 0;
    nq_chooses_as_the_rules_say: Nq, 0;
    fo_chooses_as_the_rules_say: Fo, 0;
    ovf_chooses_as_the_rules_say: Ovf, 0;
    dh_chooses_as_the_rules_say: Dh, 0;
    sh_chooses_as_the_rules_say: Sh, 0;
    sh_falls_back_as_the_rules_say: Sh, ServiceFlags::FALLBACK;
    sh_takes_ports_as_the_rules_say: Sh, ServiceFlags::FALLBACK | ServiceFlags::PORT;
    mh_chooses_as_the_rules_say: Mh, 0;
    mh_falls_back_as_the_rules_say: Mh, ServiceFlags::FALLBACK;
    mh_takes_ports_as_the_rules_say: Mh, ServiceFlags::FALLBACK | ServiceFlags::PORT;
    lblc_chooses_as_the_rules_say: Lblc, 0;
    lblcr_chooses_as_the_rules_say: Lblcr, 0;
    twos_chooses_what_is_usable: Twos, 0;
    none_chooses_nobody: None, 0;
}
