//! Who holds an instance while others take it away.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;
use ipvs_tests::topology::{Topology, within};
use ipvs_user::dataplane::bpf::Instance;

#[test]
fn one_holder_has_an_instance_also_while_another_one_removes_it() {
    within(60, || {
        // For its check of privileges.
        let _net = Topology::new()?;
        let name = format!("tmp-lock-{}", std::process::id());
        let held = AtomicUsize::new(0);
        let twice = AtomicUsize::new(0);
        let times = AtomicUsize::new(0);
        let end = Instant::now() + Duration::from_secs(5);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while Instant::now() < end {
                        let Ok(instance) = Instance::lock(&name) else {
                            continue;
                        };
                        if held.fetch_add(1, Ordering::SeqCst) != 0 {
                            twice.fetch_add(1, Ordering::SeqCst);
                        }
                        thread::yield_now();
                        held.fetch_sub(1, Ordering::SeqCst);
                        times.fetch_add(1, Ordering::SeqCst);
                        let _ = instance.remove();
                    }
                });
            }
        });
        if let Some(instance) = Instance::lock_existing(&name)? {
            instance.remove()?;
        }
        ensure!(times.load(Ordering::SeqCst) > 100, "{times:?}");
        ensure!(twice.load(Ordering::SeqCst) == 0, "{twice:?} of {times:?}");
        Ok(())
    });
}
