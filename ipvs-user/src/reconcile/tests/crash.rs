//! A process that dies after any of its writes, and the next one that takes over.

use super::*;
use crate::{director::Adopted, model::Model};

/// Tables and ledger, which outlive every process.
struct Machine {
    tables: Arc<Mutex<HostTables>>,
    dataplane: HostDataplane,
}

impl Machine {
    fn new() -> Self {
        let tables = Arc::new(Mutex::new(HostTables::new(CAPACITIES, 100)));
        let dataplane = HostDataplane::new(Arc::clone(&tables));
        Self { tables, dataplane }
    }

    /// A process that dies after so many writes; `None`: it lives.
    fn open(&self, writes: Option<u32>) -> (Director, Option<Adopted>, Fuse) {
        let fuse = Fuse::default();
        let watched = Watched {
            inner: self.dataplane.clone(),
            tables: Arc::clone(&self.tables),
            fuse: Arc::clone(&fuse),
            dies: true,
        };
        let (director, adopted) = Director::open(Box::new(watched), Box::new(source)).unwrap();
        *fuse.lock().unwrap() = writes;
        (director, adopted, fuse)
    }

    fn copy(&self) -> Self {
        let tables = Arc::new(Mutex::new(self.tables.lock().unwrap().clone()));
        let mut dataplane = HostDataplane::new(Arc::clone(&tables));
        dataplane
            .put_ledger(&self.dataplane.ledger().unwrap())
            .unwrap();
        Self { tables, dataplane }
    }

    fn has_pending(&self) -> bool {
        let entries = self.dataplane.ledger().unwrap();
        entries
            .iter()
            .any(|(key, _)| key.is_pending() || *key == Key::BATCH)
    }

    /// Takes over, and checks that what it finds is whole.
    fn take_over(&self) -> (Model, Adopted) {
        let (director, adopted, _) = self.open(None);
        check_against_model(&director, &self.tables.lock().unwrap());
        assert!(!self.has_pending());
        let before = visible(&self.tables.lock().unwrap());
        let ledger = self.dataplane.ledger().unwrap();
        // Once more: nothing is left to repair.
        let (again, twice, _) = self.open(None);
        assert_eq!(again.model(), director.model());
        assert!(!twice.unwrap().finished);
        assert_eq!(visible(&self.tables.lock().unwrap()), before);
        assert_eq!(self.dataplane.ledger().unwrap(), ledger);
        (director.model().clone(), adopted.unwrap())
    }
}

/// Commands that the rules take, one after the other.
fn possible(model: &Model, commands: Vec<Command>) -> (Vec<Command>, Model) {
    let mut after = model.clone();
    let commands = commands.into_iter().filter(|c| after.apply(c).is_ok());
    (commands.collect(), after)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_batch_that_was_cut_short_is_finished_or_never_began(
        known in proptest::collection::vec(any_command(), 0..40),
        batch in proptest::collection::vec(any_command(), 1..6),
    ) {
        let machine = Machine::new();
        let (mut director, adopted, _) = machine.open(None);
        prop_assert!(adopted.is_none());
        let (known, _) = possible(director.model(), known);
        for command in &known {
            director.execute(command).unwrap();
            machine.tables.lock().unwrap().clock += 200;
        }
        let before = director.model().clone();
        let (batch, after) = possible(&before, batch);
        drop(director);
        let mut was_cut = false;
        for writes in 0.. {
            let machine = machine.copy();
            let (mut director, _, fuse) = machine.open(Some(writes));
            let done = director.execute_all(&batch);
            let died = *fuse.lock().unwrap() == Some(0);
            drop(director);
            let (model, adopted) = machine.take_over();
            if adopted.finished || done.is_ok() {
                prop_assert_eq!(&model, &after, "after {} writes", writes);
            } else {
                prop_assert!(model == before || model == after, "after {} writes", writes);
            }
            was_cut |= adopted.finished;
            if done.is_ok() && !died {
                break;
            }
        }
        let comes_to_something = before != after;
        prop_assert!(was_cut || !comes_to_something);
    }

    #[test]
    fn what_is_taken_over_is_what_was_there(commands in proptest::collection::vec(any_command(), 0..60)) {
        let machine = Machine::new();
        let (mut director, _, _) = machine.open(None);
        let (commands, model) = possible(director.model(), commands);
        for command in &commands {
            director.execute(command).unwrap();
            machine.tables.lock().unwrap().clock += 200;
        }
        prop_assert_eq!(director.model(), &model);
        let before = visible(&machine.tables.lock().unwrap());
        drop(director);
        let (taken_over, adopted) = machine.take_over();
        prop_assert_eq!(taken_over, model);
        prop_assert!(!adopted.finished);
        prop_assert_eq!(visible(&machine.tables.lock().unwrap()), before);
    }
}
