//! What ends without a packet, over the host's tables in virtual time.

use std::time::Duration;

use ipvs_common::{
    Conn, ConnFlags, DropReason, Event, FlowKey, LblcEntry, LblcKey, LblcrEntry, Settings, Template,
};

use super::*;
use crate::director::{Aged, CacheLimits};

const CLIENT: [u8; 4] = [198, 51, 100, 1];
const VIP: [u8; 4] = [203, 0, 113, 10];

fn flow(n: u16) -> FlowKey {
    FlowKey::new(6, CLIENT, n.to_be_bytes(), VIP, 80u16.to_be_bytes())
}

impl Bench {
    /// An established connection to a real server by its index, last used now.
    fn connect(&self, n: u16, dest: u32) -> FlowKey {
        self.enter(n, dest, State::Established, 1)
    }

    fn enter(&self, n: u16, dest: u32, state: State, packets: u8) -> FlowKey {
        let mut t = self.tables();
        let timeout = t.settings.timeouts[state as usize];
        let active = State::is_active(state as u8);
        let conn = Conn {
            expires: t.clock + u64::from(timeout),
            dest,
            packets,
            status: Status {
                state: state as u8,
                flags: if active { ConnFlags::ACTIVE } else { 0 },
                method: ForwardingMethod::Droute as u8,
                ..Status::default()
            },
            ..Conn::default()
        };
        t.four.conns.insert(flow(n), conn);
        let counts = &mut t.dest_states[dest as usize];
        *(if active {
            &mut counts.active
        } else {
            &mut counts.inactive
        }) += 1;
        flow(n)
    }

    fn template(&self, generation: u8, dest: u32, children: u32, seconds: u64) -> TemplateKey {
        let key = TemplateKey {
            client: CLIENT,
            vip: VIP,
            vport: [0, 80],
            proto: 6,
            generation,
        };
        let mut t = self.tables();
        let template = Template {
            expires: t.clock + seconds * u64::from(HZ),
            timeout: seconds * u64::from(HZ),
            dest,
            children,
            ..Template::default()
        };
        t.four.templates.insert(key, template);
        t.dest_states[dest as usize].persistent += 1;
        key
    }

    fn count(&self, event: Event) -> u64 {
        self.tables().reasons[event.slot() as usize]
    }

    fn settings(&mut self, adjust: impl FnOnce(&mut Settings)) {
        self.director.adjust_settings(adjust).unwrap();
    }
}

fn nodest(settings: &mut Settings) {
    settings.flags |= SettingsFlags::EXPIRE_NODEST;
}

#[test]
fn a_connection_ends_at_its_deadline_and_no_second_later() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.connect(1, 0);
    b.pass_seconds(899);
    assert_eq!(b.tables().four.conns.len(), 1);
    b.pass_seconds(1);
    assert_eq!(b.tables().four.conns.len(), 0);
    assert_eq!(b.tables().dest_states[0].active, 0);
    assert_eq!(b.count(Event::Expired), 1);
}

#[test]
fn ageing_in_parts_ends_what_housekeeping_leaves_alone() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.director.age_in_parts();
    b.connect(1, 0);
    b.pass_seconds(1000);
    assert_eq!(b.tables().four.conns.len(), 1);
    assert_eq!(b.director.connections().unwrap(), []);
    let aged = b.director.age(Duration::from_millis(1)).unwrap();
    assert_eq!(aged, Aged::Round);
    assert_eq!(b.tables().four.conns.len(), 0);
}

#[test]
fn a_template_with_children_is_listed_from_minute_to_minute() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.director.age_in_parts();
    b.template(0, 1, 1, 30);
    let remaining = |b: &Bench| {
        let list = b.director.connections().unwrap();
        list.first().map(|c| c.remaining)
    };
    b.pass_seconds(29);
    assert_eq!(remaining(&b), Some(1));
    b.pass_seconds(1);
    assert_eq!(remaining(&b), Some(60));
    b.pass_seconds(70);
    assert_eq!(remaining(&b), Some(50));
    for template in b.tables().four.templates.values_mut() {
        template.children = 0;
    }
    assert_eq!(remaining(&b), None);
}

