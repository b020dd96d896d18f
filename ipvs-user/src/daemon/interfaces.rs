//! The interfaces that the director was told to work on, and no others: attached while they exist, again when they come back.

use std::{collections::BTreeMap, fmt};

use ipvs_common::{AttachMode, Iface};
use tracing::{error, info, warn};

use super::{
    notes::{InterfaceNote, Keeper, Notes},
    steps::Done,
    vlans::{self, Vlans},
};
use crate::{
    api::wire,
    dataplane::bpf::{AttachError, Attachment, Loader, ModePolicy, Ready},
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

impl Wanted {
    /// Said where that is no error.
    pub(super) fn is_awaited(&self) {
        warn!(
            interface = self.name,
            "the interface is not there: it is attached to when it comes back"
        );
    }
}

pub(super) struct Interfaces {
    pub(super) loader: Loader,
    pub(super) wanted: Vec<Wanted>,
    pub(super) attached: BTreeMap<String, Attachment>,
    pub(super) keeper: Keeper,
    pub(super) vlans: Vlans,
    /// What a start did that has not succeeded yet: it goes with this.
    pub(super) undecided: Vec<Done>,
    /// There are real servers of IPv6.
    six: bool,
}

impl Interfaces {
    pub(super) const fn new(
        loader: Loader,
        wanted: Vec<Wanted>,
        keeper: Keeper,
        vlans: Vlans,
    ) -> Self {
        Self {
            loader,
            wanted,
            attached: BTreeMap::new(),
            keeper,
            vlans,
            undecided: Vec::new(),
            six: false,
        }
    }

    pub(super) const fn keeper(&mut self) -> &mut Keeper {
        &mut self.keeper
    }

    /// Later they may come and go, and change their address or MTU.
    pub(super) fn follow(&mut self, links: &[Link]) {
        for wanted in self.wanted.clone() {
            let link = find(links, &wanted.name);
            let by_port = link.and_then(|l| vlans::port_of(links, &self.wanted, l));
            let done = match by_port {
                Some(_) if !self.attached.contains_key(&wanted.name) => Ok(()),
                // Its port was named, too.
                Some(_) => self.let_go(&wanted.name),
                None => self.follow_one(&wanted, link),
            };
            if let Err(e) = done {
                error!("{e}");
            }
        }
        self.serve_vlans(links);
    }

    fn follow_one(&mut self, wanted: &Wanted, link: Option<&Link>) -> Result<(), AttachError> {
        let known = self.attached.get(&wanted.name);
        let ifindex = known.map(|a| a.iface().ifindex);
        if ifindex.is_some() && ifindex != link.map(|l| l.ifindex) {
            warn!(interface = wanted.name, "the interface is gone");
            self.let_go(&wanted.name)?;
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
        let mode = attached.mode();
        let ready = Ready::load(&self.loader, &wanted.name, now, mode)?;
        match attached.change(&self.loader, ready) {
            Ok(former) => former.settle(&wanted.name),
            Err(e) => {
                warn!("{e}: attaching anew");
                self.let_go(&wanted.name)?;
                return self.attach(wanted, link);
            }
        }
        Ok(())
    }

    /// To an interface that is there and has no program.
    fn attach(&mut self, wanted: &Wanted, link: &Link) -> Result<(), AttachError> {
        let iface = constants(wanted, link);
        let mode = wanted.policy.first();
        let ready = Ready::load(&self.loader, &wanted.name, iface, mode)?;
        self.attach_ready(wanted, link, ready)
    }

    pub(super) fn attach_ready(
        &mut self,
        wanted: &Wanted,
        link: &Link,
        ready: Ready,
    ) -> Result<(), AttachError> {
        let attachment = Attachment::by_policy(&self.loader, ready, wanted.policy);
        let attachment = attachment.map_err(|e| e.naming(&link.programs))?;
        self.attached.insert(wanted.name.clone(), attachment);
        self.prepare(wanted, link);
        Ok(())
    }

    /// Makes the interface of a program that is in force ready to forward.
    pub(super) fn prepare(&mut self, wanted: &Wanted, link: &Link) {
        let Some(attachment) = self.attached.get(&wanted.name) else {
            return;
        };
        report(attachment, link);
        let needed = self.needed(&wanted.name);
        self.set(&[(wanted.name.clone(), link.ifindex, needed)]);
    }

    /// What an interface needs whose packets are forwarded.
    pub(super) fn needed(&self, name: &str) -> Vec<Setting> {
        let mut needed = Setting::needed(name);
        if self.six {
            needed.extend(Setting::needed_by_six(name));
        }
        needed
    }

    /// Real servers of IPv6 came: the interfaces have to forward that as well, from here on.
    pub(super) fn carry_six(&mut self) {
        if std::mem::replace(&mut self.six, true) {
            return;
        }
        let attached = self.attached.iter().map(|(name, a)| (name, a.iface()));
        let served = self.vlans.served.iter().map(|(name, s)| (name, &s.iface));
        let all: Vec<_> = attached
            .chain(served)
            .map(|(name, iface)| (name.clone(), iface.ifindex, Setting::needed_by_six(name)))
            .collect();
        self.set(&all);
    }

    /// What interfaces, with their indices, need. Noted before it is done, so that it can be undone whatever happens between.
    pub(super) fn set(&mut self, all: &[(String, u32, Vec<Setting>)]) {
        self.keeper.update(|notes| {
            for (name, ifindex, needed) in all {
                note(
                    notes.interfaces.entry(name.clone()).or_default(),
                    *ifindex,
                    needed,
                );
            }
        });
        for setting in all.iter().flat_map(|(_, _, needed)| needed) {
            setting.put_in_force();
        }
    }

    /// Takes the program off, and puts back what was set for it.
    pub(super) fn let_go(&mut self, name: &str) -> Result<(), AttachError> {
        drop(self.attached.remove(name));
        let forgotten = Attachment::forget(&self.loader, name);
        let note = self.keeper.notes().interfaces.get(name).cloned();
        for setting in note.unwrap_or_default().settings.iter().rev() {
            setting.restore();
        }
        self.keeper.update(|notes| {
            notes.interfaces.remove(name);
        });
        forgotten
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
            through: None,
        });
        let served = self.vlans.served.iter().map(|(name, s)| wire::Interface {
            name: name.clone(),
            ifindex: s.iface.ifindex,
            mode: mode_name(mode_of(&s.iface)).to_owned(),
            mark: s.iface.mark,
            through: Some(s.port.clone()),
        });
        listed.chain(served).collect()
    }
}

