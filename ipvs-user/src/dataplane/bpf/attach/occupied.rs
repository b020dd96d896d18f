//! Who is on an interface that another program has, and how to get it off.

use aya::programs::{links::LinkType, loaded_links, loaded_programs};

use super::AttachError;
use crate::dataplane::bpf::pins;

impl AttachError {
    pub(super) fn occupied(interface: String) -> Self {
        Self::Occupied {
            remedy: format!("`ip link set dev {interface} xdp off`, or end its owner"),
            program: "whose name is not known".to_owned(),
            interface,
        }
    }

    /// An error if an interface that is to get a program has these.
    pub fn if_occupied(interface: &str, programs: &[u32]) -> Result<(), Self> {
        if programs.is_empty() {
            return Ok(());
        }
        Err(Self::occupied(interface.to_owned()).naming(programs))
    }

    /// Says which program is in the way, if that was it: the interface's XDP programs have these numbers.
    #[must_use]
    pub fn naming(self, programs: &[u32]) -> Self {
        let (Self::Occupied { interface, .. }, Some(program)) = (&self, programs.first()) else {
            return self;
        };
        Self::Occupied {
            interface: interface.clone(),
            program: described(*program),
            remedy: remedy(interface, *program),
        }
    }
}

/// A daemon that has given up its rights may not ask for another's program.
fn described(program: u32) -> String {
    match name_of(program) {
        Some(name) if name.is_empty() => format!("without a name, id {program}"),
        Some(name) => format!("{name}, id {program}"),
        None => format!("id {program} (`bpftool prog show id {program}` tells its name)"),
    }
}

fn name_of(program: u32) -> Option<String> {
    let mut programs = loaded_programs().filter_map(Result::ok);
    let found = programs.find(|p| p.id() == program)?;
    Some(found.name_as_str()?.to_owned())
}

/// A program that hangs by a link goes with the link only.
fn remedy(interface: &str, program: u32) -> String {
    let mut links = loaded_links().peekable();
    if !matches!(links.peek(), Some(Ok(_))) {
        return format!("`ip link set dev {interface} xdp off`, or end its owner");
    }
    let mut on_it = links
        .filter_map(Result::ok)
        .filter(|l| l.program_id() == program);
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