#[test]
fn a_template_keeps_its_place_while_a_later_generation_is_there() {
    let mut b = Bench::with_three(Scheduler::Rr);
    let first = b.template(0, 0, 0, 10);
    let second = b.template(1, 1, 0, 20);
    b.pass_seconds(10);
    assert_eq!(b.tables().four.templates[&first].dest, u32::MAX);
    assert_eq!(b.tables().dest_states[0].persistent, 0);
    assert_eq!(b.director.connections().unwrap().len(), 1, "the second");
    b.pass_seconds(10);
    assert!(!b.tables().four.templates.contains_key(&second));
    assert_eq!(b.tables().dest_states[1].persistent, 0);
    b.pass_seconds(1);
    assert!(b.tables().four.templates.is_empty());
    assert_eq!(b.count(Event::TemplateExpired), 2);
}

#[test]
fn a_last_generation_looks_for_none_after_it() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.template(TemplateKey::GENERATIONS - 1, 0, 0, 10);
    b.pass_seconds(10);
    assert!(b.tables().four.templates.is_empty());
}

#[test]
fn connections_of_a_deleted_real_server_end_with_it_if_that_is_wished() {
    for wished in [false, true] {
        let mut b = Bench::with_three(Scheduler::Rr);
        if wished {
            b.settings(nodest);
        }
        let (stays, goes) = (b.connect(1, 0), b.connect(2, 1));
        b.template(0, 1, 0, 300);
        b.run(delete(2));
        let t = b.tables();
        assert!(t.four.conns.contains_key(&stays));
        assert_eq!(t.four.conns.contains_key(&goes), !wished);
        assert_eq!(t.four.templates.is_empty(), wished);
        let counts = (t.dest_states[1].active, t.dest_states[1].persistent);
        assert_eq!(counts, if wished { (0, 0) } else { (1, 1) });
        drop(t);
        assert_eq!(b.count(Event::DestGoneEnded), u64::from(wished));
    }
}

#[test]
fn connections_of_a_deleted_service_end_with_it_half_open_ones_too() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.settings(nodest);
    let key = b.enter(1, 2, State::SynRecv, 1);
    let moved = b.tables().four.conns.remove(&key).unwrap();
    b.tables().four.half_open.insert(key, moved);
    b.connect(2, 0);
    b.run(Command::DeleteService { service: web() });
    assert!(b.tables().four.conns.is_empty() && b.tables().four.half_open.is_empty());
    assert_eq!(b.count(Event::DestGoneEnded), 2);
}

#[test]
fn the_wish_counts_for_real_servers_deleted_before() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.connect(1, 1);
    b.run(delete(2));
    assert_eq!(b.tables().four.conns.len(), 1);
    b.settings(nodest);
    assert_eq!(b.tables().four.conns.len(), 0);
}

#[test]
fn in_parts_connections_of_deleted_real_servers_come_first() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.director.age_in_parts();
    b.settings(nodest);
    b.connect(1, 1);
    assert!(!b.director.is_ending());
    b.run(delete(2));
    assert!(b.director.is_ending());
    assert_eq!(b.tables().four.conns.len(), 1);
    let slice = Duration::from_millis(1);
    assert_eq!(b.director.age(slice).unwrap(), Aged::Urgent);
    assert_eq!(b.tables().four.conns.len(), 0);
    assert!(!b.director.is_ending());
    assert_eq!(b.director.age(slice).unwrap(), Aged::Round);
}

#[test]
fn connections_of_a_real_server_deleted_after_the_wish_was_taken_back_stay() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.director.age_in_parts();
    b.settings(nodest);
    let (stays, goes) = (b.connect(1, 0), b.connect(2, 1));
    b.run(delete(2));
    b.settings(|settings| settings.flags &= !SettingsFlags::EXPIRE_NODEST);
    b.run(delete(1));
    b.director.age(Duration::from_millis(1)).unwrap();
    assert!(!b.tables().four.conns.contains_key(&goes));
    assert!(b.tables().four.conns.contains_key(&stays));
}

#[test]
fn connections_of_a_real_server_that_came_back_stay() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.director.age_in_parts();
    b.settings(nodest);
    let stays = b.connect(1, 1);
    b.run(delete(2));
    b.run(add(2));
    b.director.age(Duration::from_millis(1)).unwrap();
    assert!(b.tables().four.conns.contains_key(&stays));
    assert!(!b.director.is_ending());
}

