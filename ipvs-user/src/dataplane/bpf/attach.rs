//! Programs of interfaces: one load for each, attached by a link. With it, or with its pin, the program goes.

mod keep;
mod occupied;

use aya::{
    Ebpf,
    maps::ProgramArray,
    programs::{
        ProgramError, ProgramFd, TestRun as _, TestRunOptions, Xdp, XdpMode, links::FdLink,
        xdp::XdpLink,
    },
};
use ipvs_common::{
    AttachMode, Iface,
    maps::{STAGES, stage},
};

use super::{
    error::{AttachError, LoadError, with_causes},
    loader::{Loader, load_program, program},
};

const FORWARD: &str = "ipvs";

/// How an interface may be attached to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ModePolicy {
    /// In the driver, or else in the stack.
    #[default]
    Auto,
    Native,
    Generic,
}

/// The forwarding program with the constants of one interface, in the kernel but not attached.
pub struct IfaceProgram {
    ebpf: Ebpf,
    iface: Iface,
}

impl IfaceProgram {
    pub fn load(loader: &Loader, iface: Iface) -> Result<Self, LoadError> {
        let (mut ebpf, iface) = loader.load(iface)?;
        load_program(&mut ebpf, FORWARD)?;
        for (place, name) in (0..).zip(stage::PROGRAMS) {
            load_program(&mut ebpf, name)?;
            link_stage(&mut ebpf, place, name)?;
        }
        Ok(Self { ebpf, iface })
    }

    /// Runs the program on a frame without an interface (`BPF_PROG_TEST_RUN`): its return value, and the frame after it.
    pub fn run(&self, frame: &[u8]) -> Result<(u32, Vec<u8>), LoadError> {
        let mut out = vec![0; frame.len() + 256];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..TestRunOptions::new()
        };
        let result = program(&self.ebpf, FORWARD)?
            .test_run(options)
            .map_err(|source| LoadError::Run {
                name: FORWARD,
                source,
            })?;
        out.truncate(result.data_size_out as usize);
        Ok((result.return_value, out))
    }

    /// Runs the program on the same frame many times: the time of one run.
    pub fn time(&self, frame: &[u8], repeat: u32) -> Result<std::time::Duration, LoadError> {
        let options = TestRunOptions {
            data_in: Some(frame),
            repeat,
            ..TestRunOptions::new()
        };
        let result = program(&self.ebpf, FORWARD)?.test_run(options);
        Ok(result
            .map_err(|source| LoadError::Run {
                name: FORWARD,
                source,
            })?
            .duration)
    }

    /// The program itself, for others to call.
    pub fn fd(&self) -> Result<ProgramFd, LoadError> {
        cloned_fd(&self.ebpf, FORWARD)
    }

    fn xdp(&mut self, name: &'static str) -> Result<&mut Xdp, LoadError> {
        self.ebpf
            .program_mut(name)
            .and_then(|p| <&mut Xdp>::try_from(p).ok())
            .ok_or(LoadError::NoProgram(name))
    }
}

/// Tells the earlier stages of a load where a later one is. The kernel forgets it when the map is closed, so the map stays
/// where it is, in the load.
fn link_stage(ebpf: &mut Ebpf, place: u32, name: &'static str) -> Result<(), LoadError> {
    let fd = cloned_fd(ebpf, name)?;
    let stages = ebpf.map_mut(STAGES).ok_or(LoadError::NoMap(STAGES))?;
    ProgramArray::try_from(stages)
        .and_then(|mut stages| stages.set(place, &fd, 0))
        .map_err(|source| LoadError::Map {
            name: STAGES,
            source,
        })
}

fn cloned_fd(ebpf: &Ebpf, name: &'static str) -> Result<ProgramFd, LoadError> {
    let fd = program(ebpf, name)?.fd().and_then(|fd| Ok(fd.try_clone()?));
    fd.map_err(|source| LoadError::Program { name, source })
}

/// A program that is to take the place of the one that another process left on an interface: loaded, and not in force.
pub struct Successor {
    interface: String,
    program: IfaceProgram,
    stages: keep::Stages,
    link: FdLink,
}

impl Successor {
    /// For the link that is pinned for the interface. `None`: there is none, or it is on another interface of this name, which
    /// is gone.
    pub fn load(
        loader: &Loader,
        interface: &str,
        iface: Iface,
        mode: AttachMode,
    ) -> Result<Option<Self>, AttachError> {
        let Some(link) = keep::pinned(loader, interface, iface.ifindex)? else {
            return Ok(None);
        };
        let program = load(loader, interface, in_mode(iface, mode))?;
        let stages = keep::stages(loader, interface, &program)?;
        Ok(Some(Self {
            interface: interface.to_owned(),
            program,
            stages,
            link,
        }))
    }

    /// Puts it in force, without a packet in between that sees no program.
    pub fn succeed(self) -> Result<Attachment, AttachError> {
        let Self {
            interface,
            mut program,
            stages,
            link,
        } = self;
        let xdp = program
            .xdp(FORWARD)
            .map_err(|e| load_failed(&interface, e))?;
        let link = move_link(xdp, &interface, link)?;
        stages.in_force(&interface)?;
        Ok(Attachment {
            interface,
            program,
            link: Some(link),
            refusal: None,
        })
    }
}

/// A program on its interface. Dropping it detaches, unless its link is pinned.
pub struct Attachment {
    interface: String,
    program: IfaceProgram,
    /// Gone if a replacement failed half-way.
    link: Option<FdLink>,
    refusal: Option<String>,
}

