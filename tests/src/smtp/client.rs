//! One session with a mail server.

use std::{
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    net::{SocketAddr, SocketAddrV4, TcpStream},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{Digest, Message, patience};

/// What a server said of a message that it took.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// The server's name in its greeting.
    pub by: String,
    pub digest: Digest,
}

#[derive(Debug)]
pub struct Session {
    input: BufReader<TcpStream>,
    output: BufWriter<TcpStream>,
    server: String,
}

impl Session {
    /// Takes a connection over, from the greeting on.
    pub fn over(stream: TcpStream) -> Result<Self> {
        stream.set_read_timeout(Some(patience()))?;
        stream.set_write_timeout(Some(patience()))?;
        stream.set_nodelay(true)?;
        let mut session = Self {
            input: BufReader::with_capacity(1 << 16, stream.try_clone()?),
            output: BufWriter::with_capacity(1 << 16, stream),
            server: String::new(),
        };
        let greeting = session.answer("220").context("greeting")?;
        let name = greeting.split(' ').next().unwrap_or("");
        name.clone_into(&mut session.server);
        session.ask("EHLO client.example", "250")?;
        Ok(session)
    }

    /// The server's name in its greeting.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// This end of the connection.
    pub fn client(&self) -> Result<SocketAddrV4> {
        match self.input.get_ref().local_addr()? {
            SocketAddr::V4(addr) => Ok(addr),
            SocketAddr::V6(addr) => bail!("{addr} is no IPv4 address"),
        }
    }

    pub fn send(&mut self, message: &Message) -> Result<Accepted> {
        self.ask("MAIL FROM:<a@client.example>", "250")?;
        self.ask("RCPT TO:<b@mail.example>", "250")?;
        self.ask("DATA", "354")?;
        message.write(&mut self.output).context("message")?;
        let answer = self.answer("250").context("after the message")?;
        let digest = answer.rsplit(' ').next().and_then(Digest::parse);
        Ok(Accepted {
            by: self.server.clone(),
            digest: digest.with_context(|| format!("no digest in {answer:?}"))?,
        })
    }

    /// Has the server send its last message back.
    pub fn take_back(&mut self) -> Result<Digest> {
        self.ask("XGIVE", "354")?;
        let message = Message::read(&mut self.input).context("message back")?;
        Ok(message.digest())
    }

    /// A word that changes nothing: is the connection alive?
    pub fn noop(&mut self) -> Result<()> {
        self.ask("NOOP", "250").map(drop)
    }

    pub fn quit(mut self) -> Result<()> {
        self.ask("QUIT", "221").map(drop)
    }

    fn ask(&mut self, command: &str, code: &str) -> Result<String> {
        write!(self.output, "{command}\r\n")
            .and_then(|()| self.output.flush())
            .with_context(|| command.to_owned())?;
        self.answer(code).with_context(|| command.to_owned())
    }

    /// The text after an answer's code, which must be this one.
    fn answer(&mut self, code: &str) -> Result<String> {
        let mut line = String::new();
        ensure!(
            self.input.read_line(&mut line)? != 0,
            "the server closed the connection"
        );
        match line.strip_prefix(code) {
            Some(text) => Ok(text.trim().to_owned()),
            None => bail!("the server says {:?}, not {code}", line.trim()),
        }
    }
}
