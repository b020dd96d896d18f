//! The programs that hang on no interface: the daemon runs them itself (`BPF_PROG_TEST_RUN`).

use std::time::{Duration, Instant};

use aya::{
    Ebpf,
    programs::{ProgramError, TestRun as _, TestRunOptions, Xdp},
};
use bytemuck::{Pod, Zeroable as _};
use ipvs_common::{Addr, FlowKey, Synced};
use ipvs_datapath::{conn::expected::Expected, expire::Batch};

use super::{
    again::{Again, InForce},
    attach::cloned_fd,
    clock,
    error::LoadError,
    family::Family,
    loader::{load_programs, program},
};

const CLOCK: &str = "ipvs_clock";
const PASS: &str = "ipvs_pass";
const LOST: &str = "ipvs_lost";
/// The kernel wants an Ethernet header at least.
const CLOCK_FRAME: usize = 64;
/// How long the clock is watched before its rate may be told, and how long at most.
const WATCH: Duration = Duration::from_millis(80);
const WATCH_MAX: Duration = Duration::from_secs(2);

pub(super) struct Control {
    ebpf: Ebpf,
    /// A look at the clock, from which on its rate is watched.
    first: (u64, Instant),
}

impl Control {
    /// Puts the control programs of a load into the kernel. The maps may be taken out of the load afterwards.
    pub(super) fn load(mut ebpf: Ebpf) -> Result<Self, LoadError> {
        load_programs(&mut ebpf, &[CLOCK])?;
        let first = look(&ebpf)?;
        let of_families = [<[u8; 4]>::EXPIRE, <[u8; 4]>::SYNC, Addr::EXPIRE, Addr::SYNC];
        let others = [&of_families[..], &[PASS, LOST]].concat();
        load_programs(&mut ebpf, &others)?;
        Ok(Self { ebpf, first })
    }

    pub(super) fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// The way back for frames that were held.
    pub(super) fn again(&self, in_force: InForce) -> Result<Again, LoadError> {
        Ok(Again {
            in_force,
            pass: cloned_fd(&self.ebpf, PASS)?,
            lost: cloned_fd(&self.ebpf, LOST)?,
        })
    }

    /// The clock, in ticks.
    pub(super) fn now(&self) -> Result<u64, LoadError> {
        Ok(look(&self.ebpf)?.0)
    }

    /// Ticks in a second, found by comparison with the monotonic clock since the load.
    pub(super) fn measure_hz(&self) -> Result<u32, LoadError> {
        let (first, start) = self.first;
        let begun = Instant::now();
        let mut watch = WATCH.saturating_sub(start.elapsed());
        loop {
            std::thread::sleep(watch);
            let (now, at) = look(&self.ebpf)?;
            let (ticks, elapsed) = (now - first, at - start);
            if let Some(hz) = clock::rate(ticks, elapsed) {
                return Ok(hz);
            }
            if begun.elapsed() > WATCH_MAX {
                let micros = elapsed.as_micros();
                return Err(LoadError::Clock { ticks, micros });
            }
            watch = WATCH.max(watch * 2);
        }
    }

    /// Has the program look at each key and end what is to end by the kind of the batch ([`Batch::CONNECTIONS`] and so on);
    /// returns how many ended. Announced connections are entered instead ([`Batch::EXPECT`]).
    pub(super) fn expire<A: Family, K: Pod>(
        &self,
        kind: u32,
        keys: &[K],
    ) -> Result<u32, LoadError> {
        self.each_batch::<A, _>(A::EXPIRE, kind, keys)
    }

    /// Has the program enter what another director told of ([`Batch::SYNC_CONNECTIONS`], [`Batch::SYNC_TEMPLATES`]); returns how
    /// many it did.
    pub(super) fn enter<A: Family, K: Pod>(
        &self,
        kind: u32,
        told: &[(K, Synced)],
    ) -> Result<u32, LoadError> {
        let both = |(key, synced): &(K, Synced)| [place::<A, _>(key), place::<A, _>(synced)];
        let places: Vec<_> = told.iter().flat_map(both).collect();
        self.each_batch::<A, _>(A::SYNC, kind, &places)
    }

