//! Programs that are to be put in force on an interface: all that can fail beforehand has gone well. And how the kernel is told.

use aya::programs::{ProgramError, Xdp, XdpMode, links::FdLink, xdp::XdpLink};
use ipvs_common::{AttachMode, Iface};

use super::{
    AttachError, Attachment, FORWARD, IfaceProgram, Loader, keep, load_failed, no_link, refusal,
    with_causes,
};

/// A program with the constants of its interface and its later stages pinned, loaded and not in force.
pub struct Ready {
    pub(super) interface: String,
    pub(super) program: IfaceProgram,
    pub(super) stages: keep::Stages,
}

impl Ready {
    /// For the interface that `iface` describes, but for what follows from the mode.
    pub fn load(
        loader: &Loader,
        interface: &str,
        iface: Iface,
        mode: AttachMode,
    ) -> Result<Self, AttachError> {
        let program = IfaceProgram::load(loader, in_mode(iface, mode));
        let program = program.map_err(|e| load_failed(interface, e))?;
        let stages = keep::stages(loader, interface, &program)?;
        Ok(Self {
            interface: interface.to_owned(),
            program,
            stages,
        })
    }

    #[must_use]
    pub const fn mode(&self) -> AttachMode {
        self.program.mode()
    }

    /// The constants of the program.
    #[must_use]
    pub const fn iface(&self) -> &Iface {
        &self.program.iface
    }

    /// Puts it on the interface, which has none.
    pub fn attach(mut self, loader: &Loader) -> Result<Attachment, AttachError> {
        let link = link(loader, &self.interface, &mut self.program)?;
        Ok(self.in_force(link))
    }

    pub(super) fn in_force(self, link: FdLink) -> Attachment {
        self.stages.in_force(&self.interface);
        Attachment::new(self.interface, self.program, link)
    }
}

/// A program that is to take the place of the one that another process left on an interface.
pub struct Successor {
    ready: Ready,
    link: FdLink,
}

impl Successor {
    /// For the link that is pinned for the interface, which is in this mode. `None`: there is none, or it is on another
    /// interface of this name, which is gone.
    pub fn load(
        loader: &Loader,
        interface: &str,
        iface: Iface,
        mode: AttachMode,
    ) -> Result<Option<Self>, AttachError> {
        let Some(link) = keep::pinned(loader, interface, iface.ifindex)? else {
            return Ok(None);
        };
        let ready = Ready::load(loader, interface, iface, mode)?;
        Ok(Some(Self { ready, link }))
    }

    /// The constants of the program.
    #[must_use]
    pub const fn iface(&self) -> &Iface {
        self.ready.iface()
    }

    /// Puts it in force, without a packet in between that sees no program.
    pub fn succeed(self) -> Result<Attachment, AttachError> {
        let Self { mut ready, link } = self;
        let link = move_link(&ready.interface, &mut ready.program, link)?;
        Ok(ready.in_force(link))
    }
}

/// In the stack sending back works on every interface; in the driver not on all of them (veth).
const fn in_mode(iface: Iface, mode: AttachMode) -> Iface {
    let tx = match mode {
        AttachMode::Native => iface.tx,
        AttachMode::Generic => 1,
    };
    Iface {
        mode: mode as u8,
        tx,
        ..iface
    }
}

/// Attaches a program to its interface in its mode, by a link that is pinned.
pub(super) fn link(
    loader: &Loader,
    interface: &str,
    program: &mut IfaceProgram,
) -> Result<FdLink, AttachError> {
    let (ifindex, mode) = (program.iface.ifindex, program.mode());
    let flags = match mode {
        AttachMode::Native => XdpMode::Driver,
        AttachMode::Generic => XdpMode::Skb,
    };
    let refused = |e: ProgramError| refusal(interface, mode, &e);
    let xdp = forwarding(interface, program)?;
    let id = xdp.attach_to_if_index(ifindex, flags).map_err(refused)?;
    let link = xdp.take_link(id).map_err(refused)?;
    let link = FdLink::try_from(link).map_err(|_| no_link(interface))?;
    keep::link(loader, interface, link)
}

/// Has a link run another program.
pub(super) fn move_link(
    interface: &str,
    program: &mut IfaceProgram,
    link: FdLink,
) -> Result<FdLink, AttachError> {
    let refused = |e: ProgramError| AttachError::Refused {
        interface: interface.to_owned(),
        reason: with_causes(&e),
    };
    let xdp = forwarding(interface, program)?;
    let link = XdpLink::try_from(link).map_err(|_| no_link(interface))?;
    let id = xdp.attach_to_link(link).map_err(refused)?;
    let link = xdp.take_link(id).map_err(refused)?;
    FdLink::try_from(link).map_err(|_| no_link(interface))
}

fn forwarding<'a>(
    interface: &str,
    program: &'a mut IfaceProgram,
) -> Result<&'a mut Xdp, AttachError> {
    let xdp = program.xdp(FORWARD);
    xdp.map_err(|e| load_failed(interface, e))
}
