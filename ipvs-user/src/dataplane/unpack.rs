//! The program that unpacks tunnels on a real server: loading it, and finding it again by its number on an interface.
//!
//! It stays as long as it is attached; who does that, and where, is not known here.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd as _, BorrowedFd},
};

use aya::{
    Ebpf, include_bytes_aligned,
    maps::{Array, HashMap, Map, MapData, MapError, MapInfo, PerCpuArray},
    programs::{ProgramError, ProgramInfo, Xdp, loaded_programs},
};
use ipvs_common::unpack::{ADDRESSES, COUNTS, Count, MAX_ADDRESSES, PROGRAM, TUNNEL, Tunnel};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

use super::bpf::os_error;

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ipvs-unpack.o"));

#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error("this ipvsd was built without its BPF programs: build it with `cargo xtask build`")]
    NotBuilt,
    #[error("{0} addresses are more than the {MAX_ADDRESSES} that the XDP program has room for")]
    TooMany(usize),
    #[error("the XDP program {PROGRAM} is incomplete: {0} is missing")]
    Missing(&'static str),
    #[error("the XDP program {PROGRAM}: {0}")]
    Load(#[from] aya::EbpfError),
    // What follows is the verifier's log.
    #[error("the XDP program {PROGRAM}: {first}", first = .0.to_string().lines().next().unwrap_or_default())]
    Program(#[from] ProgramError),
    #[error("the tables of the XDP program {PROGRAM}: {0}")]
    Map(#[from] MapError),
    #[error(
        "which XDP program has number {id} is told to root only, or with the capability CAP_SYS_ADMIN: {source}"
    )]
    Who { id: u32, source: ProgramError },
}

type Result<T> = std::result::Result<T, UnpackError>;

/// What the program goes by: the tunnel, and what each address is to it ([`ipvs_common::unpack::Role`]).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Told {
    pub tunnel: Tunnel,
    pub roles: BTreeMap<[u8; 16], u8>,
}

/// In the kernel, and not attached: dropping it takes it away, unless an interface has it by then.
pub struct Loaded(Ebpf);

impl Loaded {
    pub fn new(told: &Told) -> Result<Self> {
        if OBJECT.is_empty() {
            return Err(UnpackError::NotBuilt);
        }
        // Kernels before 5.11 count maps against this limit; without the right to raise it loading says what is missing.
        let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
        let mut ebpf = Ebpf::load(OBJECT)?;
        let program = ebpf.program_mut(PROGRAM);
        let program = program.ok_or(UnpackError::Missing(PROGRAM))?;
        <&mut Xdp>::try_from(program)?.load()?;
        let mut take = |name| ebpf.take_map(name).ok_or(UnpackError::Missing(name));
        let tables = Tables {
            tunnel: Array::try_from(take(TUNNEL)?)?,
            roles: HashMap::try_from(take(ADDRESSES)?)?,
            counts: PerCpuArray::try_from(take(COUNTS)?)?,
        };
        Running(tables).tell(told)?;
        Ok(Self(ebpf))
    }

    pub fn id(&self) -> Result<u32> {
        Ok(self.program()?.info()?.id())
    }

    /// Lends its descriptor.
    pub fn with_fd<T>(&self, then: impl FnOnce(BorrowedFd<'_>) -> T) -> Result<T> {
        Ok(then(self.program()?.fd()?.as_fd()))
    }

    fn program(&self) -> Result<&Xdp> {
        let program = self.0.program(PROGRAM);
        let program = program.ok_or(UnpackError::Missing(PROGRAM))?;
        Ok(<&Xdp>::try_from(program)?)
    }
}

struct Tables {
    tunnel: Array<MapData, Tunnel>,
    roles: HashMap<MapData, [u8; 16], u8>,
    counts: PerCpuArray<MapData, u64>,
}

/// One that runs, whoever attached it.
pub struct Running(Tables);

impl Running {
    /// The program with this number; `None`: that is another one, or gone.
    pub fn find(id: u32) -> Result<Option<Self>> {
        for program in loaded_programs() {
            match program {
                Ok(program) if program.id() == id => {
                    let ours = program.name_as_str() == Some(PROGRAM);
                    return ours.then(|| Self::of(&program)).transpose();
                }
                Ok(_) => {}
                // Another one, which went while they were listed.
                Err(e) if os_error(&e) == Some(libc::ENOENT) => {}
                Err(source) => return Err(UnpackError::Who { id, source }),
            }
        }
        Ok(None)
    }

    fn of(program: &ProgramInfo) -> Result<Self> {
        let ids = program.map_ids()?.unwrap_or_default();
        let data = |name: &'static str| -> Result<MapData> {
            let is_it = |id: &&u32| {
                let info = MapInfo::from_id(**id);
                info.is_ok_and(|i| i.name_as_str() == Some(name))
            };
            let id = ids.iter().find(is_it).ok_or(UnpackError::Missing(name))?;
            Ok(MapData::from_id(*id)?)
        };
        Ok(Self(Tables {
            tunnel: Array::try_from(Map::Array(data(TUNNEL)?))?,
            roles: HashMap::try_from(Map::HashMap(data(ADDRESSES)?))?,
            counts: PerCpuArray::try_from(Map::PerCpuArray(data(COUNTS)?))?,
        }))
    }

    pub fn told(&self) -> Result<Told> {
        let roles: std::result::Result<_, MapError> = self.0.roles.iter().collect();
        Ok(Told {
            tunnel: self.0.tunnel.get(&0, 0)?,
            roles: roles?,
        })
    }

    /// Packets that are under way meet either the old words or the new ones.
    pub fn tell(&mut self, told: &Told) -> Result<()> {
        if told.roles.len() > MAX_ADDRESSES as usize {
            return Err(UnpackError::TooMany(told.roles.len()));
        }
        let before: Vec<[u8; 16]> = self.0.roles.keys().collect::<std::result::Result<_, _>>()?;
        for gone in before.iter().filter(|a| !told.roles.contains_key(*a)) {
            self.0.roles.remove(gone)?;
        }
        for (address, role) in &told.roles {
            self.0.roles.insert(address, role, 0)?;
        }
        Ok(self.0.tunnel.set(0, told.tunnel, 0)?)
    }

    /// By [`Count`].
    pub fn counts(&self) -> Result<Vec<(Count, u64)>> {
        let each = Count::ALL.into_iter().map(|count| {
            let values = self.0.counts.get(&(count as u32), 0)?;
            Ok((count, values.iter().sum()))
        });
        each.collect()
    }
}