    /// The same for what waits for a client: its key, and where it leads.
    pub(super) fn announce<A: Family>(
        &self,
        key: &FlowKey<A>,
        expected: &Expected,
    ) -> Result<u32, LoadError> {
        let both = [place::<A, _>(key), place::<A, _>(expected)];
        self.each_batch::<A, _>(A::EXPIRE, Batch::EXPECT, &both)
    }

    fn each_batch<A: Family, K: Pod>(
        &self,
        name: &'static str,
        kind: u32,
        keys: &[K],
    ) -> Result<u32, LoadError> {
        let program = program(&self.ebpf, name)?;
        let mut done = 0;
        let mut frame = Vec::new();
        // Pairs stay together.
        for keys in keys.chunks(Batch::max::<A>() & !1) {
            batch::<A, _>(kind, keys, &mut frame);
            let options = TestRunOptions {
                data_in: Some(&frame),
                ..TestRunOptions::new()
            };
            done += run(program, options).map_err(|e| named(name, e))?;
        }
        Ok(done)
    }
}

/// The clock, in ticks, and when that was.
fn look(ebpf: &Ebpf) -> Result<(u64, Instant), LoadError> {
    let frame = [0; CLOCK_FRAME];
    let mut out = frame;
    let options = TestRunOptions {
        data_in: Some(&frame),
        data_out: Some(&mut out),
        ..TestRunOptions::new()
    };
    run(program(ebpf, CLOCK)?, options).map_err(|e| named(CLOCK, e))?;
    let ticks = bytemuck::pod_read_unaligned(&out[..size_of::<u64>()]);
    Ok((ticks, Instant::now()))
}

fn run(program: &Xdp, options: TestRunOptions<'_>) -> Result<u32, ProgramError> {
    Ok(program.test_run(options)?.return_value)
}

fn named(name: &'static str, source: ProgramError) -> LoadError {
    LoadError::Run { name, source }
}

/// A key, or what follows it, in a place as long as a key.
fn place<A: Family, K: Pod>(key: &K) -> FlowKey<A> {
    const { assert!(size_of::<K>() <= size_of::<FlowKey<A>>()) };
    let mut place = FlowKey::zeroed();
    bytemuck::bytes_of_mut(&mut place)[..size_of::<K>()].copy_from_slice(bytemuck::bytes_of(key));
    place
}

/// Makes the keys the frame that the program reads.
fn batch<A: Family, K: Pod>(kind: u32, keys: &[K], frame: &mut Vec<u8>) {
    let head = Batch {
        kind: kind.to_ne_bytes(),
        count: (keys.len() as u32).to_ne_bytes(),
        pad: [0; 8],
    };
    frame.clear();
    frame.extend_from_slice(bytemuck::bytes_of(&head));
    for key in keys {
        frame.extend_from_slice(bytemuck::bytes_of(&place::<A, _>(key)));
    }
}

#[cfg(test)]
mod tests {
    use ipvs_common::TemplateKey;

    use super::*;

    #[test]
    fn short_keys_are_padded_to_the_stride() {
        let key = TemplateKey {
            client: [1; 4],
            vip: [2; 4],
            vport: [3; 2],
            proto: 4,
            generation: 5,
        };
        let mut frame = vec![9; 3];
        batch::<[u8; 4], _>(Batch::TEMPLATES, &[key, key], &mut frame);
        assert_eq!(frame.len(), size_of::<Batch>() + 2 * 16);
        assert_eq!(
            frame[..8],
            [1_u32.to_ne_bytes(), 2_u32.to_ne_bytes()].concat()
        );
        assert_eq!(
            frame[16..32],
            [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 4, 5, 0, 0, 0, 0]
        );
        assert_eq!(frame[16..32], frame[32..48]);
    }
}
