//! What another director tells: entered, brought up to date, counted, or kept until there is a place for it.

use std::net::SocketAddr;

use ipvs_common::Event;

use super::*;
use crate::{
    director::SyncCount,
    sync::{Entry, message::flag},
};

const CLIENT: [u8; 4] = [198, 51, 100, 1];
const VIP: [u8; 4] = [203, 0, 113, 10];
pub(super) const ESTABLISHED: u16 = State::Established as u16;
const FIN_WAIT: u16 = State::FinWait as u16;

fn at(addr: [u8; 4], port: u16) -> SocketAddr {
    (addr, port).into()
}

/// Of a client's port, to the real server of this number.
pub(super) fn told(port: u16, real: u8, state: u16) -> Entry {
    Entry {
        proto: 6,
        flags: if state == ESTABLISHED {
            0
        } else {
            flag::INACTIVE
        },
        state,
        client: at(CLIENT, port),
        virt: at(VIP, 80),
        real: at([10, 0, 0, real], 80),
        mark: 0,
        timeout: Some(100),
        seq: None,
        engine: None,
    }
}

pub(super) fn told_template(real: u8) -> Entry {
    Entry {
        flags: flag::TEMPLATE | flag::INACTIVE,
        ..told(0, real, 0)
    }
}

pub(super) fn flow(port: u16) -> FlowKey {
    FlowKey::new(6, CLIENT, port.to_be_bytes(), VIP, 80_u16.to_be_bytes())
}

fn reply(port: u16, real: u8) -> FlowKey {
    let real = [10, 0, 0, real];
    FlowKey::new(6, real, 80_u16.to_be_bytes(), CLIENT, port.to_be_bytes())
}

fn template_key() -> TemplateKey {
    TemplateKey {
        client: CLIENT,
        vip: VIP,
        vport: 80_u16.to_be_bytes(),
        proto: 6,
        generation: 0,
    }
}

impl Bench {
    pub(super) fn persistent() -> Self {
        let mut b = Self::with_three(Scheduler::Rr);
        let spec = ServiceSpec {
            persistent: Some(360),
            ..ServiceSpec::new(Scheduler::Rr)
        };
        b.run(Command::EditService {
            service: web(),
            spec,
            keep: 0,
        });
        b
    }

    pub(super) fn take(&mut self, told: &Entry) {
        self.director.take_in(std::slice::from_ref(told)).unwrap();
    }

    /// Active, inactive and persistent ones of a real server by its number.
    fn counts(&self, real: u8) -> (u32, u32, u32) {
        let s = self.tables().dest_states[usize::from(real - 1)];
        (s.active, s.inactive, s.persistent)
    }

    fn happened(&self, count: SyncCount) -> u64 {
        let mut all = self.director.sync_counts();
        all.find(|(c, _)| *c == count).unwrap().1
    }

    pub(super) fn conn(&self, port: u16) -> Option<Conn> {
        self.tables().four.conns.get(&flow(port)).copied()
    }

    fn seconds_left(&self, port: u16) -> u64 {
        let expires = self.conn(port).unwrap().expires;
        (expires - self.tables().clock) / u64::from(HZ)
    }
}

#[test]
fn a_told_connection_stands_in_both_directions_and_counts_at_its_real_server() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.take(&told(1, 2, ESTABLISHED));
    assert_eq!(b.counts(2), (1, 0, 0));
    assert_eq!(b.seconds_left(1), 100);
    let back = b.tables().four.conns[&reply(1, 2)];
    assert_eq!((back.to_addr, back.to_port), (VIP, 80_u16.to_be_bytes()));
    assert_ne!(back.status.flags & ConnFlags::REPLY, 0);
    assert_eq!(b.service_stats(), 0, "nobody was given a connection");
    assert_eq!(b.happened(SyncCount::Entered), 1);
    b.pass_seconds(99);
    assert!(b.conn(1).is_some());
    b.pass_seconds(1);
    assert_eq!(b.tables().four.conns.len(), 0);
    assert_eq!(b.counts(2), (0, 0, 0));
}

