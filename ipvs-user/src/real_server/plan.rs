//! From what a machine is like and what it is to be: what has to be changed, in which order, or why that would do harm.
//!
//! Pure. Nobody is told of a virtual address before ARP for it is settled: addresses come last.

mod refusals;
mod tunnels;
mod warnings;

use std::net::IpAddr;

use super::{
    facts::{Facts, Medium, path},
    refusal::Refusal,
    step::Step,
    wanted::{Family, Method, Wanted},
};

/// `arp_announce`: never speak of the address of another interface.
const BEST_OF_INTERFACE: u32 = 2;
/// `arp_ignore`: answer for addresses of the interface that is asked.
const OF_INTERFACE: u32 = 1;
/// Values of `arp_ignore` with which nobody hears of an address on another interface.
const IGNORING: [u32; 3] = [OF_INTERFACE, 2, 8];
pub(super) const STRICT: u32 = 1;
pub(super) const LOOSE: u32 = 2;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// What is as it should be.
    pub right: Vec<String>,
    /// What has to change, in this order.
    pub steps: Vec<Step>,
    /// Why nothing is changed.
    pub refusals: Vec<Refusal>,
    /// What is not this command's to change.
    pub warnings: Vec<String>,
}

#[must_use]
pub fn plan(wanted: &Wanted, facts: &Facts) -> Plan {
    let mut plan = Plan {
        refusals: refusals::all(wanted, facts),
        warnings: warnings::all(wanted, facts),
        ..Plan::default()
    };
    if wanted.method == Method::Masq {
        plan.right.extend(refusals::gateway_is_right(wanted, facts));
        return plan;
    }
    if wanted.has(Family::V4) {
        plan.quiet(facts);
        plan.ways_in(wanted, facts);
    }
    tunnels::plan(&mut plan, wanted, facts);
    plan.addresses(wanted, facts);
    plan
}

impl Plan {
    /// A setting of an interface is to be `now`, unless it is fine.
    fn set(&mut self, facts: &Facts, interface: &str, key: &str, now: u32, fine: bool) {
        let before = facts.setting(interface, key).unwrap_or("0").to_owned();
        let path = path(Family::V4, interface, key);
        if fine {
            self.right
                .push(format!("net.{} = {before}", path.replace('/', ".")));
            return;
        }
        let now = now.to_string();
        self.steps.push(Step::Set { path, before, now });
    }

    fn step(&mut self, is_done: bool, step: Step) {
        if is_done {
            self.right.push(step.result());
        } else {
            self.steps.push(step);
        }
    }

    /// No answer to ARP for addresses on other interfaces. On `all`, so that it holds for interfaces that come later, too.
    fn quiet(&mut self, facts: &Facts) {
        let ignores = |value| IGNORING.contains(&value);
        let all = facts.number("all", "arp_ignore");
        self.set(facts, "all", "arp_ignore", OF_INTERFACE, ignores(all));
        // The larger value holds, and some of the larger ones answer.
        for link in facts.links.iter().filter(|l| l.medium != Medium::Silent) {
            let own = facts.number(&link.name, "arp_ignore");
            if own > OF_INTERFACE && !ignores(own) {
                self.set(facts, &link.name, "arp_ignore", OF_INTERFACE, false);
            }
        }
        let announces = facts.number("all", "arp_announce") >= BEST_OF_INTERFACE;
        self.set(facts, "all", "arp_announce", BEST_OF_INTERFACE, announces);
    }

    /// Packets that come in by another interface than answers go out by are refused by a strict `rp_filter`.
    fn ways_in(&mut self, wanted: &Wanted, facts: &Facts) {
        let out = facts.default_route(Family::V4).map(|r| r.index);
        for link in tunnels::ways_in(wanted, facts) {
            if out.is_some_and(|out| out != link.index) {
                self.loosen(facts, &link.name);
            }
        }
    }

    fn loosen(&mut self, facts: &Facts, interface: &str) {
        let fine = facts.in_force(interface, "rp_filter") != STRICT;
        self.set(facts, interface, "rp_filter", LOOSE, fine);
    }

    fn addresses(&mut self, wanted: &Wanted, facts: &Facts) {
        let link = facts.link(&wanted.device);
        let up = Step::Up {
            name: wanted.device.clone(),
        };
        self.step(link.is_some_and(|l| l.up), up);
        for vip in &wanted.vips {
            self.address(facts, &wanted.device, *vip);
        }
    }

    fn address(&mut self, facts: &Facts, device: &str, address: IpAddr) {
        let link = facts.link(device);
        let mut all = facts.addresses.iter();
        let is_there =
            all.any(|a| a.address == address && link.is_some_and(|l| l.index == a.index));
        let device = device.to_owned();
        self.step(is_there, Step::Address { device, address });
    }
}
