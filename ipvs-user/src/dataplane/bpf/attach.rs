//! Programs of interfaces: one load of the first stages for each, attached by a link, over one load of the later stages. With the
//! link, or with its pin, the program goes.

mod attachment;
mod keep;
mod occupied;
mod ready;

pub use attachment::{Attachment, Former};
pub use ready::{Ready, Successor};

use std::sync::Arc;

use aya::{
    Ebpf,
    maps::ProgramArray,
    programs::{ProgramError, ProgramFd, TestRun as _, TestRunOptions, Xdp},
};
use ipvs_common::{
    AttachMode, Iface,
    maps::{STAGES, stage},
};

use super::{
    again::InForce,
    error::{AttachError, LoadError, os_error, with_causes},
    loader::{Loader, load_programs, program},
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

impl ModePolicy {
    /// The mode to try first.
    #[must_use]
    pub const fn first(self) -> AttachMode {
        match self {
            Self::Auto | Self::Native => AttachMode::Native,
            Self::Generic => AttachMode::Generic,
        }
    }

    #[must_use]
    pub fn allows(self, mode: AttachMode) -> bool {
        self == Self::Auto || self.first() == mode
    }
}

/// The later stages, which know no interface.
pub(super) struct Stages(Ebpf);

impl Stages {
    /// Puts them into the kernel.
    pub(super) fn load(loader: &Loader) -> Result<Self, LoadError> {
        let (mut ebpf, _) = loader.load(Iface::default())?;
        let names: Vec<_> = Self::places().map(|(_, name)| name).collect();
        load_programs(&mut ebpf, &names)?;
        for (place, name) in Self::places() {
            let fd = cloned_fd(&ebpf, name)?;
            link_stage(&mut ebpf, place, &fd)?;
        }
        Ok(Self(ebpf))
    }

    fn places() -> impl Iterator<Item = (u32, &'static str)> {
        let all = (0..).zip(stage::PROGRAMS);
        all.filter(|(place, _)| !stage::is_of_interface(*place))
    }
}

/// The forwarding program with the constants of one interface, in the kernel but not attached.
pub struct IfaceProgram {
    ebpf: Ebpf,
    iface: Iface,
    later: Arc<Stages>,
    /// That for frames which the daemon held.
    held: Arc<ProgramFd>,
    in_force: InForce,
}

impl IfaceProgram {
    pub fn load(loader: &Loader, iface: Iface) -> Result<Self, LoadError> {
        let later = loader.stages()?;
        let (mut ebpf, iface) = loader.load(iface)?;
        let own: Vec<_> = (0..)
            .zip(stage::PROGRAMS)
            .filter(|(place, _)| stage::is_of_interface(*place))
            .collect();
        let names: Vec<_> = own.iter().map(|(_, name)| *name).collect();
        load_programs(&mut ebpf, &[&[FORWARD], &names[..]].concat())?;
        for (place, name) in own {
            let fd = cloned_fd(&ebpf, name)?;
            link_stage(&mut ebpf, place, &fd)?;
        }
        for (place, name) in Stages::places() {
            link_stage(&mut ebpf, place, &cloned_fd(&later.0, name)?)?;
        }
        let held = Arc::new(cloned_fd(&ebpf, stage::PROGRAMS[stage::HELD as usize])?);
        Ok(Self {
            ebpf,
            iface,
            later,
            held,
            in_force: loader.in_force(),
        })
    }

    /// Runs the program on a frame without an interface (`BPF_PROG_TEST_RUN`): its return value, and the frame after it.
    pub fn run(&self, frame: &[u8]) -> Result<(u32, Vec<u8>), LoadError> {
        self.run_one(FORWARD, frame)
    }

    /// The same with the program for frames that the daemon held; it returns 0 if they have to wait on.
    pub fn run_held(&self, frame: &[u8]) -> Result<(u32, Vec<u8>), LoadError> {
        self.run_one(stage::PROGRAMS[stage::HELD as usize], frame)
    }

    fn run_one(&self, name: &'static str, frame: &[u8]) -> Result<(u32, Vec<u8>), LoadError> {
        let mut out = vec![0; frame.len() + 256];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..TestRunOptions::new()
        };
        let result = program(&self.ebpf, name)?
            .test_run(options)
            .map_err(|source| LoadError::Run { name, source })?;
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

    /// It is the one on its interface now.
    fn is_in_force(&self) {
        self.in_force.set(self.iface.ifindex, &self.held);
    }

    /// The program itself, for others to call.
    pub fn fd(&self) -> Result<ProgramFd, LoadError> {
        cloned_fd(&self.ebpf, FORWARD)
    }

    const fn mode(&self) -> AttachMode {
        if self.iface.mode == AttachMode::Generic as u8 {
            AttachMode::Generic
        } else {
            AttachMode::Native
        }
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
fn link_stage(ebpf: &mut Ebpf, place: u32, fd: &ProgramFd) -> Result<(), LoadError> {
    let stages = ebpf.map_mut(STAGES).ok_or(LoadError::NoMap(STAGES))?;
    ProgramArray::try_from(stages)
        .and_then(|mut stages| stages.set(place, fd, 0))
        .map_err(|source| LoadError::Map {
            name: STAGES,
            source,
        })
}

pub(super) fn cloned_fd(ebpf: &Ebpf, name: &'static str) -> Result<ProgramFd, LoadError> {
    let fd = program(ebpf, name)?.fd().and_then(|fd| Ok(fd.try_clone()?));
    fd.map_err(|source| LoadError::Program { name, source })
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
        (Some(libc::EBUSY | libc::EEXIST), _) => AttachError::occupied(interface),
        (Some(libc::EPERM | libc::EACCES | libc::ENODEV), _) | (_, AttachMode::Generic) => {
            AttachError::Refused { interface, reason }
        }
        (_, AttachMode::Native) => AttachError::NativeRefused { interface, reason },
    }
}
