//! Other interfaces than at the start, because the configuration names others: new ones are attached to before old ones are
//! let go, and where one refuses, all is as it was.

use std::collections::BTreeMap;

use tokio::{sync::mpsc, task::block_in_place};
use tracing::{error, info};

use super::{
    Daemon,
    interfaces::{Interfaces, Wanted, find},
    options::wanted,
};
use crate::{
    api::{
        server::Attach,
        wire::{self, What},
    },
    config::Interface,
    dataplane::bpf::ModePolicy,
    net::{Link, Network as _},
};

/// Requests for other interfaces, and what the command line has to say about them.
pub(super) struct Switch {
    pub(super) requests: mpsc::Receiver<Attach>,
    /// Named on the command line: they stay whatever a file says.
    named: Vec<String>,
    mode: ModePolicy,
}

impl Switch {
    pub(super) fn new(named: Vec<String>, mode: ModePolicy) -> (mpsc::Sender<Attach>, Self) {
        let (sender, requests) = mpsc::channel(1);
        let this = Self {
            requests,
            named,
            mode,
        };
        (sender, this)
    }

    pub(super) fn carry_out(
        &self,
        interfaces: &mut Interfaces,
        configured: &BTreeMap<String, Interface>,
        links: &[Link],
    ) -> Result<(), String> {
        let wanted = wanted(&self.named, self.mode, configured);
        if wanted.is_empty() {
            return Err(
                "no interface would be left to work on: name one in [interface.NAME]".to_owned(),
            );
        }
        interfaces.switch(wanted, links)
    }
}

impl Interfaces {
    fn switch(&mut self, wanted: Vec<Wanted>, links: &[Link]) -> Result<(), String> {
        let before = std::mem::take(&mut self.wanted);
        for one in &wanted {
            if before.contains(one) {
                continue;
            }
            if let Err(e) = self.bring(one, links) {
                self.go_back(before, links);
                return Err(e);
            }
        }
        for gone in before
            .iter()
            .filter(|b| !wanted.iter().any(|w| w.name == b.name))
        {
            info!(interface = gone.name, "is no longer one of the director's");
            self.let_go(&gone.name);
        }
        self.wanted = wanted;
        Ok(())
    }

    /// An interface that is new, or wanted in another way.
    fn bring(&mut self, wanted: &Wanted, links: &[Link]) -> Result<(), String> {
        let link = find(links, &wanted.name).ok_or_else(|| {
            let names: Vec<_> = links.iter().map(|l| l.name.as_str()).collect();
            let (name, names) = (&wanted.name, names.join(", "));
            format!("there is no interface {name}; there are {names}")
        })?;
        self.let_go(&wanted.name);
        self.attach(wanted, link).map_err(|e| e.to_string())
    }

    fn go_back(&mut self, before: Vec<Wanted>, links: &[Link]) {
        let known = |name: &str| before.iter().any(|b| b.name == name);
        let new: Vec<_> = self.names().filter(|name| !known(name)).collect();
        for name in &new {
            self.let_go(name);
        }
        for one in &before {
            // Those that were not reached yet are as they were, but which ones is not worth knowing here.
            if let Some(link) = find(links, &one.name) {
                self.let_go(&one.name);
                if let Err(e) = self.attach(one, link) {
                    error!("{e}");
                }
            }
        }
        self.wanted = before;
    }
}

impl Daemon {
    /// Other interfaces, or the reason why they are as they were.
    pub(super) async fn attach(&mut self, asked: Attach) {
        let done = match self.network.links().await {
            Ok(links) => block_in_place(|| {
                self.switch
                    .carry_out(&mut self.interfaces, &asked.interfaces, &links)
            }),
            Err(e) => Err(e.to_string()),
        };
        self.list_interfaces();
        self.refresh_egress().await;
        // Whoever asked may be gone.
        let _ = asked.done.send(done);
    }
}

/// What happened between two listings.
pub(super) fn told<'a>(
    before: &'a [wire::Interface],
    now: &'a [wire::Interface],
) -> impl Iterator<Item = What> + 'a {
    let gone = before.iter().filter(|b| !now.contains(b));
    let new = now.iter().filter(|n| !before.contains(n));
    let gone = gone.map(|i| What::InterfaceDetached {
        name: i.name.clone(),
    });
    gone.chain(new.map(|i| What::InterfaceAttached {
        name: i.name.clone(),
        mode: i.mode.clone(),
    }))
}
