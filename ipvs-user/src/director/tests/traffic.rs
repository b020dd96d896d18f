//! Counters that start over, and rates.

use super::*;
use crate::director::Rates;

impl Bench {
    /// Connections told of the real servers, newest first, of the service, and of everything.
    fn told(&self) -> (Vec<u64>, u64, u64) {
        let view = self.director.service(&web()).unwrap().unwrap();
        let listed = self.director.services().unwrap();
        assert_eq!(listed.first(), Some(&view), "listed as told alone");
        let dests = view.dests.iter().map(|d| d.stats.conns).collect();
        let total = self.director.totals().unwrap().conns;
        (dests, view.stats.conns, total)
    }

    /// Connections that real server `n` counted so far.
    fn pass(&self, n: usize, total: u64) {
        self.tables().dest_stats[n - 1] = conns(total);
    }

    /// Connections in a second, of the service's real servers, of itself and of everything.
    fn rates(&self) -> (Vec<u64>, u64, u64) {
        let view = self.director.service(&web()).unwrap().unwrap();
        let dests = view.dests.iter().map(|d| d.rates.conns).collect();
        let total = self.director.total_rates().conns;
        (dests, view.rates.conns, total)
    }
}

fn zero(service: Option<ServiceKey>) -> Command {
    Command::Zero { service }
}

fn add_web() -> Command {
    Command::AddService {
        service: web(),
        spec: ServiceSpec::new(Scheduler::Rr),
    }
}

#[test]
fn zeroing_a_service_leaves_the_total_alone() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.pass(1, 5);
    b.pass(3, 7);
    b.run(zero(Some(web())));
    assert_eq!(b.told(), (vec![0, 0, 0], 0, 12));
    b.pass(3, 8);
    assert_eq!(b.told(), (vec![1, 0, 0], 1, 13));
    b.run(zero(None));
    assert_eq!(b.told(), (vec![0, 0, 0], 0, 0));
    b.pass(1, 7);
    assert_eq!(b.told(), (vec![0, 0, 2], 2, 2));
}

#[test]
fn zeroing_holds_through_the_trash() {
    let mut b = Bench::with_three(Scheduler::Rr);
    (1..4).for_each(|n| b.pass(n, 10));
    b.run(delete(2));
    b.run(zero(None));
    assert_eq!(b.told(), (vec![0, 0], 0, 0));
    b.pass(1, 11);
    b.run(delete(1));
    assert_eq!(b.told(), (vec![0], 1, 1));
    b.run(add(1));
    b.run(add(2));
    // One that was deleted keeps its counters, as in ip_vs.
    assert_eq!(b.told(), (vec![10, 1, 0], 1, 1));
    b.run(delete(1));
    b.pass_seconds(130);
    assert_eq!(b.director.usage().trash, 0);
    assert_eq!(b.told(), (vec![10, 0], 1, 1));
    b.run(add(4));
    assert_eq!(b.told(), (vec![0, 10, 0], 1, 1));
}

#[test]
fn zeroing_within_a_list_of_commands_counts_from_there() {
    let mut b = Bench::with_three(Scheduler::Rr);
    (1..4).for_each(|n| b.pass(n, 10));
    let spec = DestSpec::new(ForwardingMethod::Masq, 1);
    let far = |n| Command::AddDest {
        service: web(),
        dest: real(n),
        spec,
    };
    let delete_web = Command::DeleteService { service: web() };
    let list = [
        zero(Some(web())),
        delete_web,
        add_web(),
        add(2),
        zero(Some(web())),
        add(3),
        far(9),
    ];
    b.director.execute_all(&list).unwrap();
    assert_eq!(b.told(), (vec![0, 0, 0], 0, 30));
    b.pass(2, 11);
    b.pass(3, 12);
    assert_eq!(b.told(), (vec![0, 2, 1], 3, 33));
}

#[test]
fn unknown_service_is_not_zeroed() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.pass(1, 5);
    let unknown = ServiceKey::fwmark(7);
    b.director.execute(&zero(Some(unknown))).unwrap_err();
    assert_eq!(b.told(), (vec![0, 0, 5], 5, 5));
}

#[test]
fn rates_are_reckoned_every_two_seconds_and_start_over_with_the_counters() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.pass_seconds(1);
    b.pass(1, 80);
    b.pass(2, 160);
    b.pass_seconds(1);
    assert_eq!(b.rates(), (vec![0, 0, 0], 0, 0));
    b.pass_seconds(1);
    assert_eq!(b.rates(), (vec![0, 20, 10], 30, 30));
    b.run(zero(Some(web())));
    assert_eq!(b.rates(), (vec![0, 0, 0], 0, 30));
    b.pass(2, 200);
    b.pass_seconds(2);
    assert_eq!(b.rates(), (vec![0, 5, 0], 5, 27));
    b.run(zero(None));
    assert_eq!(b.director.total_rates(), Rates::default());
}

#[test]
fn real_server_that_is_freed_makes_no_traffic() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.pass(1, 8000);
    b.pass_seconds(1);
    b.run(delete(1));
    b.pass_seconds(80);
    let mut rates = Vec::new();
    while b.director.usage().trash != 0 {
        b.pass_seconds(1);
        rates.push(b.rates());
    }
    b.pass_seconds(2);
    rates.push(b.rates());
    assert!(rates.iter().all(|r| *r == (vec![0, 0], 0, 0)), "{rates:?}");
}
