//! What happens on the network of [`crate::topology`]: mail servers on both guests, and mail to the virtual address.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context as _, Result, ensure};

use crate::{
    smtp::{MailServer, Message, Session},
    topology::{Topology, vip},
};

/// The administrator's commands of the README.
pub const STORY: [&str; 3] = [
    "ipvsadm -A -t 10.0.0.5:25 -s lblc -p",
    "ipvsadm -a -t 10.0.0.5:25 -r 10.0.1.5 -m",
    "ipvsadm -a -t 10.0.0.5:25 -r 10.0.1.6:26 -m",
];

/// A session between a client and port 25 of the virtual address.
pub fn call(net: &Topology, from: Ipv4Addr) -> Result<Session> {
    Session::over(net.client.connect(from, vip(25))?)
}

/// One direction of "at least 10 MB each way".
pub const BULK: usize = 10 << 20;

/// A mail server on each guest.
#[derive(Debug)]
pub struct MailServers([MailServer; 2]);

impl MailServers {
    /// On these ports, and on every address of their guest.
    pub fn start(net: &Topology, ports: [u16; 2]) -> Result<Self> {
        let start = |index: usize| -> Result<MailServer> {
            let guest = &net.guests[index];
            let on = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, ports[index]);
            Ok(MailServer::on(guest.listen(on)?, guest.name())?)
        };
        Ok(Self([start(0)?, start(1)?]))
    }

    /// Mail of `bytes` to port 25 of the virtual address, and back again: the name of the server that took it.
    ///
    /// Fails unless that server has received this very message from this very client.
    pub fn mail(&self, net: &Topology, from: Ipv4Addr, bytes: usize) -> Result<String> {
        let mut session = call(net, from)?;
        let by = self.mail_in(net, &mut session, bytes)?;
        session.quit()?;
        Ok(by)
    }

    /// The same within a session.
    pub fn mail_in(&self, net: &Topology, session: &mut Session, bytes: usize) -> Result<String> {
        let sender = session.client()?;
        let message = Message::of(bytes);
        let accepted = session.send(&message)?;
        ensure!(
            accepted.digest == message.digest(),
            "{} took another message",
            accepted.by
        );
        let back = session.take_back()?;
        ensure!(
            back == message.digest(),
            "{} sent another message back",
            accepted.by
        );
        let server = net.guests.iter().position(|g| g.name() == accepted.by);
        let received = self.0[server.context("unknown server")?].received();
        let ours = received.iter().rfind(|r| sender == r.from);
        let ours = ours.with_context(|| format!("no mail from {sender} arrived: {received:?}"))?;
        ensure!(ours.digest == message.digest() && ours.bytes == message.len());
        Ok(accepted.by)
    }

    /// How many messages each server has received.
    #[must_use]
    pub fn received(&self) -> [usize; 2] {
        let [first, second] = &self.0;
        [first.received().len(), second.received().len()]
    }
}
