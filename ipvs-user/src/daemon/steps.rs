//! Changes of several interfaces as one: each is loaded before the first is made, and each can be taken back until all are.

use ipvs_common::{AttachMode, Iface};
use tracing::{error, info};

use super::interfaces::{Interfaces, Wanted, constants, find, report};
use crate::{
    dataplane::bpf::{AttachError, Former, ModePolicy, Ready},
    net::Link,
};

/// What is to be done to one interface: a program is loaded, and not in force.
pub(super) struct Step {
    wanted: Wanted,
    link: Link,
    ready: Ready,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// On an interface without one.
    New,
    /// In the place of another one.
    Replace,
    /// Instead of one in the other mode: there is a gap between them.
    Turn,
}

/// What was done, until it is settled or taken back.
pub(super) enum Done {
    Attached(String),
    Changed(String, Box<Former>),
}

impl Step {
    /// Those that leave no trace if they are taken back come before those that do.
    pub(super) const fn rank(&self) -> impl Ord + use<> {
        self.kind
    }

    pub(super) fn name(&self) -> &str {
        &self.wanted.name
    }

    /// The constants of its program.
    pub(super) const fn iface(&self) -> &Iface {
        self.ready.iface()
    }

    /// For an interface without a program.
    pub(super) fn attach(
        interfaces: &Interfaces,
        wanted: &Wanted,
        link: &Link,
    ) -> Result<Self, AttachError> {
        AttachError::if_occupied(&wanted.name, &link.programs)?;
        let mode = wanted.policy.first();
        Self::load(interfaces, (wanted, link), mode, Kind::New)
    }

    /// For one that has a program of ours in the other mode.
    pub(super) fn turn(
        interfaces: &Interfaces,
        wanted: &Wanted,
        link: &Link,
    ) -> Result<Self, AttachError> {
        let mode = wanted.policy.first();
        Self::load(interfaces, (wanted, link), mode, Kind::Turn)
    }

    fn load(
        interfaces: &Interfaces,
        (wanted, link): (&Wanted, &Link),
        mode: AttachMode,
        kind: Kind,
    ) -> Result<Self, AttachError> {
        let iface = constants(wanted, link);
        Ok(Self {
            wanted: wanted.clone(),
            link: link.clone(),
            ready: Ready::load(&interfaces.loader, &wanted.name, iface, mode)?,
            kind,
        })
    }
}

impl Interfaces {
    /// What makes the interface as it is wanted; `None`: it is.
    pub(super) fn step(
        &self,
        wanted: &Wanted,
        before: Option<ModePolicy>,
        link: &Link,
    ) -> Result<Option<Step>, AttachError> {
        let Some(attached) = self.attached.get(&wanted.name) else {
            return Step::attach(self, wanted, link).map(Some);
        };
        let mode = attached.mode();
        // Whoever asks for a choice anew gets one; a driver that refused once is not asked with each change of a mark.
        let again = wanted.policy == ModePolicy::Auto && before != Some(ModePolicy::Auto);
        let turned = if again {
            mode != wanted.policy.first()
        } else {
            !wanted.policy.allows(mode)
        };
        if turned {
            return Step::turn(self, wanted, link).map(Some);
        }
        if attached.iface().mark == wanted.mark {
            return Ok(None);
        }
        Step::load(self, (wanted, link), mode, Kind::Replace).map(Some)
    }

    /// All of the steps, or none: then the reason, and what could not be taken back.
    pub(super) fn carry_out(&mut self, steps: Vec<Step>) -> Result<Vec<Done>, String> {
        let mut done = Vec::new();
        for step in steps {
            match self.take(step) {
                Ok(one) => done.push(one),
                Err(cause) => {
                    let failed = self.take_back(done);
                    return Err(if failed.is_empty() {
                        cause.to_string()
                    } else {
                        let failed = failed.join("; ");
                        format!("{cause}; and what was changed could not be put back: {failed}")
                    });
                }
            }
        }
        Ok(done)
    }

    fn take(&mut self, step: Step) -> Result<Done, AttachError> {
        let Step {
            wanted,
            link,
            ready,
            kind,
        } = step;
        if kind == Kind::New {
            self.attach_ready(&wanted, &link, ready)?;
            return Ok(Done::Attached(wanted.name));
        }
        let former = self.change(&wanted, &link, ready);
        // If what was there could not be put back, it is as if the interface had never been attached to.
        self.attached.retain(|_, a| a.is_in_force());
        Ok(Done::Changed(wanted.name, Box::new(former?)))
    }

    fn change(
        &mut self,
        wanted: &Wanted,
        link: &Link,
        ready: Ready,
    ) -> Result<Former, AttachError> {
        let Self {
            loader, attached, ..
        } = self;
        let Some(attached) = attached.get_mut(&wanted.name) else {
            return Err(AttachError::NoLink {
                interface: wanted.name.clone(),
            });
        };
        match attached.change(loader, ready) {
            Err(AttachError::NativeRefused { reason, .. })
                if wanted.policy == ModePolicy::Auto && attached.is_in_force() =>
            {
                info!(
                    interface = wanted.name,
                    "stays in generic mode: the driver refuses native XDP: {reason}"
                );
                let iface = constants(wanted, link);
                let ready = Ready::load(loader, &wanted.name, iface, AttachMode::Generic)?;
                attached.change(loader, ready)
            }
            changed => changed,
        }
    }

    /// The last one first. Returns what could not be taken back.
    pub(super) fn take_back(&mut self, done: Vec<Done>) -> Vec<String> {
        let mut failed = Vec::new();
        for one in done.into_iter().rev() {
            let taken = match one {
                Done::Attached(name) => self.let_go(&name),
                Done::Changed(name, former) => match self.attached.get_mut(&name) {
                    Some(attached) => attached.go_back(&self.loader, *former),
                    None => Ok(()),
                },
            };
            failed.extend(taken.err().map(|e| e.to_string()));
        }
        self.attached.retain(|_, a| a.is_in_force());
        failed
    }

    /// What was done is to stay.
    pub(super) fn settle(&self, done: Vec<Done>, links: &[Link]) {
        for one in done {
            let Done::Changed(name, former) = one else {
                continue;
            };
            former.settle(&name);
            if let Some((attached, link)) = self.attached.get(&name).zip(find(links, &name)) {
                report(attached, link);
            }
        }
    }

    /// Those that are no longer wanted.
    pub(super) fn let_all_go(&mut self, names: &[String]) {
        for name in names {
            info!(
                interface = name,
                "is no longer one of the director's: detached"
            );
            if let Err(e) = self.let_go(name) {
                error!("{e}");
            }
        }
    }
}
