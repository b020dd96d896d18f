//! Announced connections: a helper of a protocol names the client, and waits for its first packet to tell the port.

use std::net::{Ipv4Addr, SocketAddrV4};

use ipvs_common::{FlowKey, Proto, ServiceKey, SettingsFlags};
use ipvs_datapath::conn::expected::Expected;

use super::Director;
use crate::{
    dataplane::TableError,
    model::{DestKey, ModelError, RealServer},
    timeouts::MAX_SECONDS,
};

/// A connection that a client is about to open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expectation {
    pub protocol: Proto,
    pub client: Ipv4Addr,
    /// Where the client will send its packets.
    pub virt: SocketAddrV4,
    /// The service whose real server serves it.
    pub service: ServiceKey,
    /// Where it leads. If the service has several real servers of this address, the one of this port or else the newest
    /// counts it. Port 0 is the virtual one.
    pub real: DestKey,
    /// Seconds for which the client is waited for.
    pub timeout: u32,
}

/// A connection was announced in vain.
#[derive(Debug, thiserror::Error)]
pub enum ExpectError {
    #[error(transparent)]
    Refused(#[from] ModelError),
    #[error(transparent)]
    Tables(#[from] TableError),
}

/// When the last one ends, in ticks.
#[derive(Default)]
pub(super) struct Waiting(pub(super) Option<u64>);

impl Director {
    /// From here on the first packet from any port of the client opens this connection. Announced once more it starts over.
    pub fn expect(&mut self, e: &Expectation) -> Result<(), ExpectError> {
        check(e)?;
        let dest = self.real_server(e)?;
        let port = match e.real.port {
            0 => e.virt.port(),
            port => port,
        };
        let expected = Expected {
            dest,
            timeout: e.timeout.saturating_mul(self.dataplane.hz()),
            port: port.to_be_bytes(),
            ..Expected::default()
        };
        let (to, to_port) = (e.virt.ip().octets(), e.virt.port().to_be_bytes());
        let key = FlowKey::new(e.protocol as u8, e.client.octets(), [0; 2], to, to_port);
        // Before the entry, which a packet may ask for at once.
        self.adjust_settings(|s| s.flags |= SettingsFlags::HAS_EXPECTED)?;
        if !self.dataplane.expect(&key.wide(), &expected)? {
            let capacity = self.capacities().half_open;
            let what = "half-open connection";
            return Err(ModelError::Full { what, capacity }.into());
        }
        let until = self.dataplane.now()? + u64::from(expected.timeout);
        self.waiting.0 = self.waiting.0.max(Some(until));
        Ok(())
    }

    /// Has packets look for nothing once nothing waits.
    pub(super) fn end_waiting(&mut self, now: u64) -> Result<(), TableError> {
        let looks = self.tables.settings().flags & SettingsFlags::HAS_EXPECTED != 0;
        if !looks || self.waiting.0.is_some_and(|until| now < until) {
            return Ok(());
        }
        self.adjust_settings(|s| s.flags &= !SettingsFlags::HAS_EXPECTED)
    }

    fn real_server(&self, e: &Expectation) -> Result<u32, ModelError> {
        let service = self.model.service(&e.service);
        let service = service.ok_or(ModelError::ServiceUndefined(e.service))?;
        let find = |fits: &dyn Fn(&RealServer) -> bool| service.dests.iter().find(|d| fits(d));
        let dest = find(&|d| d.key == e.real).or_else(|| find(&|d| d.key.addr == e.real.addr));
        let dest = dest.ok_or(ModelError::NoDest {
            service: e.service,
            dest: e.real,
        })?;
        Ok(dest.id)
    }
}

fn check(e: &Expectation) -> Result<(), ModelError> {
    if !(1..=MAX_SECONDS).contains(&e.timeout) {
        let message = format!(
            "{} is out of range: a timeout takes 1 to {MAX_SECONDS} seconds",
            e.timeout
        );
        return Err(ModelError::Range(message));
    }
    if e.virt.port() == 0 {
        let message = "an announced connection needs a virtual port";
        return Err(ModelError::Invalid(message.to_owned()));
    }
    Ok(())
}
