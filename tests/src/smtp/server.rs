//! The mail server: a thread for each session, and a list of what was received.

use std::{
    io::{self, BufRead as _, BufReader, BufWriter, Write},
    net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{Digest, Message, patience};

/// A message that the server took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// Where it came from, as the server saw it.
    pub from: SocketAddrV4,
    pub bytes: u64,
    pub digest: Digest,
}

/// Listens until it is dropped; sessions go on.
#[derive(Debug)]
pub struct MailServer {
    shared: Arc<Shared>,
    listens: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    received: Mutex<Vec<Received>>,
    stop: AtomicBool,
}

impl MailServer {
    pub fn on(listener: TcpListener, name: &str) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            received: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        listener.set_nonblocking(true)?;
        let at_work = Arc::clone(&shared);
        let listens = thread::spawn(move || accept(&listener, &at_work));
        Ok(Self {
            shared,
            listens: Some(listens),
        })
    }

    /// What was received so far, oldest first.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        lock(&self.shared.received).clone()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // The port is free after this.
        if let Some(thread) = self.listens.take() {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while !shared.stop.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((stream, SocketAddr::V4(from))) => {
                let shared = Arc::clone(shared);
                thread::spawn(move || {
                    if let Err(e) = session(&stream, from, &shared) {
                        eprintln!("{}: session with {from}: {e}", shared.name);
                    }
                });
            }
            // Nobody there: look again, and whether to stop.
            _ => thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn session(stream: &TcpStream, from: SocketAddrV4, shared: &Shared) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(patience()))?;
    stream.set_write_timeout(Some(patience()))?;
    stream.set_nodelay(true)?;
    let mut input = BufReader::with_capacity(1 << 16, stream);
    let mut output = BufWriter::with_capacity(1 << 16, stream);
    let mut last = None;
    reply(&mut output, &format!("220 {} at your service", shared.name))?;
    let mut line = String::new();
    while input.read_line(&mut line)? != 0 {
        let verb = line.split_whitespace().next().unwrap_or("");
        match verb.to_ascii_uppercase().as_str() {
            "DATA" => {
                reply(&mut output, "354 go on, end with a dot")?;
                let message = Message::read(&mut input)?;
                let digest = take(shared, from, &message);
                last = Some(message);
                reply(&mut output, &format!("250 taken as {digest}"))?;
            }
            "XGIVE" => give(&mut output, last.as_ref())?,
            "HELO" | "EHLO" | "MAIL" | "RCPT" | "NOOP" => reply(&mut output, "250 fine")?,
            "QUIT" => return reply(&mut output, "221 good-bye"),
            _ => reply(&mut output, "500 what?")?,
        }
        line.clear();
    }
    Ok(())
}

fn take(shared: &Shared, from: SocketAddrV4, message: &Message) -> Digest {
    let digest = message.digest();
    lock(&shared.received).push(Received {
        from,
        bytes: message.len(),
        digest,
    });
    digest
}

fn give(output: &mut impl Write, last: Option<&Message>) -> io::Result<()> {
    let Some(message) = last else {
        return reply(output, "503 there is none");
    };
    reply(output, "354 here it is")?;
    message.write(output)
}

fn reply(output: &mut impl Write, line: &str) -> io::Result<()> {
    write!(output, "{line}\r\n")?;
    output.flush()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
