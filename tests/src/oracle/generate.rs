//! Scenarios from seeds: services, real servers, clients' conversations, and edits in between, within what the datapath
//! carries (IPv4; TCP and UDP, and where that is asked for SCTP, which leaves all others' seeds what they are). What is drawn by lot in ip_vs itself is left out: the scheduler twos.

mod traffic;

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

use super::scenario::{Scenario, Step};
use traffic::Traffic;

const SCHEDULERS: [&str; 13] = [
    "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh",
];
const METHODS: [(&str, &str); 3] = [("-m", "masq"), ("-g", "droute"), ("-i", "tunnel")];
/// Real servers that a service has at most.
pub(super) const REALS: u8 = 6;
const LISTINGS: [&str; 5] = [
    "-Ln",
    "-Lnc",
    "-Ln --thresholds",
    "-Ln --persistent-conn",
    "-Sn",
];
/// Milliseconds after which all packets are in ip_vs's statistics.
const ESTIMATED: u64 = 2500;
/// Knobs that change what happens to packets at once, with values to try.
const SCTP_KNOBS: [(&str, u32); 3] = [
    ("conn_reuse_mode", 0),
    ("sloppy_sctp", 1),
    ("expire_quiescent_template", 1),
];
const KNOBS: [(&str, u32); 4] = [
    ("conn_reuse_mode", 0),
    ("sloppy_tcp", 1),
    ("expire_quiescent_template", 1),
    ("nat_icmp_send", 0),
];

/// A service that stays. Without any, ip_vs takes itself out of the packets' way, and connections end.
const BYSTANDER: &str = "-A -t VIP99:99 -s rr";

/// A service as commands name it, and as packets reach it.
#[derive(Clone, Debug)]
struct Service {
    name: String,
    kind: Kind,
    vip: u8,
    port: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Tcp,
    Udp,
    Marked,
    Sctp,
}

/// The scenario of a seed.
#[must_use]
pub fn generate(seed: u64) -> Scenario {
    draft(seed, false)
}

/// The one with SCTP.
#[must_use]
pub fn generate_sctp(seed: u64) -> Scenario {
    draft(seed, true)
}

fn draft(seed: u64, sctp: bool) -> Scenario {
    let mut draft = Draft {
        rng: Rng::with_seed(seed),
        sctp,
        behaviours: BTreeSet::new(),
        steps: Vec::new(),
        services: Vec::new(),
        deleted: BTreeSet::new(),
        methods: BTreeMap::new(),
        traffic: Traffic::default(),
    };
    draft.traffic.sctp = sctp;
    draft.write();
    Scenario {
        name: format!("{}-{seed}", if sctp { "sctp" } else { "seed" }),
        behaviours: draft.behaviours,
        steps: draft.steps,
    }
}

struct Draft {
    rng: Rng,
    /// Most services are of SCTP.
    sctp: bool,
    behaviours: BTreeSet<String>,
    steps: Vec<Step>,
    services: Vec<Service>,
    /// Their names.
    deleted: BTreeSet<String>,
    /// What each service's real servers were told last.
    methods: BTreeMap<(String, u8), (&'static str, &'static str)>,
    traffic: Traffic,
}

impl Draft {
    fn write(&mut self) {
        if self.chance(12) {
            let knobs = if self.sctp {
                &SCTP_KNOBS[..]
            } else {
                &KNOBS[..]
            };
            let (name, value) = knobs[self.rng.usize(..knobs.len())];
            self.about(name);
            self.steps.push(Step::Sysctl {
                name: name.to_owned(),
                value,
            });
        }
        if self.chance(20) {
            self.about("reused ports");
            self.traffic.reuses_ports = true;
        }
        let start = self.steps.len();
        let bystander = !self.chance(10);
        if bystander {
            self.ipvsadm(BYSTANDER.to_owned());
        }
        for index in 0..self.rng.u8(1..=3) {
            self.add_service(index);
        }
        self.restore_at_once(start);
        for _ in 0..self.rng.u8(3..=7) {
            self.packets();
            self.edit();
        }
        if self.chance(5) {
            self.let_expire();
        }
        self.packets();
        if self.chance(4) {
            self.about("statistics");
            self.steps.push(Step::Wait(ESTIMATED));
            self.ipvsadm("-Ln --stats".to_owned());
        }
        self.ipvsadm("-Ln".to_owned());
        self.ipvsadm("-Lnc".to_owned());
        let names: BTreeSet<_> = self.services.iter().map(|s| &s.name).collect();
        if !bystander && names.len() == self.deleted.len() {
            self.about("no service left");
        }
        let last = LISTINGS[self.rng.usize(2..LISTINGS.len())];
        self.ipvsadm(last.to_owned());
    }