impl Attachment {
    /// Attaches to the interface that `iface` describes; its mode is chosen here.
    pub fn new(
        loader: &Loader,
        interface: &str,
        iface: Iface,
        policy: ModePolicy,
    ) -> Result<Self, AttachError> {
        let attach = |mode| Self::in_mode(loader, interface, iface, mode);
        match policy {
            ModePolicy::Generic => attach(AttachMode::Generic),
            ModePolicy::Native => attach(AttachMode::Native),
            ModePolicy::Auto => match attach(AttachMode::Native) {
                Err(AttachError::NativeRefused { reason, .. }) => {
                    let attached = attach(AttachMode::Generic)?;
                    Ok(Self {
                        refusal: Some(reason),
                        ..attached
                    })
                }
                attached => attached,
            },
        }
    }

    fn in_mode(
        loader: &Loader,
        interface: &str,
        iface: Iface,
        mode: AttachMode,
    ) -> Result<Self, AttachError> {
        let mut program = load(loader, interface, in_mode(iface, mode))?;
        let stages = keep::stages(loader, interface, &program)?;
        let xdp = program
            .xdp(FORWARD)
            .map_err(|e| load_failed(interface, e))?;
        let link = link(xdp, interface, iface.ifindex, mode)?;
        let link = keep::link(loader, interface, link)?;
        stages.in_force(interface)?;
        Ok(Self {
            interface: interface.to_owned(),
            program,
            link: Some(link),
            refusal: None,
        })
    }

    /// Puts another load with these constants in the place of this one, without a packet in between that sees none. What the
    /// way of attaching decides stays as it is.
    pub fn replace(&mut self, loader: &Loader, iface: Iface) -> Result<(), AttachError> {
        let constants = Iface {
            mode: self.program.iface.mode,
            tx: self.program.iface.tx,
            ..iface
        };
        let mut program = load(loader, &self.interface, constants)?;
        let stages = keep::stages(loader, &self.interface, &program)?;
        let xdp = program
            .xdp(FORWARD)
            .map_err(|e| load_failed(&self.interface, e))?;
        let link = self.link.take().ok_or_else(|| no_link(&self.interface))?;
        self.link = Some(move_link(xdp, &self.interface, link)?);
        stages.in_force(&self.interface)?;
        self.program = program;
        Ok(())
    }

    /// Forgets what is pinned of an attachment: where no process holds it, the program is off the interface.
    pub fn forget(loader: &Loader, interface: &str) -> Result<(), AttachError> {
        keep::nothing(loader, interface)
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
        if self.program.iface.mode == AttachMode::Generic as u8 {
            AttachMode::Generic
        } else {
            AttachMode::Native
        }
    }

    /// Why the driver was passed over, if it was asked first.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
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

fn load(loader: &Loader, interface: &str, iface: Iface) -> Result<IfaceProgram, AttachError> {
    IfaceProgram::load(loader, iface).map_err(|e| load_failed(interface, e))
}

fn link(
    xdp: &mut Xdp,
    interface: &str,
    ifindex: u32,
    mode: AttachMode,
) -> Result<FdLink, AttachError> {
    let flags = match mode {
        AttachMode::Native => XdpMode::Driver,
        AttachMode::Generic => XdpMode::Skb,
    };
    let refused = |e: ProgramError| refusal(interface, mode, &e);
    let id = xdp.attach_to_if_index(ifindex, flags).map_err(refused)?;
    let link = xdp.take_link(id).map_err(refused)?;
    FdLink::try_from(link).map_err(|_| no_link(interface))
}

/// Has a link run another program.
fn move_link(xdp: &mut Xdp, interface: &str, link: FdLink) -> Result<FdLink, AttachError> {
    let refused = |e: ProgramError| AttachError::Refused {
        interface: interface.to_owned(),
        reason: with_causes(&e),
    };
    let link = XdpLink::try_from(link).map_err(|_| no_link(interface))?;
    let id = xdp.attach_to_link(link).map_err(refused)?;
    let link = xdp.take_link(id).map_err(refused)?;
    FdLink::try_from(link).map_err(|_| no_link(interface))
}

fn load_failed(interface: &str, source: LoadError) -> AttachError {
    AttachError::Load {
        interface: interface.to_owned(),
        source: Box::new(source),
    }
}

fn no_link(interface: &str) -> AttachError {
    AttachError::NoLink {
        interface: interface.to_owned(),
    }
}

/// Sorts the kernel's answers: which of them mean that the driver cannot, and which that nobody could.
fn refusal(interface: &str, mode: AttachMode, error: &ProgramError) -> AttachError {
    let interface = interface.to_owned();
    let reason = with_causes(error);
    match (os_error(error), mode) {
        (Some(libc::EBUSY | libc::EEXIST), _) => AttachError::Occupied {
            remedy: format!("`ip link set dev {interface} xdp off`, or end its owner"),
            program: "whose name is not known".to_owned(),
            interface,
        },
        (Some(libc::EPERM | libc::EACCES | libc::ENODEV), _) | (_, AttachMode::Generic) => {
            AttachError::Refused { interface, reason }
        }
        (_, AttachMode::Native) => AttachError::NativeRefused { interface, reason },
    }
}

fn os_error(error: &ProgramError) -> Option<i32> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(e) = cause {
        if let Some(io) = e.downcast_ref::<std::io::Error>() {
            return io.raw_os_error();
        }
        cause = e.source();
    }
    None
}