#[test]
fn a_template_that_proved_nothing_goes_with_its_last_child() {
    for assured in [0, 1] {
        let mut b = Bench::with_three(Scheduler::Rr);
        let template = b.template(0, 0, 1, 300);
        let key = b.enter(1, 0, State::SynRecv, 1);
        {
            let mut t = b.tables();
            t.four.templates.get_mut(&template).unwrap().assured = assured;
            let status = &mut t.four.conns.get_mut(&key).unwrap().status;
            status.flags |= ConnFlags::CHILD;
            status.template_prefix = 32;
        }
        b.director.set_drop_entry(true);
        b.pass_seconds(32);
        assert!(b.tables().four.conns.is_empty());
        let left = b.tables().four.templates.len();
        assert_eq!(left, assured as usize, "assured: {assured}");
    }
}

#[test]
fn the_defence_looks_at_everything_once_in_32_seconds() {
    let mut b = Bench::with_three(Scheduler::Rr);
    for n in 0..640 {
        b.enter(n, 0, State::SynRecv, 1);
    }
    b.pass_seconds(20);
    assert_eq!(b.tables().four.conns.len(), 640, "not in force");
    b.director.set_drop_entry(true);
    let mut left = 640;
    for _ in 0..32 {
        b.pass_seconds(1);
        let now = b.tables().four.conns.len();
        assert!(left - now <= 60, "{} at once", left - now);
        left = now;
    }
    // Their own timer ends none of them in this time.
    assert_eq!(left, 0);
    assert_eq!(b.count(Event::DroppedEntry), 640);
    assert_eq!(b.tables().dest_states[0].active, 0);
}

#[test]
fn the_defence_spares_a_masqueraded_connection_that_only_answers() {
    let mut b = Bench::with_three(Scheduler::Rr);
    let key = b.connect(1, 0);
    {
        let mut t = b.tables();
        let (now, hz) = (t.clock, u64::from(HZ));
        let conn = t.four.conns.get_mut(&key).unwrap();
        conn.status.method = ForwardingMethod::Masq as u8;
        (conn.to_addr, conn.to_port) = ([10, 0, 0, 1], [0, 80]);
        let reply = Conn {
            expires: now + 900 * hz,
            to_addr: VIP,
            to_port: [0, 80],
            status: Status {
                flags: conn.status.flags | ConnFlags::REPLY,
                ..conn.status
            },
            ..*conn
        };
        conn.expires = now + 800 * hz;
        let back = FlowKey::new(6, [10, 0, 0, 1], [0, 80], CLIENT, key.sport);
        t.four.conns.insert(back, reply);
    }
    b.director.set_drop_entry(true);
    b.pass_seconds(32);
    assert_eq!(
        b.tables().four.conns.len(),
        2,
        "idle for a minute in one direction"
    );
    b.pass_seconds(64);
    assert_eq!(b.tables().four.conns.len(), 0);
}

#[test]
fn caches_age_by_their_own_service() {
    let mut b = Bench::with_three(Scheduler::Lblc);
    b.director.set_cache_limits(CacheLimits {
        lblc_expiration: 600,
        ..CacheLimits::default()
    });
    let key = |n| LblcKey {
        addr: Addr::v4([203, 0, 113, n]),
        service: 0,
    };
    b.pass_seconds(1000);
    {
        let mut t = b.tables();
        let now = t.clock;
        let entry = |last_use| LblcEntry {
            last_use,
            ..LblcEntry::default()
        };
        t.lblc.insert(key(1), entry(now - 1));
        t.lblc.insert(key(2), entry(now + 300 * u64::from(HZ)));
        t.lblcr.insert(
            key(1),
            LblcrEntry {
                last_use: 0,
                last_change: 0,
                count: 0,
                pad: 0,
                members: [0; LblcrEntry::MAX_MEMBERS],
            },
        );
    }
    b.pass_seconds(799);
    assert_eq!(b.tables().lblc.len(), 2);
    b.pass_seconds(1);
    assert!(b.tables().lblc.keys().eq([&key(2)]));
    assert_eq!(b.tables().lblcr.len(), 1, "another scheduler's");
}

#[test]
fn nothing_is_said_of_connections_that_a_change_left_alone() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.settings(nodest);
    b.connect(1, 0);
    b.run(add(4));
    assert_eq!(b.tables().four.conns.len(), 1);
    assert_eq!(b.tables().reasons[DropReason::DestGone.slot() as usize], 0);
}
