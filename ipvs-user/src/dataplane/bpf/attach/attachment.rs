//! A program that is in force on its interface, and how another one takes its place: with a way back.

use std::{mem::replace, time::Instant};

use aya::programs::links::FdLink;
use ipvs_common::{AttachMode, Iface};
use tracing::info;

use super::{
    AttachError, IfaceProgram, Loader, ModePolicy, Ready, keep, no_link,
    ready::{link, move_link},
};

/// A program on its interface. Dropping it detaches, unless its link is pinned.
pub struct Attachment {
    interface: String,
    program: IfaceProgram,
    /// Gone if a change failed half-way, and so did the way back.
    link: Option<FdLink>,
    refusal: Option<String>,
}

/// What was in force before a change, until that is settled or taken back.
#[must_use = "the stages of the program in force go with it"]
pub struct Former {
    program: IfaceProgram,
    /// Those of the program that is in force now.
    stages: keep::Stages,
}

impl Attachment {
    pub(super) fn new(interface: String, program: IfaceProgram, link: FdLink) -> Self {
        program.is_in_force();
        Self {
            interface,
            program,
            link: Some(link),
            refusal: None,
        }
    }

    /// Attaches a program that was loaded for the first mode of the policy: in the other one, if the driver refuses and the
    /// policy allows it.
    pub fn by_policy(
        loader: &Loader,
        ready: Ready,
        policy: ModePolicy,
    ) -> Result<Self, AttachError> {
        let (interface, iface) = (ready.interface.clone(), ready.program.iface);
        match ready.attach(loader) {
            Err(AttachError::NativeRefused { reason, .. }) if policy == ModePolicy::Auto => {
                let ready = Ready::load(loader, &interface, iface, AttachMode::Generic)?;
                Ok(Self {
                    refusal: Some(reason),
                    ..ready.attach(loader)?
                })
            }
            attached => attached,
        }
    }

    /// Puts another program in the place of this one, or leaves this one in force. In the same mode no packet in between sees
    /// none. The kernel lets no interface have programs of both modes, so in another mode this one is off before the other is
    /// on: for two system calls, or four if the other one is refused.
    pub fn change(&mut self, loader: &Loader, ready: Ready) -> Result<Former, AttachError> {
        let Ready {
            mut program,
            stages,
            ..
        } = ready;
        self.turn_to(loader, &mut program)?;
        program.is_in_force();
        Ok(Former {
            program: replace(&mut self.program, program),
            stages,
        })
    }

    /// The change is not to be: puts in force again what was before it.
    pub fn go_back(&mut self, loader: &Loader, former: Former) -> Result<(), AttachError> {
        let Former {
            mut program,
            stages,
        } = former;
        if let Err(e) = self.turn_to(loader, &mut program) {
            if self.is_in_force() {
                stages.in_force(&self.interface);
            }
            return Err(e);
        }
        program.is_in_force();
        self.program = program;
        Ok(())
    }

    fn turn_to(&mut self, loader: &Loader, to: &mut IfaceProgram) -> Result<(), AttachError> {
        let interface = &self.interface;
        let from = self.link.take().ok_or_else(|| no_link(interface))?;
        if to.mode() == self.mode() {
            let moved = move_link(interface, to, from);
            self.link = match &moved {
                // The link that was given away is open at its pin still, and runs what it ran.
                Err(_) => keep::pinned(loader, interface, to.iface.ifindex)?,
                Ok(_) => None,
            };
            self.link = Some(moved?);
            return Ok(());
        }
        let start = Instant::now();
        keep::detach(loader, interface, from)?;
        let turned = match link(loader, interface, to) {
            Ok(link) => {
                self.link = Some(link);
                Ok(())
            }
            Err(cause) => match link(loader, interface, &mut self.program) {
                Ok(link) => {
                    self.link = Some(link);
                    Err(cause)
                }
                Err(undo) => Err(AttachError::Lost {
                    cause: Box::new(cause),
                    undo: Box::new(undo),
                }),
            },
        };
        let micros = start.elapsed().as_micros();
        info!(
            interface,
            "was without a program for {micros} microseconds at most"
        );
        turned
    }

    /// Forgets what is pinned of an attachment, and takes the program off the interface.
    pub fn forget(loader: &Loader, interface: &str) -> Result<(), AttachError> {
        keep::nothing(loader, interface)
    }

    /// False: a change failed, and what was before it could not be put back.
    #[must_use]
    pub const fn is_in_force(&self) -> bool {
        self.link.is_some()
    }

    /// The constants that the program was loaded with.
    #[must_use]
    pub const fn iface(&self) -> &Iface {
        &self.program.iface
    }

    #[must_use]
    pub fn interface(&self) -> &str {
        &self.interface
    }

    #[must_use]
    pub const fn mode(&self) -> AttachMode {
        self.program.mode()
    }

    /// Why the driver was passed over, if it was asked first.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }
}

impl Former {
    /// The change is to stay.
    pub fn settle(self, interface: &str) {
        self.stages.in_force(interface);
    }
}
