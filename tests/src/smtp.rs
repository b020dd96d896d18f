//! A mail server that takes whole messages, and a client that sends them. As much SMTP (RFC 5321) as that takes.
//!
//! What arrived is told by its SHA-256. A command of our own, `XGIVE`, has the server send its last message back, so that
//! bulk data goes both ways. Knows nothing of the director.

mod client;
mod message;
mod server;

pub use client::{Accepted, Session};
pub use message::{Digest, Message};
pub use server::{MailServer, Received};

use std::time::Duration;

use crate::topology::here;

/// No step of a conversation takes longer, unless the network is at fault.
pub(crate) fn patience() -> Duration {
    here(Duration::from_secs(20))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn message_arrives_and_comes_back_unchanged() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = listener.local_addr().unwrap();
        let server = MailServer::on(listener, "here").unwrap();
        let message = Message::of(100_000);
        let mut session = Session::over(TcpStream::connect(to).unwrap()).unwrap();
        assert_eq!(session.server(), "here");
        let accepted = session.send(&message).unwrap();
        assert_eq!(accepted.digest, message.digest());
        assert_eq!(session.take_back().unwrap(), message.digest());
        session.quit().unwrap();
        let [received] = &server.received()[..] else {
            panic!("not one message")
        };
        assert_eq!(received.digest, message.digest());
        assert_eq!(received.bytes, message.len());
        assert_eq!(
            received.from,
            SocketAddrV4::new(Ipv4Addr::LOCALHOST, received.from.port())
        );
    }
}
