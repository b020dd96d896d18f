//! What the programs and the rest of the daemon hand each other beside the tables: facts of egress interfaces in, frames and
//! messages out.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsRawFd, RawFd},
};

use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError, RingBuf},
};
use aya_log::EbpfLogger;
use ipvs_common::{Egress, Iface, VlanKey};
use tokio::io::{Interest, unix::AsyncFd};

use super::{Again, BpfDataplane, error::LoadError, loader::LOG_MAP};

impl BpfDataplane {
    /// What is known of egress interfaces; there is one owner.
    pub const fn take_egress(&mut self) -> Option<EgressTable> {
        self.egress.take()
    }

    /// The VLAN devices that frames come in by; there is one owner.
    pub const fn take_vlans(&mut self) -> Option<VlanTable> {
        self.vlans.take()
    }

    /// The frames that the programs hand over; there is one reader.
    pub const fn take_punt(&mut self) -> Option<PuntRing> {
        self.punt.take()
    }

    /// The way back for frames that were held; there is one who holds any.
    pub const fn take_again(&mut self) -> Option<Again> {
        self.again.take()
    }

    /// What the talking build says; `None` of any other.
    pub const fn take_messages(&mut self) -> Option<Messages> {
        self.messages.take()
    }
}

/// Which interfaces take frames from a native program.
pub struct EgressTable(pub(super) HashMap<MapData, u32, Egress>);

impl EgressTable {
    /// What is in it, as another process may have left it.
    #[must_use]
    pub fn entries(&self) -> BTreeMap<u32, Egress> {
        self.0.iter().filter_map(Result::ok).collect()
    }

    pub fn put(&mut self, ifindex: u32, egress: Egress) -> Result<(), MapError> {
        self.0.insert(ifindex, egress, 0)
    }

    pub fn remove(&mut self, ifindex: u32) -> Result<(), MapError> {
        super::absent_is_fine(self.0.remove(&ifindex))
    }
}

/// What is constant of each VLAN device that frames come in by, by their tags.
pub struct VlanTable(pub(super) HashMap<MapData, VlanKey, Iface>);

impl VlanTable {
    /// What is in it, as another process may have left it.
    #[must_use]
    pub fn entries(&self) -> BTreeMap<VlanKey, Iface> {
        self.0.iter().filter_map(Result::ok).collect()
    }

    pub fn put(&mut self, key: VlanKey, iface: Iface) -> Result<(), MapError> {
        self.0.insert(key, iface, 0)
    }

    pub fn remove(&mut self, key: VlanKey) -> Result<(), MapError> {
        super::absent_is_fine(self.0.remove(&key))
    }
}

/// Frames that the programs could not send themselves.
pub struct PuntRing(pub(super) RingBuf<MapData>);

impl AsRawFd for PuntRing {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl PuntRing {
    /// Gives every record that is there to `take`, without waiting.
    pub fn drain(&mut self, mut take: impl FnMut(&[u8])) {
        while let Some(record) = self.0.next() {
            take(&record);
        }
    }

    /// The same of so many at most; whether all were taken.
    fn drain_some(&mut self, most: usize, mut take: impl FnMut(&[u8])) -> bool {
        for _ in 0..most {
            let Some(record) = self.0.next() else {
                return true;
            };
            take(&record);
        }
        false
    }

    /// Ready to be waited on; wants a tokio runtime.
    pub fn reader(self) -> io::Result<PuntReader> {
        // SAFETY: the ring owns the map's descriptor and keeps it open until it is dropped.
        let ready = unsafe { AsyncFd::register_with_interest(self, Interest::READABLE) };
        Ok(PuntReader(ready?))
    }
}

pub struct PuntReader(AsyncFd<PuntRing>);

impl PuntReader {
    /// As many records at a time: whoever reads them has more to do.
    const AT_ONCE: usize = 256;

    /// Waits until there is something, then gives what is there to `take`, or as much as it can have at a time.
    pub async fn each(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut ready = self.0.readable_mut().await?;
        if ready.get_inner_mut().drain_some(Self::AT_ONCE, &mut take) {
            ready.clear_ready();
        }
        Ok(())
    }
}

/// What the talking build says of each packet.
pub struct Messages(EbpfLogger<&'static dyn log::Log>);

impl Messages {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Option<Self>, LoadError> {
        if ebpf.map(LOG_MAP).is_none() {
            return Ok(None);
        }
        let logger = EbpfLogger::init(ebpf).map_err(LoadError::Messages)?;
        Ok(Some(Self(logger)))
    }

    /// Passes messages on to the logger of the process, for ever.
    pub async fn pass_on(self) -> io::Result<()> {
        // SAFETY: the logger owns the map's descriptor and keeps it open until it is dropped.
        let messages = unsafe { AsyncFd::register_with_interest(self.0, Interest::READABLE) };
        let mut messages = messages?;
        loop {
            let mut ready = messages.readable_mut().await?;
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    }
}
