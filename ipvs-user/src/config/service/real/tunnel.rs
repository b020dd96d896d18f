//! How packets are packed for a real server behind a tunnel.

use ipvs_common::ForwardingMethod;

use super::super::super::{
    problems::Problems,
    section::{Section, suggestion},
};
use crate::model::{Tunnel, TunnelChecksum, TunnelKind};

const KEYS: [&str; 3] = ["tunnel", "tunnel_port", "tunnel_checksum"];

/// `method` is `None` if it was not understood.
pub(super) fn read(
    section: &Section<'_>,
    method: Option<ForwardingMethod>,
    problems: &mut Problems<'_>,
) -> Tunnel {
    if method.is_some_and(|m| m != ForwardingMethod::Tunnel) {
        for key in KEYS {
            forbid(
                section,
                key,
                "a real server that is not behind a tunnel",
                problems,
            );
        }
        return Tunnel::IPIP;
    }
    let kind = one_of(
        "tunnel",
        &TunnelKind::ALL.map(TunnelKind::name),
        section,
        problems,
    );
    let kind = kind.and_then(TunnelKind::from_name);
    let kind = kind.unwrap_or(TunnelKind::Ipip);
    Tunnel {
        kind,
        port: port(kind, section, problems),
        checksum: checksum(kind, section, problems),
    }
}

fn port(kind: TunnelKind, section: &Section<'_>, problems: &mut Problems<'_>) -> u16 {
    if kind != TunnelKind::Gue {
        forbid(section, "tunnel_port", kind.name(), problems);
        return 0;
    }
    if section.get("tunnel_port").is_none() {
        let message = "a gue tunnel without its UDP port";
        problems.report(section.span.clone(), message, "write tunnel_port = 6080");
    }
    let found = section.integer("tunnel_port", 1..=u16::MAX.into(), problems);
    found.map_or(0, |f| f.value as u16)
}

fn checksum(
    kind: TunnelKind,
    section: &Section<'_>,
    problems: &mut Problems<'_>,
) -> TunnelChecksum {
    let names: &[&str] = match kind {
        TunnelKind::Ipip => {
            forbid(section, "tunnel_checksum", kind.name(), problems);
            return TunnelChecksum::None;
        }
        TunnelKind::Gue => &TunnelChecksum::ALL.map(TunnelChecksum::name),
        TunnelKind::Gre => &[TunnelChecksum::None.name(), TunnelChecksum::Full.name()],
    };
    let found = one_of("tunnel_checksum", names, section, problems);
    found
        .and_then(TunnelChecksum::from_name)
        .unwrap_or(TunnelChecksum::None)
}

fn one_of<'a>(
    key: &str,
    names: &[&str],
    section: &Section<'a>,
    problems: &mut Problems<'_>,
) -> Option<&'a str> {
    let found = section.string(key, problems)?;
    if !names.contains(&found.value) {
        let message = format!("no {key} `{}`", found.value);
        problems.report(found.span, message, suggestion(found.value, names));
        return None;
    }
    Some(found.value)
}

fn forbid(section: &Section<'_>, key: &str, of: &str, problems: &mut Problems<'_>) {
    if let Some(value) = section.get(key) {
        let message = format!("{key} does not go with {of}");
        problems.report(value.span(), message, "leave it out");
    }
}
