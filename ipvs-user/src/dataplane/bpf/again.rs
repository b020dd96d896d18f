//! Frames that the daemon held, once more before the programs of the interface that they came in by (`BPF_PROG_TEST_RUN`), and from there
//! to the stack if they are not the director's.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use aya::programs::ProgramFd;
use bytemuck::{Pod, Zeroable};

use super::sys;

const BPF_PROG_TEST_RUN: libc::c_long = 10;
/// What the program says is done with the frame, as if it had come in by the interface.
const LIVE_FRAMES: u32 = 2;
const XDP_ABORTED: u32 = 0;
const XDP_PASS: u32 = 2;

/// The arguments in the kernel's `union bpf_attr`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Request {
    program: u32,
    verdict: u32,
    size_in: u32,
    size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_size_in: u32,
    context_size_out: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    pad: u32,
}

/// The kernel's `struct xdp_md`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Context {
    data: u32,
    data_end: u32,
    data_meta: u32,
    ingress_ifindex: u32,
    rx_queue_index: u32,
    egress_ifindex: u32,
}

/// What became of a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Looked {
    /// It has to wait on.
    Waits,
    /// It was sent (by way of the ring of frames), or dropped, and counted.
    Done,
    /// The stack is to have it, as it is now.
    Passes(Vec<u8>),
}

/// The programs in force, by interface.
#[derive(Clone, Default)]
pub(super) struct InForce(Arc<Mutex<BTreeMap<u32, Weak<ProgramFd>>>>);

impl InForce {
    pub(super) fn set(&self, ifindex: u32, program: &Arc<ProgramFd>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, program| program.strong_count() > 0);
        all.insert(ifindex, Arc::downgrade(program));
    }

    fn of(&self, ifindex: u32) -> Option<Arc<ProgramFd>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&ifindex)?.upgrade()
    }
}

/// The way back for frames that were held.
pub struct Again {
    pub(super) in_force: InForce,
    /// Says that the stack is to have a frame.
    pub(super) pass: ProgramFd,
    /// Counts one that waited in vain.
    pub(super) lost: ProgramFd,
}

impl Again {
    /// Has the programs of an interface look at a frame that came in there. An interface that is gone forwards nothing.
    pub fn look(&self, ifindex: u32, frame: &[u8]) -> io::Result<Looked> {
        let program = self.in_force.of(ifindex).ok_or(io::ErrorKind::NotFound)?;
        let mut out = vec![0; frame.len() + 256];
        let mut request = Request {
            size_out: out.len() as u32,
            data_out: out.as_mut_ptr() as u64,
            ..request(program.as_fd(), frame)
        };
        run(&mut request)?;
        Ok(match request.verdict {
            XDP_ABORTED => Looked::Waits,
            XDP_PASS => {
                out.truncate(request.size_out as usize);
                Looked::Passes(out)
            }
            _ => Looked::Done,
        })
    }

    /// Gives a frame to the stack, as if it had come in by the interface just now.
    pub fn pass_up(&self, ifindex: u32, frame: &[u8]) -> io::Result<()> {
        let context = Context {
            data_end: frame.len() as u32,
            ingress_ifindex: ifindex,
            ..Context::zeroed()
        };
        run(&mut Request {
            repeat: 1,
            context_size_in: size_of::<Context>() as u32,
            context_in: (&raw const context) as u64,
            flags: LIVE_FRAMES,
            batch_size: 1,
            ..request(self.pass.as_fd(), frame)
        })
    }

    /// Counts a frame that waited in vain.
    pub fn count_lost(&self, frame: &[u8]) -> io::Result<()> {
        run(&mut request(self.lost.as_fd(), frame))
    }
}

fn request(program: BorrowedFd<'_>, frame: &[u8]) -> Request {
    Request {
        program: program.as_raw_fd().cast_unsigned(),
        size_in: frame.len() as u32,
        data_in: frame.as_ptr() as u64,
        ..Request::zeroed()
    }
}

fn run(request: &mut Request) -> io::Result<()> {
    // SAFETY: the kernel reads the frame and the context, which are as long as the request says and outlive the call, and writes the
    // frame behind to `data_out`, if there is one, which is as long as it says, too.
    unsafe { sys::call(BPF_PROG_TEST_RUN, bytemuck::bytes_of_mut(request)) }.map(drop)
}