    /// The commands from `start` on become one.
    fn restore_at_once(&mut self, start: usize) {
        let commands = self.steps.drain(start..).filter_map(|step| {
            if let Step::Ipvsadm(line) = step {
                Some(line)
            } else {
                None
            }
        });
        let commands = commands.collect();
        self.steps.push(Step::Restore(commands));
    }

    /// Connections with short timers, which end before anyone looks.
    fn let_expire(&mut self) {
        self.about("short timers");
        self.ipvsadm("--set 2 2 2".to_owned());
        self.packets();
        self.steps.push(Step::Wait(6000));
        self.ipvsadm("-Lnc".to_owned());
        self.ipvsadm("--set 900 120 300".to_owned());
    }

    fn chance(&mut self, percent: u8) -> bool {
        self.rng.u8(..100) < percent
    }

    fn about(&mut self, behaviour: &str) {
        if !self.behaviours.contains(behaviour) {
            self.behaviours.insert(behaviour.to_owned());
        }
    }

    fn ipvsadm(&mut self, arguments: String) {
        self.steps.push(Step::Ipvsadm(arguments));
    }

    fn add_service(&mut self, index: u8) {
        let kind = match self.rng.u8(..10) {
            0..6 if self.sctp => Kind::Sctp,
            0..6 => Kind::Tcp,
            6..9 => Kind::Udp,
            _ if self.services.iter().any(|s| s.kind == Kind::Marked) => Kind::Tcp,
            _ => Kind::Marked,
        };
        let any_port = kind != Kind::Marked && self.chance(8);
        let port = if any_port {
            0
        } else {
            [25, 53, 80, 443][self.rng.usize(..4)]
        };
        let name = match kind {
            Kind::Tcp => format!("-t VIP{index}:{port}"),
            Kind::Udp => format!("-u VIP{index}:{port}"),
            Kind::Sctp => format!("--sctp-service VIP{index}:{port}"),
            Kind::Marked => "-f 7".to_owned(),
        };
        self.about(match kind {
            Kind::Tcp => "tcp",
            Kind::Udp => "udp",
            Kind::Sctp => "sctp",
            Kind::Marked => "firewall mark",
        });
        let service = Service {
            name,
            kind,
            vip: index,
            port,
        };
        let options = self.options(&service, any_port);
        self.ipvsadm(format!("-A {} {options}", service.name));
        for real in 0..self.rng.u8(1..=5) {
            self.add_real(&service, real);
        }
        self.services.push(service);
    }

    /// Scheduler, flags and persistence.
    fn options(&mut self, service: &Service, any_port: bool) -> String {
        let scheduler = SCHEDULERS[self.rng.usize(..SCHEDULERS.len())];
        self.about(scheduler);
        let mut options = format!("-s {scheduler}");
        if matches!(scheduler, "sh" | "mh") && self.chance(50) {
            let flag = ["port", "fallback", "port,fallback"][self.rng.usize(..3)];
            let flags: Vec<_> = flag
                .split(',')
                .map(|f| format!("{scheduler}-{f}"))
                .collect();
            options = format!("{options} -b {}", flags.join(","));
            self.about("scheduler flags");
        }
        if any_port || self.chance(25) {
            self.about("persistence");
            options = format!("{options} -p {}", self.rng.u16(300..1000));
            if self.chance(30) {
                self.about("persistence netmask");
                options.push_str(" -M 255.255.255.240");
            }
        } else if service.kind == Kind::Udp && self.chance(20) {
            self.about("one packet");
            options.push_str(" -o");
        }
        if any_port {
            self.about("any port");
        }
        options
    }

