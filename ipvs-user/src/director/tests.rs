//! The director over the host's tables, with packets simulated by writing what the datapath would write.

use std::sync::{Arc, Mutex, MutexGuard};

use ipvs_common::{
    Addr, Conn, ConnFlags, FlowKey, ForwardingMethod, LblcEntry, LblcKey, Proto, SchedState,
    Scheduler, ServiceKey, SettingsFlags, State, Stats, Status, Template, TemplateKey,
    maps::Capacities,
};
use ipvs_datapath::host::HostTables;

use super::Director;
use crate::{
    dataplane::host::HostDataplane,
    model::{Command, DestKey, DestSpec, ServiceSpec},
};

mod ageing;
mod carrying;
mod expected;
mod knobs;
mod sources;
mod sync;
mod telling;
mod traffic;

const HZ: u32 = 100;

struct Bench {
    director: Director,
    tables: Arc<Mutex<HostTables>>,
    dataplane: HostDataplane,
}

impl Bench {
    fn new() -> Self {
        let tables = Arc::new(Mutex::new(HostTables::new(Capacities::SMALL, HZ)));
        let dataplane = HostDataplane::new(Arc::clone(&tables));
        let source = Box::new(|_| Some(Addr::v4([192, 0, 2, 1])));
        Self {
            director: Director::new(Box::new(dataplane.clone()), source).unwrap(),
            tables,
            dataplane,
        }
    }

    /// With a service and real servers 1 to 3, whose indices are 0 to 2.
    fn with_three(scheduler: Scheduler) -> Self {
        let mut b = Self::new();
        let spec = ServiceSpec::new(scheduler);
        b.run(Command::AddService {
            service: web(),
            spec,
        });
        for n in 1..4 {
            b.run(add(n));
        }
        b
    }

    fn run(&mut self, command: impl Into<Command>) {
        self.director.execute(&command.into()).unwrap();
    }

    fn tables(&self) -> MutexGuard<'_, HostTables> {
        self.tables.lock().unwrap()
    }

    fn pass_seconds(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.tables().clock += u64::from(HZ);
            self.director.tick().unwrap();
        }
    }

    fn service_stats(&self) -> u64 {
        let view = self.director.service(&web()).unwrap();
        view.unwrap().stats.conns
    }
}

fn web() -> ServiceKey {
    ServiceKey::v4(Proto::Tcp as u8, [203, 0, 113, 10], 80u16.to_be_bytes())
}

fn real(n: u8) -> DestKey {
    DestKey {
        addr: Addr::v4([10, 0, 0, n]),
        port: 80,
    }
}

fn add(n: u8) -> Command {
    Command::AddDest {
        service: web(),
        dest: real(n),
        spec: DestSpec::new(ForwardingMethod::Masq, 1),
    }
}

fn delete(n: u8) -> Command {
    Command::DeleteDest {
        service: web(),
        dest: real(n),
    }
}

const fn standing_at(last: u32) -> SchedState {
    SchedState { last, weight: 0 }
}

const fn conns(conns: u64) -> Stats {
    Stats {
        conns,
        in_packets: 0,
        out_packets: 0,
        in_bytes: 0,
        out_bytes: 0,
    }
}

#[test]
fn deleting_the_real_server_round_robin_stands_at_moves_it_to_the_predecessor() {
    // The list is 2, 1, 0 by index.
    for (at, deleted, then) in [(1, 2, 3), (2, 3, 0), (2, 1, 2)] {
        let mut b = Bench::with_three(Scheduler::Rr);
        b.tables().sched_states[0] = standing_at(at + 1);
        b.run(delete(deleted));
        let expected = if u32::from(deleted) == at + 1 {
            then
        } else {
            at + 1
        };
        assert_eq!(
            b.tables().sched_states[0].last,
            expected,
            "at {at}, deleted {deleted}"
        );
    }
}

#[test]
fn deleting_several_at_once_moves_round_robin_past_all_of_them() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.tables().sched_states[0] = standing_at(1);
    b.director.execute_all(&[delete(1), delete(2)]).unwrap();
    assert_eq!(
        b.tables().sched_states[0].last,
        3,
        "0 went to 1, and that to 2"
    );
}