#[test]
fn a_change_told_moves_state_counts_and_both_timers() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.take(&told(1, 2, ESTABLISHED));
    let closing = Entry {
        timeout: Some(30),
        ..told(1, 2, FIN_WAIT)
    };
    b.take(&closing);
    assert_eq!(b.counts(2), (0, 1, 0));
    assert_eq!(b.seconds_left(1), 30);
    let back = b.tables().four.conns[&reply(1, 2)];
    assert_eq!(back.status.state, State::FinWait as u8);
    assert_eq!(back.expires, b.conn(1).unwrap().expires);
    assert_ne!(back.status.flags & ConnFlags::REPLY, 0);
    b.take(&closing);
    assert_eq!(b.counts(2), (0, 1, 0), "told twice, counted once");
}

#[test]
fn an_active_one_replaces_what_leads_elsewhere_and_an_inactive_one_does_not() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.take(&told(1, 2, ESTABLISHED));
    b.take(&told(1, 3, FIN_WAIT));
    assert_eq!((b.counts(2), b.counts(3)), ((1, 0, 0), (0, 0, 0)));
    assert_eq!(b.happened(SyncCount::Refused), 1);
    b.take(&told(1, 3, ESTABLISHED));
    assert_eq!((b.counts(2), b.counts(3)), ((0, 0, 0), (1, 0, 0)));
    assert_eq!(b.conn(1).unwrap().to_addr, [10, 0, 0, 3]);
    assert!(!b.tables().four.conns.contains_key(&reply(1, 2)));
}

#[test]
fn without_a_time_told_the_timeout_is_that_of_the_state() {
    let mut b = Bench::with_three(Scheduler::Rr);
    for timeout in [None, Some(0)] {
        b.take(&Entry {
            timeout,
            ..told(1, 2, FIN_WAIT)
        });
        assert_eq!(b.seconds_left(1), 120);
    }
}

#[test]
fn a_half_open_connection_that_is_told_of_becomes_established() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.take(&told(1, 2, ESTABLISHED));
    {
        let mut t = b.tables();
        let entries = std::mem::take(&mut t.four.conns);
        t.four.half_open = entries;
    }
    b.take(&told(1, 2, ESTABLISHED));
    let t = b.tables();
    assert!(t.four.half_open.is_empty());
    assert_eq!(t.four.conns.len(), 2);
    assert_eq!(t.dest_states[1].active, 1);
}

#[test]
fn without_room_nothing_is_entered_or_counted() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.tables().capacities.conns = 0;
    b.take(&told(1, 2, ESTABLISHED));
    assert_eq!(b.counts(2), (0, 0, 0));
    assert_eq!(b.happened(SyncCount::Refused), 1);
    assert!(b.tables().four.conns.is_empty());
}

#[test]
fn what_has_no_place_here_is_counted_and_left() {
    let mut b = Bench::with_three(Scheduler::Rr);
    let v6 = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 1));
    let entry = told(1, 2, ESTABLISHED);
    for unfit in [
        Entry {
            proto: 50,
            ..entry.clone()
        },
        Entry {
            state: 99,
            ..entry.clone()
        },
        Entry {
            seq: Some([1; 24]),
            ..entry.clone()
        },
        Entry {
            client: v6,
            ..entry
        },
    ] {
        b.take(&unfit);
    }
    assert_eq!(b.happened(SyncCount::Unfit), 4);
    assert!(b.tables().four.conns.is_empty());
}

#[test]
fn what_comes_before_its_real_server_is_entered_with_it() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.run(delete(2));
    b.take(&told(1, 2, ESTABLISHED));
    b.take(&Entry {
        timeout: Some(20),
        ..told(2, 2, ESTABLISHED)
    });
    b.pass_seconds(30);
    assert_eq!(b.happened(SyncCount::Unbound), 2);
    b.run(add(2));
    b.pass_seconds(1);
    assert_eq!(b.happened(SyncCount::Entered), 1);
    assert_eq!(b.seconds_left(1), 69);
    assert!(b.conn(2).is_none(), "its time was over");
}

