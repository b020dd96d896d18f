//! Other interfaces than at the start, or other ways to attach to them, because the configuration says so: where one refuses,
//! all is as it was.

use std::collections::BTreeMap;

use tokio::{sync::mpsc, task::block_in_place};

use super::{
    Daemon,
    interfaces::{Interfaces, Wanted, found},
    options::wanted,
    steps::Step,
    vlans,
};
use crate::{
    api::{
        server::{Absent, Attach},
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
        absent: Absent,
        links: &[Link],
    ) -> Result<(), String> {
        let wanted = wanted(&self.named, self.mode, configured);
        if wanted.is_empty() {
            return Err(
                "no interface would be left to work on: name one in [interface.NAME]".to_owned(),
            );
        }
        interfaces.switch(wanted, absent, links)
    }

    /// Nobody serves requests any more: whoever waits for an answer is told so, and whoever asks later.
    pub(super) fn close(&mut self) {
        self.requests.close();
        while self.requests.try_recv().is_ok() {}
    }
}

impl Interfaces {
    fn switch(
        &mut self,
        wanted: Vec<Wanted>,
        absent: Absent,
        links: &[Link],
    ) -> Result<(), String> {
        let steps = self.steps_to(&wanted, absent, links)?;
        let done = self.carry_out(steps)?;
        self.settle(done, links);
        let before = std::mem::replace(&mut self.wanted, wanted);
        let gone = before.iter().map(|b| &b.name);
        let gone = gone.filter(|b| !self.wanted.iter().any(|w| w.name == **b));
        // A VLAN device that is served through its port stays so, whoever names it.
        let is_served =
            |b: &String| self.vlans.served.contains_key(b) && !self.attached.contains_key(b);
        let gone = gone.filter(|b| !is_served(b));
        self.let_all_go(&gone.cloned().collect::<Vec<_>>());
        // VLAN devices whose ports were named or are no longer.
        self.follow(links);
        Ok(())
    }

    /// What there is to do: all names are looked up and all programs loaded before anything is touched, and what can be
    /// taken back without a gap comes first.
    fn steps_to(
        &self,
        wanted: &[Wanted],
        absent: Absent,
        links: &[Link],
    ) -> Result<Vec<Step>, String> {
        let mut steps = Vec::new();
        for one in wanted {
            let before = self.wanted.iter().find(|b| b.name == one.name);
            if before == Some(one) {
                continue;
            }
            let link = match (found(links, &one.name), absent) {
                (Ok(link), _) => link,
                (Err(e), Absent::Refuses) => return Err(e),
                (Err(_), Absent::IsAwaited) => {
                    one.is_awaited();
                    continue;
                }
            };
            if vlans::port_of(links, wanted, link).is_some() {
                continue;
            }
            let step = self.step(one, before.map(|b| b.policy), link);
            steps.extend(step.map_err(|e| e.to_string())?);
        }
        steps.sort_by_key(Step::rank);
        Ok(steps)
    }
}

impl Daemon {
    /// Other interfaces, or the reason why they are as they were.
    pub(super) async fn attach(&mut self, asked: Attach) {
        let done = match self.network.links().await {
            Ok(links) => block_in_place(|| {
                // Those that went or came just now, first.
                self.interfaces.follow(&links);
                let Attach {
                    interfaces, absent, ..
                } = &asked;
                self.switch
                    .carry_out(&mut self.interfaces, interfaces, *absent, &links)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn whoever_waits_for_interfaces_of_a_daemon_that_ends_is_told() {
        let (requests, mut switch) = Switch::new(Vec::new(), ModePolicy::Auto);
        let ask = || {
            let (done, answer) = oneshot::channel();
            let asked = Attach {
                interfaces: BTreeMap::new(),
                absent: Absent::Refuses,
                done,
            };
            (requests.send(asked), answer)
        };
        let (sent, waits) = ask();
        sent.await.unwrap();
        switch.close();
        let told = tokio::time::timeout(Duration::from_secs(5), waits).await;
        assert!(told.is_ok_and(|told| told.is_err()), "nobody told it");
        let (sent, _later) = ask();
        assert!(sent.await.is_err(), "it would wait for ever");
    }
}
