//! Who is on an interface that another program has, and how to get it off.

use aya::programs::{links::LinkType, loaded_links, loaded_programs};

use super::AttachError;
use crate::dataplane::bpf::pins;

impl AttachError {
    /// Says which program is in the way, if that was it: the interface's XDP programs have these numbers.
    #[must_use]
    pub fn naming(self, programs: &[u32]) -> Self {
        let (Self::Occupied { interface, .. }, Some(program)) = (&self, programs.first()) else {
            return self;
        };
        let name = name_of(*program).unwrap_or_else(|| "without a name".to_owned());
        let remedy = remedy(interface, *program);
        Self::Occupied {
            interface: interface.clone(),
            program: format!("{name}, id {program}"),
            remedy,
        }
    }
}

fn name_of(program: u32) -> Option<String> {
    let mut programs = loaded_programs().filter_map(Result::ok);
    let found = programs.find(|p| p.id() == program)?;
    let name = found.name_as_str()?.to_owned();
    (!name.is_empty()).then_some(name)
}

/// A program that hangs by a link goes with the link only.
fn remedy(interface: &str, program: u32) -> String {
    let links = loaded_links().filter_map(Result::ok);
    let mut on_it = links.filter(|l| l.program_id() == program);
    let link = on_it.find(|l| matches!(l.link_type(), Ok(LinkType::Xdp)));
    let Some(link) = link.map(|l| l.id()) else {
        return format!("`ip link set dev {interface} xdp off`");
    };
    match owner(link) {
        Some(instance) => format!(
            "it is that of the director {instance}, which left it or still runs: `ipvsd detach --instance {instance}`"
        ),
        None => format!("end its owner, or `bpftool link detach id {link}`"),
    }
}

/// The instance that pinned a link.
fn owner(link: u32) -> Option<String> {
    let instances = pins::instances().ok()?;
    instances.into_iter().find(|instance| {
        let links = pins::link_ids_of(instance).unwrap_or_default();
        links.contains(&link)
    })
}
