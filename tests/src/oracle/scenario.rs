//! What a scenario is: steps in order, in terms that name no address. Knows neither networks nor directors.

use std::collections::BTreeSet;

use ipvs_common::Proto;
use serde::{Deserialize, Serialize};

/// Steps in order. In commands `VIP0` stands for a virtual address and `REAL0` for a real server's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub name: String,
    /// What it is about, as the score counts.
    pub behaviours: BTreeSet<String>,
    pub steps: Vec<Step>,
}

impl Scenario {
    /// How many services are configured before a step, if no command fails.
    #[must_use]
    pub fn services_before(&self, step: usize) -> usize {
        let steps = &self.steps[..step.min(self.steps.len())];
        let commands = steps.iter().flat_map(|step| match step {
            Step::Ipvsadm(line) => std::slice::from_ref(line),
            Step::Restore(lines) => lines,
            Step::Sysctl { .. } | Step::Packet(_) | Step::Reply(_) | Step::Wait(_) => &[],
        });
        let mut services = BTreeSet::new();
        for command in commands {
            let mut words = command.split(' ');
            let what = words.next();
            let service: Vec<_> = words.take(2).collect();
            match what {
                Some("-A") => _ = services.insert(service),
                Some("-D") => _ = services.remove(&service),
                _ => {}
            }
        }
        services.len()
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Arguments of `ipvsadm`; how it ends and what it prints is compared.
    Ipvsadm(String),
    /// Lines for `ipvsadm -R`.
    Restore(Vec<String>),
    /// A knob of `/proc/sys/net/ipv4/vs/`, which is put back at the end.
    Sysctl { name: String, value: u32 },
    /// From a client to a virtual address.
    Packet(Packet),
    /// Back from the masqueraded real server that the kernel chose for the client's packets; nothing if it chose none.
    Reply(Packet),
    /// Milliseconds.
    Wait(u64),
}

/// A packet between a client and a virtual service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packet {
    /// `udp` instead of TCP.
    #[serde(default, skip_serializing_if = "is_default")]
    pub udp: bool,
    /// In by the link whose packets have a firewall mark.
    #[serde(default, skip_serializing_if = "is_default")]
    pub marked: bool,
    pub client: u8,
    pub client_port: u16,
    pub vip: u8,
    pub port: u16,
    /// Of TCP, such as `SA`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub flags: String,
    /// SCTP instead, by the type of its first chunk.
    #[serde(default, skip_serializing_if = "is_default")]
    pub chunk: Option<u8>,
    /// An ABORT follows that chunk.
    #[serde(default, skip_serializing_if = "is_default")]
    pub aborts: bool,
    /// Bytes of data.
    #[serde(default, skip_serializing_if = "is_default")]
    pub data: usize,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Packet {
    #[must_use]
    pub const fn proto(&self) -> Proto {
        if self.chunk.is_some() {
            Proto::Sctp
        } else if self.udp {
            Proto::Udp
        } else {
            Proto::Tcp
        }
    }

    /// TCP flags as bits.
    #[must_use]
    pub fn bits(&self) -> u8 {
        const LETTERS: &str = "FSRPAU";
        let bits = self.flags.chars().filter_map(|c| LETTERS.find(c));
        bits.fold(0, |all, bit| all | 1 << bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_those_that_were_added_and_not_deleted() {
        let lines = [
            "-A -t VIP0:80 -s rr",
            "-A -f 7 -s rr",
            "-a -f 7 -r REAL0 -m",
        ];
        let commands = [
            "-D -f 7",
            "-D -f 7",
            "-E -t VIP0:80 -s wrr",
            "-D -t VIP0:80",
        ];
        let restored = Step::Restore(lines.map(str::to_owned).into());
        let edits = commands.map(|command| Step::Ipvsadm(command.to_owned()));
        let scenario = Scenario {
            name: String::new(),
            behaviours: BTreeSet::new(),
            steps: [restored].into_iter().chain(edits).collect(),
        };
        let counts = [0, 1, 2, 3, 4, 5, 9].map(|step| scenario.services_before(step));
        assert_eq!(counts, [0, 2, 1, 1, 1, 0, 0]);
    }

    #[test]
    fn scenario_survives_being_written_and_read() {
        let packet = Packet {
            udp: false,
            marked: true,
            client: 1,
            client_port: 4000,
            vip: 0,
            port: 80,
            flags: "SA".to_owned(),
            chunk: None,
            aborts: false,
            data: 3,
        };
        assert_eq!(packet.bits(), 0x12);
        let scenario = Scenario {
            name: "a".to_owned(),
            behaviours: BTreeSet::from(["rr".to_owned()]),
            steps: vec![
                Step::Ipvsadm("-A -t VIP0:80 -s rr".to_owned()),
                Step::Packet(packet.clone()),
                Step::Reply(packet),
                Step::Wait(5),
            ],
        };
        let text = serde_json::to_string(&scenario).unwrap();
        assert_eq!(serde_json::from_str::<Scenario>(&text).unwrap(), scenario);
    }
}
