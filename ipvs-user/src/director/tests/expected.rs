//! When packets look for announced connections.

use std::net::SocketAddrV4;

use super::*;
use crate::director::Expectation;

impl Bench {
    fn expect(&mut self, timeout: u32) {
        let expectation = Expectation {
            protocol: Proto::Tcp,
            client: [198, 51, 100, 1].into(),
            virt: SocketAddrV4::new([203, 0, 113, 10].into(), 40000),
            service: web(),
            real: DestKey { port: 0, ..real(2) },
            timeout,
        };
        self.director.expect(&expectation).unwrap();
    }

    fn looks(&self) -> bool {
        self.tables().settings.flags & SettingsFlags::HAS_EXPECTED != 0
    }
}

#[test]
fn packets_look_for_announced_connections_until_the_last_one_ends() {
    let mut b = Bench::with_three(Scheduler::Rr);
    assert!(!b.looks());
    b.expect(60);
    b.expect(10);
    b.pass_seconds(10);
    assert_eq!(b.tables().dest_states[1].inactive, 0);
    b.director.set_sysctl("sloppy_tcp", "1").unwrap();
    assert!(b.looks());
    b.pass_seconds(49);
    assert!(b.looks());
    b.pass_seconds(1);
    assert!(!b.looks());
    b.expect(1);
    assert!(b.looks());
    assert_eq!(b.tables().dest_states[1].inactive, 1);
}

#[test]
fn one_for_which_there_is_no_room_is_refused() {
    let mut b = Bench::with_three(Scheduler::Rr);
    b.tables().capacities.half_open = 0;
    let expectation = Expectation {
        protocol: Proto::Udp,
        client: [198, 51, 100, 1].into(),
        virt: SocketAddrV4::new([203, 0, 113, 10].into(), 40000),
        service: web(),
        real: real(2),
        timeout: 1,
    };
    let refused = b.director.expect(&expectation).unwrap_err().to_string();
    assert!(
        refused.starts_with("no room for another half-open"),
        "{refused}"
    );
    assert_eq!(b.tables().dest_states[1].inactive, 0);
    b.pass_seconds(1);
    assert!(!b.looks());
}
