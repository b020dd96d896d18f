//! The interfaces that the director was told to work on, and no others: attached while they exist, again when they come back.

use std::{collections::BTreeMap, fmt};

use anyhow::{Result, anyhow};
use ipvs_common::{AttachMode, Iface};
use tracing::{error, info, warn};

use crate::{
    api::wire,
    dataplane::bpf::{AttachError, Attachment, Loader, ModePolicy},
    net::{Link, Sysctls},
};

/// An interface to work on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    pub name: String,
    /// How it may be attached to.
    pub policy: ModePolicy,
    /// Firewall mark of every packet that enters here; 0: none.
    pub mark: u32,
}

struct Attached {
    // Before the settings, so that it is undone first.
    attachment: Attachment,
    _sysctls: Sysctls,
}

pub(super) struct Interfaces {
    loader: Loader,
    pub(super) wanted: Vec<Wanted>,
    attached: BTreeMap<String, Attached>,
}

impl Interfaces {
    pub(super) const fn new(loader: Loader, wanted: Vec<Wanted>) -> Self {
        Self {
            loader,
            wanted,
            attached: BTreeMap::new(),
        }
    }

    /// At the start every interface must be there and take the program.
    pub(super) fn attach_all(&mut self, links: &[Link]) -> Result<()> {
        for wanted in self.wanted.clone() {
            let link = find(links, &wanted.name).ok_or_else(|| {
                let names: Vec<_> = links.iter().map(|l| l.name.as_str()).collect();
                anyhow!(
                    "there is no interface {}; there are {}",
                    wanted.name,
                    names.join(", ")
                )
            })?;
            self.attach(&wanted, link)?;
        }
        Ok(())
    }

    /// Later they may come and go, and change their address or MTU.
    pub(super) fn follow(&mut self, links: &[Link]) {
        for wanted in self.wanted.clone() {
            if let Err(e) = self.follow_one(&wanted, find(links, &wanted.name)) {
                error!("{e}");
            }
        }
    }

    fn follow_one(&mut self, wanted: &Wanted, link: Option<&Link>) -> Result<(), AttachError> {
        let known = self.attached.get(&wanted.name);
        let ifindex = known.map(|a| a.attachment.iface().ifindex);
        if ifindex.is_some() && ifindex != link.map(|l| l.ifindex) {
            warn!(interface = wanted.name, "the interface is gone");
            self.attached.remove(&wanted.name);
        }
        let Some(link) = link else { return Ok(()) };
        let Some(attached) = self.attached.get_mut(&wanted.name) else {
            return self.attach(wanted, link);
        };
        let now = constants(wanted, link);
        let before = attached.attachment.iface();
        if (before.mac, before.mtu) == (now.mac, now.mtu) {
            return Ok(());
        }
        info!(
            interface = wanted.name,
            mtu = now.mtu,
            "address or MTU changed: replacing the program"
        );
        if let Err(e) = attached.attachment.replace(&self.loader, now) {
            warn!("{e}: attaching anew");
            self.attached.remove(&wanted.name);
            return self.attach(wanted, link);
        }
        Ok(())
    }

    pub(super) fn attach(&mut self, wanted: &Wanted, link: &Link) -> Result<(), AttachError> {
        let iface = constants(wanted, link);
        let attachment = Attachment::new(&self.loader, &wanted.name, iface, wanted.policy)?;
        report(&attachment, link);
        let attached = Attached {
            attachment,
            _sysctls: Sysctls::prepare(&wanted.name),
        };
        self.attached.insert(wanted.name.clone(), attached);
        Ok(())
    }

    /// Nothing of the director is left there.
    pub(super) fn let_go(&mut self, name: &str) {
        self.attached.remove(name);
    }

    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.attached.keys().cloned()
    }

    pub(super) fn detach_all(&mut self) {
        self.attached.clear();
    }

    pub(super) fn listing(&self) -> Vec<wire::Interface> {
        let listed = self.attached.iter().map(|(name, a)| wire::Interface {
            name: name.clone(),
            ifindex: a.attachment.iface().ifindex,
            mode: mode_name(a.attachment.mode()).to_owned(),
            mark: a.attachment.iface().mark,
        });
        listed.collect()
    }
}

impl fmt::Display for Interfaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = self.attached.iter();
        let each = each.map(|(name, a)| format!("{name} {}", mode_name(a.attachment.mode())));
        f.write_str(&each.collect::<Vec<_>>().join(", "))
    }
}

pub(super) fn find<'a>(links: &'a [Link], name: &str) -> Option<&'a Link> {
    links.iter().find(|l| l.name == name)
}

fn constants(wanted: &Wanted, link: &Link) -> Iface {
    Iface {
        mac: link.mac,
        tx: u8::from(link.sends_back()),
        ifindex: link.ifindex,
        mark: wanted.mark,
        mtu: link.mtu,
        ..Iface::default()
    }
}

const fn mode_name(mode: AttachMode) -> &'static str {
    match mode {
        AttachMode::Native => "native",
        AttachMode::Generic => "generic",
    }
}

fn report(attachment: &Attachment, link: &Link) {
    let interface = attachment.interface();
    info!(
        interface,
        ifindex = link.ifindex,
        "attached, {}",
        mode_name(attachment.mode())
    );
    if let Some(reason) = attachment.refusal() {
        warn!(
            interface,
            "GENERIC MODE on {interface}: its driver takes no native XDP program ({reason}). Every packet now passes the \
             network stack first, which costs several times the CPU time, and droute and tunnel cannot forward packets that \
             the stack has aggregated. `--mode native` makes this an error."
        );
    }
    if !link.up {
        warn!(
            interface,
            "the interface is down: no packet enters there yet"
        );
    }
}