/// What was there before anybody changed it is what comes back.
fn note(note: &mut InterfaceNote, ifindex: u32, needed: &[Setting]) {
    if note.ifindex != ifindex {
        note.settings.clear();
    }
    note.ifindex = ifindex;
    for setting in needed {
        if !note.settings.iter().any(|s| s.is_about(setting)) {
            note.settings.push(setting.clone());
        }
    }
}

impl Drop for Interfaces {
    fn drop(&mut self) {
        let undecided = std::mem::take(&mut self.undecided);
        for failed in self.take_back(undecided) {
            error!("a start that failed: {failed}");
        }
    }
}

impl fmt::Display for Interfaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = self.attached.iter();
        let each = each.map(|(name, a)| format!("{name} {}", mode_name(a.mode())));
        let served = self.vlans.served.iter();
        let each = each.chain(served.map(|(name, s)| format!("{name} through {}", s.port)));
        f.write_str(&each.collect::<Vec<_>>().join(", "))
    }
}

pub(super) fn find<'a>(links: &'a [Link], name: &str) -> Option<&'a Link> {
    links.iter().find(|l| l.name == name)
}

/// The same, or an error that lists those that are there.
pub(super) fn found<'a>(links: &'a [Link], name: &str) -> Result<&'a Link, String> {
    find(links, name).ok_or_else(|| {
        let names: Vec<_> = links.iter().map(|l| l.name.as_str()).collect();
        format!(
            "there is no interface {name}; there are {}",
            names.join(", ")
        )
    })
}

pub(super) fn constants(wanted: &Wanted, link: &Link) -> Iface {
    Iface {
        mac: link.mac,
        tx: u8::from(link.sends_back()),
        ifindex: link.ifindex,
        mark: wanted.mark,
        mtu: link.mtu,
        port: link.ifindex,
        ..Iface::default()
    }
}

const fn mode_of(iface: &Iface) -> AttachMode {
    if iface.mode == AttachMode::Generic as u8 {
        AttachMode::Generic
    } else {
        AttachMode::Native
    }
}

const fn mode_name(mode: AttachMode) -> &'static str {
    match mode {
        AttachMode::Native => "native",
        AttachMode::Generic => "generic",
    }
}

pub(super) fn report(attachment: &Attachment, link: &Link) {
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
        if link.vlan.is_some() {
            info!(
                interface,
                "{interface} is a VLAN device: name the interface that it is on, whose program serves it, too"
            );
        }
    }
    if !link.up {
        warn!(
            interface,
            "the interface is down: no packet enters there yet"
        );
    }
}
