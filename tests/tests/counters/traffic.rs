//! Any traffic and any commands, through the datapath on the host; only what must always hold is asked.

use ipvs_common::{Policy, maps::Capacities};
use ipvs_tests::{
    backend::{Backend, HZ, Host, START, Setup, Verdict},
    random::{COMMANDS, DESTS, Generator, LINK_MARKS, random_command, random_knob},
    replay::Console,
    six,
    trace::Network,
};
use ipvs_user::model::{Command, ServiceSpec};

use super::references;

/// So small that tables get full and half-open connections make room.
const CAPACITIES: Capacities = Capacities {
    conns: 1 << 8,
    half_open: 1 << 6,
    templates: 1 << 5,
    conns6: 1 << 8,
    half_open6: 1 << 6,
    templates6: 1 << 5,
    ..Capacities::SMALL
};

pub(crate) struct Traffic {
    host: Host,
    console: Console,
    generator: Generator,
    clock: u64,
    /// Over IPv6.
    six: bool,
}

impl Traffic {
    pub(crate) fn new(seed: u64, six: bool) -> Self {
        let mut setup = Setup::new(Network::load().unwrap());
        setup.capacities = CAPACITIES;
        setup.marks = LINK_MARKS;
        let mut generator = Generator::new(setup.network.clone(), seed);
        if six {
            generator = generator.over_six();
        }
        let host = Host::new(setup);
        let console = Console::new(host.dataplane(), &host.setup().network).unwrap();
        for command in COMMANDS {
            console.run(&of_family(command, six)).unwrap();
        }
        // Marked packets are the director's, so that they may bypass the real servers.
        host.tables().local_marks.insert(7);
        Self {
            host,
            console,
            generator,
            clock: START,
            six,
        }
    }

    /// A packet, or something else.
    pub(crate) fn step(&mut self) {
        match self.generator.rng().u8(..100) {
            0..4 => {
                let command = random_command(self.generator.rng());
                drop(self.console.run(&of_family(&command, self.six)));
            }
            4 => self.turn_knob(),
            5 => self.change_policy(),
            6..10 => self.pass(1..20),
            10 => self.pass(20..400),
            _ => {
                let arrival = self.generator.arrival();
                let out = self.host.run(arrival.link, &arrival.frame).unwrap();
                if matches!(out.verdict, Verdict::Redirect(_) | Verdict::Tx) {
                    self.generator.observe(&out.frame);
                }
            }
        }
        self.holds();
    }

    fn turn_knob(&mut self) {
        let mut director = self.console.director();
        let knob = random_knob(self.generator.rng());
        // Where the host's table is in another order than the kernel's nobody compares: this one may be turned, too.
        let drop_entry = ["0", "3"][self.generator.rng().usize(..2)];
        director
            .set_sysctls([knob, ("drop_entry", drop_entry)])
            .unwrap();
    }

    fn change_policy(&mut self) {
        let mut director = self.console.director();
        let any = Policy::RESET | Policy::RESCHEDULE | Policy::REOPEN | Policy::TEMPLATES_DIE;
        let policy = self.generator.rng().u8(..) & any;
        let services: Vec<_> = director
            .model()
            .services()
            .map(|s| (s.key, s.spec))
            .collect();
        if let Some((service, before)) = self.generator.rng().choice(services) {
            let spec = ServiceSpec { policy, ..before };
            let keep = 0;
            let edit = Command::EditService {
                service,
                spec,
                keep,
            };
            director.execute(&edit).unwrap();
        }
    }

    fn pass(&mut self, seconds: std::ops::Range<u64>) {
        self.clock += self.generator.rng().u64(seconds) * HZ;
        self.host.set_clock(self.clock).unwrap();
        // Not always has anybody looked at the tables before the next packet comes.
        if self.generator.rng().bool() {
            self.console.director().tick().unwrap();
        }
    }

    fn holds(&self) {
        let tables = self.host.snapshot(DESTS).unwrap();
        tables.is_consistent().unwrap();
        references::lead_to_the_living(&self.host.tables(), &self.console.director());
    }

    pub(crate) fn everything_ends(&mut self) {
        // Longer than any timer; more often than templates have generations.
        for _ in 0..12 {
            self.clock += 1000 * HZ;
            self.host.set_clock(self.clock).unwrap();
            self.console.director().tick().unwrap();
        }
        self.holds();
        self.host.snapshot(DESTS).unwrap().is_empty().unwrap();
        assert_eq!(self.console.director().usage().trash, 0);
    }
}

fn of_family(command: &str, six: bool) -> String {
    if six {
        six::command(command)
    } else {
        six::command_of_four(command)
    }
}