#[test]
fn another_scheduler_finds_no_memory_of_the_old_one() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.tables().sched_states[0] = standing_at(2);
    let edit = |scheduler| Command::EditService {
        service: web(),
        spec: ServiceSpec::new(scheduler),
        keep: 0,
    };
    b.run(edit(Scheduler::Rr));
    assert_eq!(b.tables().sched_states[0].last, 2);
    b.run(edit(Scheduler::Lblc));
    assert_eq!(b.tables().sched_states[0].last, 0);

    let key = LblcKey {
        addr: Addr::v4([203, 0, 113, 10]),
        service: 0,
    };
    b.tables().lblc.insert(key, LblcEntry::default());
    b.run(edit(Scheduler::Wlc));
    assert!(b.tables().lblc.is_empty());
}

#[test]
fn counters_and_connections_revive_with_a_real_server() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.tables().dest_states[1].active = 5;
    b.tables().dest_stats[1] = conns(9);
    b.run(delete(2));
    b.pass_seconds(300);
    b.run(add(2));
    let view = b.director.service(&web()).unwrap().unwrap();
    assert_eq!(view.dests[0].key, real(2));
    assert_eq!((view.dests[0].active, view.dests[0].stats), (5, conns(9)));
}

#[test]
fn a_deleted_real_server_is_forgotten_two_minutes_after_its_last_connection() {
    let mut b = Bench::with_three(Scheduler::Lblc);
    b.tables().dest_states[1].persistent = 1;
    b.tables().dest_stats[1] = conns(9);
    let key = LblcKey {
        addr: Addr::v4([203, 0, 113, 10]),
        service: 0,
    };
    let entry = LblcEntry {
        dest: 1,
        ..LblcEntry::default()
    };
    b.tables().lblc.insert(key, entry);
    b.run(delete(2));
    b.pass_seconds(200);
    assert_eq!(b.director.usage().trash, 1, "a template refers to it");
    b.tables().dest_states[1].persistent = 0;
    b.pass_seconds(119);
    assert_eq!(b.director.usage().trash, 1);
    b.pass_seconds(2);
    assert_eq!(b.director.usage().trash, 0);
    assert!(
        b.tables().lblc.is_empty(),
        "the cache would point at the next owner"
    );
    assert_eq!(b.service_stats(), 9, "its traffic stays the service's");

    b.run(add(4));
    let view = b.director.service(&web()).unwrap().unwrap();
    assert_eq!(
        view.dests[0].stats,
        conns(0),
        "the index is used again, wiped"
    );
    assert_eq!(b.service_stats(), 9);
    assert_eq!(b.director.totals().unwrap(), conns(9));
}

#[test]
fn a_service_added_again_starts_at_zero_and_so_do_its_real_servers() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.tables().dest_states[1].active = 1;
    b.tables().dest_stats[1] = conns(9);
    b.run(Command::DeleteService { service: web() });
    let spec = ServiceSpec::new(Scheduler::Rr);
    b.run(Command::AddService {
        service: web(),
        spec,
    });
    b.run(add(2));
    assert_eq!(b.service_stats(), 0);
    b.tables().dest_stats[1] = conns(11);
    assert_eq!(b.service_stats(), 2);
    let view = b.director.service(&web()).unwrap().unwrap();
    assert_eq!((view.dests[0].active, view.dests[0].stats), (1, conns(2)));
    assert_eq!(b.director.totals().unwrap(), conns(11));
}

#[test]
fn a_lifted_threshold_clears_the_overload_mark() {
    let mut b = Bench::with_three(Scheduler::Rr);
    let edit = |upper| Command::EditDest {
        service: web(),
        dest: real(1),
        spec: DestSpec {
            upper,
            ..DestSpec::new(ForwardingMethod::Masq, 1)
        },
    };
    b.run(edit(3));
    b.tables().dest_states[0].overloaded = 1;
    b.run(edit(2));
    assert_eq!(b.tables().dest_states[0].overloaded, 1);
    b.run(edit(5));
    assert_eq!(b.tables().dest_states[0].overloaded, 0);
}

