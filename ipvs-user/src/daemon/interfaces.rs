//! The interfaces that the director was told to work on, and no others: attached while they exist, again when they come back.

use std::{collections::BTreeMap, fmt};

use anyhow::{Result, anyhow};
use ipvs_common::{AttachMode, Iface};
use tracing::{debug, error, info, warn};

use super::notes::{Keeper, Notes};
use crate::{
    api::wire,
    dataplane::bpf::{AttachError, Attachment, Loader, ModePolicy, Successor},
    net::{Link, Setting},
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

/// A moment of the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Swap {
    /// Programs are loaded and about to take the place of others.
    Next,
    /// They have.
    Done,
}

pub(super) struct Interfaces {
    loader: Loader,
    pub(super) wanted: Vec<Wanted>,
    attached: BTreeMap<String, Attachment>,
    keeper: Keeper,
}

impl Interfaces {
    pub(super) const fn new(loader: Loader, wanted: Vec<Wanted>, keeper: Keeper) -> Self {
        Self {
            loader,
            wanted,
            attached: BTreeMap::new(),
            keeper,
        }
    }

    pub(super) const fn keeper(&mut self) -> &mut Keeper {
        &mut self.keeper
    }

    /// At the start every interface must be there and take the program. Those that another daemon left go on; the ones that
    /// are no longer wanted are let go. `around` is called before and after programs are swapped.
    pub(super) fn attach_all(
        &mut self,
        links: &[Link],
        mut around: impl FnMut(Swap) -> Result<()>,
    ) -> Result<()> {
        let mut found = Vec::new();
        for wanted in self.wanted.clone() {
            let link = find(links, &wanted.name).ok_or_else(|| {
                let names: Vec<_> = links.iter().map(|l| l.name.as_str()).collect();
                anyhow!(
                    "there is no interface {}; there are {}",
                    wanted.name,
                    names.join(", ")
                )
            })?;
            found.push((wanted, link));
        }
        let mut successors = Vec::new();
        for (wanted, link) in &found {
            let successor = self.successor(wanted, constants(wanted, link))?;
            successors.extend(successor.map(|s| (wanted, *link, s)));
        }
        // Without a pause in between: a packet in and its answer may meet both sides of a swap.
        around(Swap::Next)?;
        for (wanted, link, successor) in successors {
            let attachment = successor.succeed()?;
            self.attached.insert(wanted.name.clone(), attachment);
            debug!(interface = wanted.name, ifindex = link.ifindex, "swapped");
        }
        around(Swap::Done)?;
        for (wanted, link) in &found {
            if self.attached.contains_key(&wanted.name) {
                self.prepare(wanted, link);
            } else {
                self.attach(wanted, link)?;
            }
        }
        let noted = self.keeper.notes().interfaces.keys();
        let unwanted = noted.filter(|n| !self.attached.contains_key(*n));
        for name in &unwanted.cloned().collect::<Vec<_>>() {
            info!(
                interface = name,
                "is no longer one of the director's: detached"
            );
            self.let_go(name);
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
        let ifindex = known.map(|a| a.iface().ifindex);
        if ifindex.is_some() && ifindex != link.map(|l| l.ifindex) {
            warn!(interface = wanted.name, "the interface is gone");
            self.let_go(&wanted.name);
        }
        let Some(link) = link else { return Ok(()) };
        let Some(attached) = self.attached.get_mut(&wanted.name) else {
            return self.attach(wanted, link);
        };
        let now = constants(wanted, link);
        let before = attached.iface();
        if (before.mac, before.mtu) == (now.mac, now.mtu) {
            return Ok(());
        }
        info!(
            interface = wanted.name,
            mtu = now.mtu,
            "address or MTU changed: replacing the program"
        );
        if let Err(e) = attached.replace(&self.loader, now) {
            warn!("{e}: attaching anew");
            self.let_go(&wanted.name);
            return self.attach(wanted, link);
        }
        Ok(())
    }

    pub(super) fn attach(&mut self, wanted: &Wanted, link: &Link) -> Result<(), AttachError> {
        let iface = constants(wanted, link);
        let attachment = match self.successor(wanted, iface)? {
            Some(successor) => successor.succeed()?,
            None => Attachment::new(&self.loader, &wanted.name, iface, wanted.policy)
                .map_err(|e| e.naming(&link.programs))?,
        };
        self.attached.insert(wanted.name.clone(), attachment);
        self.prepare(wanted, link);
        Ok(())
    }

    /// Makes the interface of a program that is in force ready to forward.
    fn prepare(&mut self, wanted: &Wanted, link: &Link) {
        let Some(attachment) = self.attached.get(&wanted.name) else {
            return;
        };
        report(attachment, link);
        let mode = attachment.mode();
        // Noted before it is done, so that it can be undone whatever happens between.
        let needed = Setting::needed(&wanted.name);
        self.keeper.update(|notes| {
            let note = notes.interfaces.entry(wanted.name.clone()).or_default();
            if note.ifindex != link.ifindex {
                note.settings.clear();
            }
            note.ifindex = link.ifindex;
            note.generic = mode == AttachMode::Generic;
            for setting in &needed {
                // What was there before anybody changed it is what comes back.
                if !note.settings.iter().any(|s| s.key == setting.key) {
                    note.settings.push(setting.clone());
                }
            }
        });
        for setting in &needed {
            setting.put_in_force();
        }
    }

    /// What takes the place of what another daemon attached here, unless that is not the wanted way.
    fn successor(
        &mut self,
        wanted: &Wanted,
        iface: Iface,
    ) -> Result<Option<Successor>, AttachError> {
        let Some(note) = self.keeper.notes().interfaces.get(&wanted.name) else {
            return Ok(None);
        };
        let mode = if note.generic {
            AttachMode::Generic
        } else {
            AttachMode::Native
        };
        let fits = match wanted.policy {
            ModePolicy::Auto => true,
            ModePolicy::Native => mode == AttachMode::Native,
            ModePolicy::Generic => mode == AttachMode::Generic,
        };
        if !fits {
            let mode = mode_name(mode);
            warn!(
                interface = wanted.name,
                "was attached {mode}, which is no longer wanted: attaching anew"
            );
            self.let_go(&wanted.name);
            return Ok(None);
        }
        Successor::load(&self.loader, &wanted.name, iface, mode)
    }

    /// Takes the program off, and puts back what was set for it.
    pub(super) fn let_go(&mut self, name: &str) {
        drop(self.attached.remove(name));
        if let Err(e) = Attachment::forget(&self.loader, name) {
            warn!("{e}");
        }
        let note = self.keeper.notes().interfaces.get(name).cloned();
        for setting in note.unwrap_or_default().settings.iter().rev() {
            setting.restore();
        }
        self.keeper.update(|notes| {
            notes.interfaces.remove(name);
        });
    }

    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.attached.keys().cloned()
    }

    /// Lets go of all programs, whose pins are left to whoever goes by these notes.
    pub(super) fn detach_all(&mut self) -> Notes {
        self.attached.clear();
        self.keeper.notes().clone()
    }

    pub(super) fn listing(&self) -> Vec<wire::Interface> {
        let listed = self.attached.iter().map(|(name, a)| wire::Interface {
            name: name.clone(),
            ifindex: a.iface().ifindex,
            mode: mode_name(a.mode()).to_owned(),
            mark: a.iface().mark,
        });
        listed.collect()
    }
}

impl fmt::Display for Interfaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = self.attached.iter();
        let each = each.map(|(name, a)| format!("{name} {}", mode_name(a.mode())));
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
