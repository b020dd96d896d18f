//! What is asked of the programs about frames that are held, and of a fake in tests.

use std::io;

use crate::dataplane::bpf::Again;
pub(super) use crate::dataplane::bpf::Looked as Look;

pub(super) trait Programs {
    /// Has the programs of an interface look at a frame that came in there.
    fn look(&self, ifindex: u32, frame: &[u8]) -> io::Result<Look>;
    /// Gives a frame to the stack, as if it had come in there just now.
    fn pass_up(&self, ifindex: u32, frame: &[u8]) -> io::Result<()>;
    /// Counts a frame that waited in vain.
    fn count_lost(&self, frame: &[u8]) -> io::Result<()>;
}

impl Programs for Again {
    fn look(&self, ifindex: u32, frame: &[u8]) -> io::Result<Look> {
        self.look(ifindex, frame)
    }

    fn pass_up(&self, ifindex: u32, frame: &[u8]) -> io::Result<()> {
        self.pass_up(ifindex, frame)
    }

    fn count_lost(&self, frame: &[u8]) -> io::Result<()> {
        self.count_lost(frame)
    }
}
