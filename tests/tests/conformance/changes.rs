//! What happens to both directors besides packets: time, commands, knobs, policies, rules.

use anyhow::{Result, ensure};
use ipvs_common::Policy;
use ipvs_tests::{
    backend::Backend as _,
    random::{random_command, random_knob, random_rules},
    replay::Console,
};
use ipvs_user::model::{Command, MatchRules, OnDead, ServiceSpec};

use super::{Family, ICMP_RATE, MUCH, Pair, RULES};

impl Pair {
    /// Mostly a few milliseconds; now and then long enough for connections to end.
    pub(super) fn pass_time(&mut self) -> Result<()> {
        let rng = self.generator.rng();
        let (passes, sweeps) = match rng.u16(..) {
            0..4 => (rng.u64(1000..130_000), true),
            4..40 => (rng.u64(1000..5000), true),
            40..20_000 => (rng.u64(..4), false),
            _ => return Ok(()),
        };
        self.clock += passes;
        self.host.set_clock(self.clock)?;
        self.kernel.set_clock(self.clock)?;
        if sweeps {
            for console in &self.consoles {
                console.director().tick()?;
            }
        }
        Ok(())
    }

    pub(super) fn change(&mut self) -> Result<()> {
        let change = self.generator.rng().u8(..16);
        // One of these times another director balances, until the next change.
        for console in &self.consoles {
            console.director().listen_to_master(change == 6)?;
        }
        match change {
            0 => {
                for console in &self.consoles {
                    console.director().routes_changed()?;
                }
                Ok(())
            }
            1..4 => {
                let knob = random_knob(self.generator.rng());
                for console in &self.consoles {
                    console.director().set_sysctls([knob])?;
                }
                Ok(())
            }
            4 => self.change_policy(),
            5 => {
                // Now and then nothing is held back: resets are rare among the errors.
                let rates = [0, ICMP_RATE, MUCH];
                let icmp_rate = rates[self.generator.rng().usize(..rates.len())];
                for console in &self.consoles {
                    let mut director = console.director();
                    director.adjust_settings(|s| s.icmp_rate = icmp_rate)?;
                }
                Ok(())
            }
            6 => Ok(()),
            7 => self.change_rules(),
            _ => self.run_command(),
        }
    }

    /// Of one of the services, as both directors have it.
    fn change_policy(&mut self) -> Result<()> {
        let rng = self.generator.rng();
        // Resets are held back by the limit on errors, so there have to be many.
        let on_dead = match rng.u8(..4) {
            0 => OnDead::Kernel,
            1 => OnDead::Reschedule,
            _ => OnDead::Reset,
        };
        let others = rng.u8(..) & (Policy::REOPEN | Policy::TEMPLATES_DIE);
        let which = rng.usize(..);
        for console in &self.consoles {
            set_policy(console, which, on_dead.bits() | others)?;
        }
        Ok(())
    }

    /// Other match rules; now and then none.
    fn change_rules(&mut self) -> Result<()> {
        let links = &self.host.setup().network.links;
        let names: Vec<_> = links.iter().map(|l| l.name).chain(["none"]).collect();
        let over_six = self.family == Family::Six;
        let rules = random_rules(self.generator.rng(), RULES, &names, over_six);
        let rules: MatchRules = rules.into();
        for console in &self.consoles {
            let rules = rules.clone();
            console.director().execute(&Command::SetMatches { rules })?;
        }
        Ok(())
    }

    fn run_command(&mut self) -> Result<()> {
        let command = self.family.command(&random_command(self.generator.rng()));
        let [host, kernel] = &self.consoles;
        let (host, kernel) = (host.run(&command)?, kernel.run(&command)?);
        ensure!(
            host == kernel,
            "{command}: host {host:?}, kernel {kernel:?}"
        );
        Ok(())
    }
}

/// Of the service in that place, counted around.
pub(super) fn set_policy(console: &Console, which: usize, policy: u8) -> Result<()> {
    let mut director = console.director();
    let services: Vec<_> = director.model().services().collect();
    let Some(service) = services.get(which % services.len().max(1)) else {
        return Ok(());
    };
    let edit = Command::EditService {
        service: service.key,
        spec: ServiceSpec {
            policy,
            ..service.spec
        },
        keep: 0,
    };
    Ok(director.execute(&edit)?)
}
