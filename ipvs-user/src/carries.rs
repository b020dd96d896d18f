//! What a datapath carries of what the model knows. Who asks for more is refused before anything changes.
//!
//! Knows the model's commands, and nothing of a datapath's tables.

use ipvs_common::{ForwardingMethod, Proto, ServiceKey};

use crate::model::{Command, DestKey, DestSpec, ServiceSpec, TunnelKind, service_name};

/// What not every datapath carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Feature {
    Ipv6 = 1,
    Sctp = 2,
    Gue = 4,
    Gre = 8,
    Engines = 16,
    MixedFamilies = 32,
}

impl Feature {
    /// In the plural.
    const fn name(self) -> &'static str {
        match self {
            Self::Ipv6 => "IPv6 services and real servers",
            Self::Sctp => "SCTP services",
            Self::Gue => "gue tunnels",
            Self::Gre => "gre tunnels",
            Self::Engines => "persistence engines",
            Self::MixedFamilies => "real servers of the other address family",
        }
    }
}

/// A set of features.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Carries(u8);

impl Carries {
    /// What the datapath of this build carries, in the kernel and on the host alike.
    pub const DATAPATH: Self = Self::of(&[
        Feature::Ipv6,
        Feature::Sctp,
        Feature::Gue,
        Feature::Gre,
        Feature::MixedFamilies,
    ]);
    pub const ALL: Self = Self::of(&[
        Feature::Ipv6,
        Feature::Sctp,
        Feature::Gue,
        Feature::Gre,
        Feature::Engines,
        Feature::MixedFamilies,
    ]);

    #[must_use]
    pub const fn of(mut features: &[Feature]) -> Self {
        let mut bits = 0;
        while let [first, rest @ ..] = features {
            bits |= *first as u8;
            features = rest;
        }
        Self(bits)
    }

    #[must_use]
    pub const fn has(self, feature: Feature) -> bool {
        self.0 & feature as u8 != 0
    }

    /// Whether a command stays within it. Deleting is always possible.
    pub fn check(self, command: &Command) -> Result<(), NotCarried> {
        match command {
            Command::AddService { service, spec } | Command::EditService { service, spec, .. } => {
                self.service(service, spec)
            }
            Command::AddDest {
                service,
                dest,
                spec,
            }
            | Command::EditDest {
                service,
                dest,
                spec,
            } => self.dest(service, dest, spec),
            Command::DeleteService { .. }
            | Command::Flush
            | Command::DeleteDest { .. }
            | Command::Zero { .. }
            | Command::SetMatches { .. } => Ok(()),
        }
    }

    pub fn service(self, service: &ServiceKey, spec: &ServiceSpec) -> Result<(), NotCarried> {
        let of = || service_name(service);
        self.need(Feature::Ipv6, !service.addr.is_v4(), of)?;
        self.need(Feature::Sctp, service.proto == Proto::Sctp as u8, of)?;
        self.need(Feature::Engines, spec.engine.is_some(), of)
    }

    pub fn dest(
        self,
        service: &ServiceKey,
        dest: &DestKey,
        spec: &DestSpec,
    ) -> Result<(), NotCarried> {
        let of = || format!("real server {} of {}", dest.socket(), service_name(service));
        let tunnel = |kind| spec.method == ForwardingMethod::Tunnel && spec.tunnel.kind == kind;
        self.need(Feature::Ipv6, !dest.addr.is_v4(), of)?;
        let mixed = service.addr.is_v4() != dest.addr.is_v4();
        self.need(Feature::MixedFamilies, mixed, of)?;
        self.need(Feature::Gue, tunnel(TunnelKind::Gue), of)?;
        self.need(Feature::Gre, tunnel(TunnelKind::Gre), of)
    }

    fn need(
        self,
        feature: Feature,
        needed: bool,
        of: impl FnOnce() -> String,
    ) -> Result<(), NotCarried> {
        if !needed || self.has(feature) {
            return Ok(());
        }
        Err(NotCarried { feature, of: of() })
    }
}

/// It would be right, but no packet would be handled as it says.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{} are not carried by the datapath yet: {of}", feature.name())]
pub struct NotCarried {
    pub feature: Feature,
    /// What asked for it.
    pub of: String,
}

#[cfg(test)]
mod tests {
    use ipvs_common::Scheduler;

    use super::*;
    use crate::model::Engine;

    const V4: ServiceKey = ServiceKey::fwmark(7);
    const V6: ServiceKey = ServiceKey::fwmark6(7);

    fn add(service: ServiceKey, engine: Option<Engine>) -> Command {
        let spec = ServiceSpec {
            engine,
            ..ServiceSpec::new(Scheduler::Rr)
        };
        Command::AddService { service, spec }
    }

    #[test]
    fn what_is_asked_for_beyond_it_is_named() {
        let told = |c: Carries, command: &Command| c.check(command).unwrap_err().to_string();
        let none = Carries::of(&[]);
        assert_eq!(
            told(none, &add(V6, None)),
            "IPv6 services and real servers are not carried by the datapath yet: fwmark6 7"
        );
        assert_eq!(
            told(Carries::of(&[Feature::Ipv6]), &add(V6, Some(Engine::Sip))),
            "persistence engines are not carried by the datapath yet: fwmark6 7"
        );
        assert_eq!(none.check(&add(V4, None)), Ok(()));
        assert_eq!(none.check(&Command::DeleteService { service: V6 }), Ok(()));
        assert_eq!(Carries::ALL.check(&add(V6, Some(Engine::Sip))), Ok(()));
    }
}
