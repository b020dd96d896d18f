//! Under `nat_icmp_send` the datapath knows masqueraded real servers by address and port. What it knows follows from the model and
//! is compared with it after each change; while the knob is off it knows none, and nothing is compared.

use std::collections::BTreeMap;

use ipvs_common::{ForwardingMethod, Proto, ServiceKey};

use super::Director;
use crate::{dataplane::TableError, model::Model, sysctl::Knob};

/// What was written: index by address, port and protocol.
#[derive(Debug, Default)]
pub(super) struct Reals(BTreeMap<ServiceKey, u32>);

impl Director {
    /// What another process wrote.
    pub(super) fn resume_reals(&mut self) -> Result<(), TableError> {
        self.reals.0 = self.dataplane.masq_reals()?.into_iter().collect();
        Ok(())
    }

    /// Writes what differs. What cannot be written now is with the next change.
    pub(super) fn follow_reals(&mut self) {
        if let Err(e) = self.write_reals() {
            tracing::warn!("real servers for `nat_icmp_send`: {e}");
        }
    }

    fn write_reals(&mut self) -> Result<(), TableError> {
        let wanted = if self.knob(Knob::NatIcmpSend) == 0 {
            BTreeMap::new()
        } else {
            masqueraded(&self.model)
        };
        let known = &mut self.reals.0;
        let gone: Vec<_> = known
            .keys()
            .filter(|key| !wanted.contains_key(key))
            .copied()
            .collect();
        for key in gone {
            self.dataplane.remove_masq_real(&key)?;
            known.remove(&key);
        }
        for (key, dest) in wanted {
            if known.get(&key) != Some(&dest) {
                self.dataplane.put_masq_real(&key, dest)?;
                known.insert(key, dest);
            }
        }
        Ok(())
    }
}

/// Those of a firewall mark are there for every protocol. Of several with the same address and port any one will do.
fn masqueraded(model: &Model) -> BTreeMap<ServiceKey, u32> {
    let mut all = BTreeMap::new();
    for service in model.services() {
        let protocols: &[u8] = if service.key.mark == 0 {
            &[service.key.proto]
        } else {
            &[Proto::Tcp as u8, Proto::Udp as u8, Proto::Sctp as u8]
        };
        let dests = service.dests.iter();
        for dest in dests.filter(|d| d.spec.method == ForwardingMethod::Masq) {
            for proto in protocols {
                let port = dest.key.port.to_be_bytes();
                all.insert(ServiceKey::at(*proto, dest.key.addr, port), dest.id);
            }
        }
    }
    all
}