#[test]
fn a_backup_that_ended_forgets_what_had_no_place() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.run(delete(2));
    b.take(&told(1, 2, ESTABLISHED));
    b.director.forget_unbound();
    b.run(add(2));
    b.pass_seconds(1);
    assert!(b.conn(1).is_none());
}

#[test]
fn of_what_has_no_place_the_oldest_gives_way() {
    let mut b = Bench::new();
    let all: Vec<_> = (0..=65_535_u32)
        .chain([65_536, 65_537])
        .map(|n| Entry {
            client: at((n + 0x0a00_0000).to_be_bytes(), 9),
            ..told(1, 2, ESTABLISHED)
        })
        .collect();
    b.director.take_in(&all).unwrap();
    assert_eq!(b.happened(SyncCount::UnboundLost), 2);
}

#[test]
fn a_told_template_ties_its_client_and_counts() {
    let mut b = Bench::persistent();
    b.take(&told_template(2));
    assert_eq!(b.counts(2), (0, 0, 1));
    let template = b.tables().four.templates[&template_key()];
    assert_eq!(
        (template.dest, template.children, template.assured),
        (1, 0, 0)
    );
    assert_eq!(template.timeout, 360 * u64::from(HZ), "the service's own");
    b.take(&Entry {
        state: 1,
        ..told_template(2)
    });
    assert_eq!(b.tables().four.templates[&template_key()].assured, 1);
    assert_eq!(b.counts(2), (0, 0, 1));
    b.pass_seconds(100);
    assert!(b.tables().four.templates.is_empty());
    assert_eq!(b.counts(2), (0, 0, 0));
}

#[test]
fn a_template_that_leads_elsewhere_stays_unless_its_real_server_is_gone() {
    let mut b = Bench::persistent();
    b.take(&told_template(2));
    b.take(&told_template(3));
    assert_eq!((b.counts(2), b.counts(3)), ((0, 0, 1), (0, 0, 0)));
    b.run(delete(2));
    b.take(&told_template(3));
    assert_eq!((b.counts(2), b.counts(3)), ((0, 0, 1), (0, 0, 1)));
    let later = TemplateKey {
        generation: 1,
        ..template_key()
    };
    assert_eq!(b.tables().four.templates[&later].dest, 2);
    assert_ne!(b.tables().four.templates[&template_key()].renamed, 0);
}

#[test]
fn a_template_in_the_place_of_one_that_ended_has_no_children() {
    let mut b = Bench::persistent();
    let ended = Template {
        dest: u32::MAX,
        children: 0,
        ..Template::default()
    };
    b.tables().four.templates.insert(template_key(), ended);
    b.take(&told_template(2));
    let template = b.tables().four.templates[&template_key()];
    assert_eq!((template.dest, template.children), (1, 0));
}

#[test]
fn entering_is_an_event() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.take(&told(1, 2, ESTABLISHED));
    let entered = Event::SyncEntered.slot() as usize;
    assert_eq!(b.tables().reasons[entered], 1);
}

#[test]
fn real_server_of_the_other_family_and_a_sync_daemon_exclude_each_other() {
    let mut b = Bench::with_three(Scheduler::Rr);
    let mixed = Command::AddDest {
        service: web(),
        dest: DestKey::new("2001:db8::1".parse().unwrap(), 80),
        spec: DestSpec::new(ForwardingMethod::Tunnel, 1),
    };
    for set in [Director::tell_backup, Director::listen_to_master] {
        set(&mut b.director, true).unwrap();
        let refused = b.director.execute(&mixed).unwrap_err().to_string();
        assert_eq!(
            refused,
            "[2001:db8::1]:80: a real server of the other address family, while a sync daemon runs"
        );
        set(&mut b.director, false).unwrap();
    }
    assert_eq!(b.director.mixed_dest(), None);
    b.director.execute(&mixed).unwrap();
    let found = b.director.mixed_dest().unwrap();
    assert_eq!(found.socket().to_string(), "[2001:db8::1]:80");
}