    fn add_real(&mut self, service: &Service, real: u8) {
        let address = real_of(service, real);
        let settings = self.settings(service, real);
        self.ipvsadm(format!("-a {} -r {address} {settings}", service.name));
    }

    fn settings(&mut self, service: &Service, real: u8) -> String {
        let (letter, name) = self.method(service, real);
        self.about(name);
        let weight = self.rng.u8(..=5);
        let mut settings = format!("{letter} -w {weight}");
        if self.chance(15) {
            self.about("thresholds");
            let upper = self.rng.u8(1..6);
            settings = format!("{settings} -x {upper} -y {}", self.rng.u8(..=upper));
        }
        settings
    }

    /// Mostly the one that it had before.
    fn method(&mut self, service: &Service, real: u8) -> (&'static str, &'static str) {
        let key = (service.name.clone(), real);
        let before = self.methods.get(&key).copied();
        if let Some(before) = before.filter(|_| !self.chance(15)) {
            return before;
        }
        let method = METHODS[self.rng.usize(..METHODS.len())];
        self.methods.insert(key, method);
        if before.is_some_and(|before| before != method) {
            self.about("changed method");
        }
        method
    }

    fn packets(&mut self) {
        for _ in 0..self.rng.u8(8..=40) {
            let step = self
                .traffic
                .step(&mut self.rng, &self.services, &mut self.behaviours);
            self.steps.push(step);
        }
    }

    /// A change or a listing. Some do not fit what is configured: both have to refuse them alike.
    fn edit(&mut self) {
        let service = self.services[self.rng.usize(..self.services.len())].clone();
        let name = &service.name;
        let real = self.rng.u8(..REALS);
        let address = real_of(&service, real);
        match self.rng.u8(..100) {
            0..30 => {
                self.about("edited real servers");
                let settings = self.settings(&service, real);
                self.ipvsadm(format!("-e {name} -r {address} {settings}"));
            }
            30..45 => {
                self.about("deleted real servers");
                self.ipvsadm(format!("-d {name} -r {address}"));
            }
            45..62 => {
                self.about("added real servers");
                self.add_real(&service, real);
            }
            62..70 => {
                self.about("edited services");
                let options =
                    self.options(&service, service.port == 0 && service.kind != Kind::Marked);
                self.ipvsadm(format!("-E {name} {options}"));
            }
            70..74 => {
                self.about("deleted services");
                self.deleted.insert(service.name.clone());
                self.ipvsadm(format!("-D {name}"));
            }
            74..78 => {
                self.about("zeroed counters");
                // The kernel zeroes what its estimator has counted by then.
                self.steps.push(Step::Wait(ESTIMATED));
                self.ipvsadm("-Z".to_owned());
            }
            _ => {
                let listing = LISTINGS[self.rng.usize(..2)];
                self.ipvsadm(listing.to_owned());
            }
        }
    }
}

/// Real servers with even numbers have the service's port, the others one of their own.
fn real_of(service: &Service, real: u8) -> String {
    if service.kind == Kind::Marked || service.port == 0 || real.is_multiple_of(2) {
        return format!("REAL{real}");
    }
    format!("REAL{real}:{}", service.port + 8000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_decides_the_scenario() {
        assert_eq!(generate(7), generate(7));
        assert_ne!(generate(7).steps, generate(8).steps);
    }

    #[test]
    fn seeds_without_sctp_mean_what_they_did() {
        let text = serde_json::to_string(&generate(7)).unwrap();
        assert!(!text.contains("sctp") && !text.contains("chunk"));
        let text = serde_json::to_string(&generate_sctp(7)).unwrap();
        assert!(text.contains("--sctp-service") && text.contains("chunk"));
    }

    #[test]
    fn all_schedulers_and_methods_come_up() {
        let all: BTreeSet<_> = (0..300)
            .flat_map(|seed| generate(seed).behaviours)
            .collect();
        for name in SCHEDULERS
            .iter()
            .chain(METHODS.iter().map(|(_, name)| name))
        {
            assert!(all.contains(*name), "{name}");
        }
        assert!(all.len() > 30, "{all:?}");
    }
}
