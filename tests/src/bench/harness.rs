//! The object with harness and floors, in the kernel.

use std::{env, fs, ops::Range, path::PathBuf};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, Map, MapData, MapError, ProgramArray},
    programs::{ProgramFd, TestRun as _, TestRunOptions, Xdp},
};
use ipvs_common::{
    FlowKey, Proto,
    bench::{self, FRAME6, FloorFlow, FloorReal, Walk, client},
    maps::Capacities,
};

use super::{
    network::DIRECTOR,
    service::{FLOOR, REALS},
};
use crate::topology::target_dir;

/// The programs that run, whatever is under test: over IPv4, and over IPv6.
const HARNESSES: [&str; 2] = ["harness", "harness6"];
const PROGRAMS: [&str; 8] = [
    HARNESSES[0],
    HARNESSES[1],
    "floor_drop",
    "floor_parse",
    "floor_lru_rewrite",
    "floor_lru_insert",
    "lean_l2",
    "lean_ipip",
];

pub(super) struct Harness {
    ebpf: Ebpf,
    /// Packets are over IPv6.
    six: bool,
    walk: Array<MapData, Walk>,
    program: ProgramArray<MapData>,
    flows: HashMap<MapData, FlowKey, FloorFlow>,
    new_flows: HashMap<MapData, FlowKey, FloorFlow>,
}

/// What a run came to: its last packet, and the time that each took.
pub(super) struct Outcome {
    pub(super) verdict: u32,
    pub(super) frame: Vec<u8>,
    /// As the kernel measures it: whole ns, without the work around the run, nor what other processes took meanwhile.
    pub(super) ns: f64,
}

impl Harness {
    /// With tables for as many connections as the director takes, established and half-open.
    pub(super) fn load(capacities: &Capacities) -> Result<Self> {
        let path = object()?;
        let hint = || format!("{}: build it with `cargo xtask bench`", path.display());
        let bytes = fs::read(&path).with_context(hint)?;
        let mut ebpf = EbpfLoader::new()
            .map_max_entries(bench::FLOW_TABLE, capacities.conns)
            .map_max_entries(bench::NEW_FLOWS, capacities.half_open)
            .load(&bytes)
            .with_context(hint)?;
        for name in PROGRAMS {
            xdp(&mut ebpf, name)?
                .load()
                .with_context(|| format!("loading {name}"))?;
        }
        let mut reals: Array<MapData, FloorReal> = take(&mut ebpf, bench::REALS)?;
        for number in 0..REALS {
            reals.set(number.into(), floor_real(number), 0)?;
        }
        Ok(Self {
            walk: take(&mut ebpf, bench::WALK)?,
            program: take(&mut ebpf, bench::PROGRAM)?,
            flows: take(&mut ebpf, bench::FLOW_TABLE)?,
            new_flows: take(&mut ebpf, bench::NEW_FLOWS)?,
            ebpf,
            six: false,
        })
    }

    /// Enters flows in the table of the floors, and as many of other services as make it so many entries for each flow.
    pub(super) fn add_flows(&mut self, flows: Range<u32>, entries: u16) -> Result<()> {
        for service in 0..entries.max(1) {
            for flow in flows.clone() {
                let real = u16::from(flow as u8 % REALS);
                let value = FloorFlow {
                    mac: FLOOR.mac(real),
                    real,
                };
                self.flows.insert(key(flow, service), value, 0)?;
            }
        }
        Ok(())
    }

    /// Whether the floor for new flows knows this one.
    pub(super) fn has_entered(&self, flow: u32) -> Result<bool> {
        match self.new_flows.get(&key(flow, 0), 0) {
            Ok(_) => Ok(true),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// A program of this object.
    pub(super) fn fd(&self, name: &str) -> Result<ProgramFd> {
        let program = self.ebpf.program(name).context("no such program")?;
        Ok(<&Xdp>::try_from(program)?.fd()?.try_clone()?)
    }

    /// Makes the harness call a program, with packets of a walk.
    pub(super) fn aim(&mut self, program: &ProgramFd, walk: &Walk) -> Result<()> {
        self.program.set(0, program, 0)?;
        self.walk.set(0, walk, 0)?;
        self.six = walk.six != 0;
        Ok(())
    }

    /// The walk as it stands now.
    pub(super) fn walk(&self) -> Result<Walk> {
        Ok(self.walk.get(&0, 0)?)
    }

    pub(super) fn run(&self, packets: u32) -> Result<Outcome> {
        run(&self.ebpf, HARNESSES[usize::from(self.six)], packets)
    }

    /// A program of this object by itself, with the same packet over and over.
    pub(super) fn run_alone(&self, program: &str, packets: u32) -> Result<Outcome> {
        run(&self.ebpf, program, packets)
    }
}

fn run(ebpf: &Ebpf, name: &str, packets: u32) -> Result<Outcome> {
    let program = ebpf.program(name).context("no such program")?;
    let mut frame = vec![0; FRAME6 * 4];
    let options = TestRunOptions {
        data_in: Some(&[0; FRAME6]),
        data_out: Some(&mut frame),
        repeat: packets,
        ..TestRunOptions::new()
    };
    let result = <&Xdp>::try_from(program)?.test_run(options);
    let result = result.with_context(|| format!("running {name} {packets} times"))?;
    frame.truncate(result.data_size_out as usize);
    Ok(Outcome {
        verdict: result.return_value,
        frame,
        ns: result.duration.as_secs_f64() * 1e9,
    })
}

/// Of the service of the floors, or of another one on a port behind it.
fn key(flow: u32, service: u16) -> FlowKey {
    let ((addr, port), server) = (client(flow), FLOOR.virtual_server());
    let vport = (server.port() + service).to_be_bytes();
    let vip = server.ip().octets();
    FlowKey::new(Proto::Tcp as u8, addr, port, vip, vport)
}

fn floor_real(number: u8) -> FloorReal {
    FloorReal {
        mac: FLOOR.mac(number.into()),
        pad: [0; 2],
        addr: FLOOR.real(number.into()).ip().octets(),
        tunnel_src: DIRECTOR.octets(),
    }
}

fn xdp<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program = ebpf.program_mut(name);
    let program = program.with_context(|| format!("the object has no program {name}"))?;
    Ok(program.try_into()?)
}

fn take<M: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &str) -> Result<M> {
    let map = ebpf.take_map(name);
    let map = map.with_context(|| format!("the object has no map {name}"))?;
    Ok(M::try_from(map)?)
}

/// Named by `cargo xtask`; else where the build of ipvs-user leaves it.
fn object() -> Result<PathBuf> {
    if let Some(path) = env::var_os("IPVS_FLOORS_OBJECT") {
        return Ok(path.into());
    }
    Ok(target_dir()?.join("bpf/bpfel-unknown-none/release/ipvs-floors"))
}