#[test]
fn flags_of_the_settings_follow_the_services() {
    let mut b = Bench::new();
    let own = b.director.settings().flags;
    let spec = ServiceSpec {
        persistent: Some(60),
        ..ServiceSpec::new(Scheduler::Rr)
    };
    let mark = ServiceKey::fwmark(7);
    let every_port = ServiceKey::v4(6, [203, 0, 113, 10], [0; 2]);
    b.run(Command::AddService {
        service: mark,
        spec,
    });
    b.run(Command::AddService {
        service: every_port,
        spec,
    });
    let all = SettingsFlags::HAS_FWMARK | SettingsFlags::HAS_PORT0 | SettingsFlags::HAS_SERVICES;
    assert_eq!(b.tables().settings.flags, own | all);
    b.director
        .adjust_settings(|s| s.flags &= !SettingsFlags::HAS_PORT0)
        .unwrap();
    assert_eq!(b.tables().settings.flags, own | all);
    b.run(Command::DeleteService { service: mark });
    assert_eq!(
        b.tables().settings.flags,
        own | all & !SettingsFlags::HAS_FWMARK
    );
    b.run(Command::Flush);
    assert_eq!(b.tables().settings.flags, own);
}

#[test]
fn the_commands_of_a_director_make_the_same_one() {
    let mut b = Bench::with_three(Scheduler::Wlc);
    b.run(Command::AddService {
        service: ServiceKey::fwmark(3),
        spec: ServiceSpec::new(Scheduler::Rr),
    });
    let mut again = Bench::new();
    again.director.execute_all(&b.director.commands()).unwrap();
    assert_eq!(
        again.director.services().unwrap(),
        b.director.services().unwrap()
    );
}

fn conn(to: [u8; 4], to_port: u16, flags: u8, state: State, seconds: u64, now: u64) -> Conn {
    Conn {
        expires: now + seconds * u64::from(HZ) + 99,
        to_addr: to,
        to_port: to_port.to_be_bytes(),
        status: Status {
            state: state as u8,
            flags,
            ..Status::default()
        },
        ..Conn::default()
    }
}

#[test]
fn both_entries_of_a_masqueraded_connection_are_one_line_with_the_later_deadline() {
    let b = Bench::with_three(Scheduler::Rr);
    let (client, vip, rip) = ([198, 51, 100, 1], [203, 0, 113, 10], [10, 0, 0, 1]);
    let port = |p: u16| p.to_be_bytes();
    let forth = FlowKey::new(6, client, port(4000), vip, port(80));
    let back = FlowKey::new(6, rip, port(8080), client, port(4000));
    {
        let mut t = b.tables();
        let now = t.clock;
        t.four
            .conns
            .insert(forth, conn(rip, 8080, 0, State::Established, 100, now));
        t.four.conns.insert(
            back,
            conn(vip, 80, ConnFlags::REPLY, State::Established, 200, now),
        );
        // Just being promoted: still among the half-open, too.
        let leaving = conn(rip, 8080, ConnFlags::LEAVING, State::SynRecv, 60, now);
        t.four.half_open.insert(forth, leaving);
        let key = TemplateKey {
            client,
            vip: 7u32.to_be_bytes(),
            ..TemplateKey::default()
        };
        let template = Template {
            expires: now + 5999,
            dest: 1,
            assured: 1,
            ..Template::default()
        };
        t.four.templates.insert(key, template);
    }
    let list = b.director.connections().unwrap();
    let lines: Vec<_> = list
        .iter()
        .map(|c| {
            format!(
                "{} {} {} {} {} {}",
                c.proto, c.remaining, c.state, c.client, c.virt, c.real
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            "0 59 ASSURED 198.51.100.1:0 0.0.0.7:0 10.0.0.2:80",
            "6 200 ESTABLISHED 198.51.100.1:4000 203.0.113.10:80 10.0.0.1:8080",
        ]
    );
}
