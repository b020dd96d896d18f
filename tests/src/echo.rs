//! Servers that send back what they get, after their name; and clients that keep data going for as long as they are let.
//! Knows nothing of the director.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::topology::here;

/// No answer for so long is a failure, except where a test waits for one.
fn patience() -> Duration {
    here(Duration::from_secs(30))
}
/// Steady, but little.
const PAUSE: Duration = Duration::from_millis(2);

/// How much data goes to and fro, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Bytes in a round, a multiple of eight.
    pub chunk: usize,
    pub pause: Duration,
}

impl Pace {
    pub const STEADY: Self = Self {
        chunk: 4096,
        pause: PAUSE,
    };
    /// For hundreds of connections on a small machine.
    pub const GENTLE: Self = Self {
        chunk: 64,
        pause: Duration::from_millis(100),
    };
}

/// Sends a line with its name to each client, then every byte back. Works until the process ends.
pub fn tcp_server(listener: TcpListener, name: &str) {
    let name = name.to_owned();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let name = name.clone();
            thread::spawn(move || serve(&stream, &name));
        }
    });
}

fn serve(mut stream: &TcpStream, name: &str) -> io::Result<()> {
    stream.set_nodelay(true)?;
    writeln!(stream, "{name}")?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n])?,
        }
    }
}

/// Sends every datagram back behind its name and a space. Works until the process ends.
pub fn udp_server(socket: UdpSocket, name: &str) {
    let name = name.to_owned();
    thread::spawn(move || -> io::Result<()> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let (n, from) = socket.recv_from(&mut buffer)?;
            let answer = [name.as_bytes(), b" ", &buffer[..n]].concat();
            socket.send_to(&answer, from)?;
        }
    });
}

/// Sends one datagram: the name of the server that sent it back.
pub fn udp_ask(socket: &UdpSocket, data: &[u8]) -> Result<String> {
    socket.set_read_timeout(Some(Duration::from_secs(3)))?;
    socket.send(data)?;
    let mut buffer = vec![0; 1 << 16];
    let n = socket.recv(&mut buffer).context("no answer")?;
    let at = buffer[..n].iter().position(|byte| *byte == b' ');
    let at = at.context("no name in the answer")?;
    ensure!(&buffer[at + 1..n] == data, "other data came back");
    Ok(String::from_utf8_lossy(&buffer[..at]).into_owned())
}

/// A connection to a [`tcp_server`] on which data goes to and fro, each byte compared.
#[derive(Debug)]
pub struct Steady {
    server: String,
    rounds: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Steady {
    pub fn over(stream: TcpStream) -> Result<Self> {
        Self::at_pace(stream, Pace::STEADY)
    }

    pub fn at_pace(stream: TcpStream, pace: Pace) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience()))?;
        stream.set_write_timeout(Some(patience()))?;
        let mut input = BufReader::new(stream.try_clone()?);
        let mut server = String::new();
        input.read_line(&mut server).context("greeting")?;
        let rounds = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (counted, stopped) = (Arc::clone(&rounds), Arc::clone(&stop));
        let thread = thread::spawn(move || talk(input, &stream, pace, &counted, &stopped));
        Ok(Self {
            server: server.trim_end().to_owned(),
            rounds,
            stop,
            thread,
        })
    }

    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// How often data went to and fro.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::SeqCst)
    }

    /// Waits until data has gone to and fro some more times.
    pub fn goes_on(&self, limit: Duration) -> Result<()> {
        self.goes_on_for(10, limit)
    }

    pub fn goes_on_for(&self, rounds: u64, limit: Duration) -> Result<()> {
        let (start, target) = (Instant::now(), self.rounds() + rounds);
        while self.rounds() < target {
            ensure!(
                start.elapsed() < limit,
                "connection to {} stands still after {} rounds",
                self.server,
                self.rounds()
            );
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Fails if anything moves within this time, but for a round that was on its way.
    pub fn stands_still(&self, time: Duration) -> Result<()> {
        thread::sleep(Duration::from_millis(100));
        let before = self.rounds();
        thread::sleep(time);
        let moved = self.rounds() - before;
        ensure!(
            moved == 0,
            "connection to {} made {moved} rounds more",
            self.server
        );
        Ok(())
    }

    /// Ends the connection: fails if any byte came back different, or none came.
    pub fn finish(self) -> Result<()> {
        self.stop.store(true, Ordering::SeqCst);
        let ended = self.thread.join();
        ended.map_err(|_| anyhow!("the client panicked"))?
    }
}

fn talk(
    mut input: BufReader<TcpStream>,
    mut output: &TcpStream,
    pace: Pace,
    rounds: &AtomicU64,
    stop: &AtomicBool,
) -> Result<()> {
    let mut back = vec![0; pace.chunk];
    while !stop.load(Ordering::SeqCst) {
        let round = rounds.load(Ordering::SeqCst);
        let chunk = chunk(round, pace.chunk);
        output.write_all(&chunk)?;
        input.read_exact(&mut back)?;
        ensure!(back == chunk, "round {round} came back different");
        rounds.store(round + 1, Ordering::SeqCst);
        thread::sleep(pace.pause);
    }
    Ok(())
}

/// No two are alike, so that nothing can take another's place.
fn chunk(round: u64, length: usize) -> Vec<u8> {
    let bytes = (0..length as u64 / 8).flat_map(|at| (round << 16 | at).to_be_bytes());
    bytes.collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn steady_connection_moves_until_it_is_finished() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = listener.local_addr().unwrap();
        tcp_server(listener, "here");
        let steady = Steady::over(TcpStream::connect(to).unwrap()).unwrap();
        assert_eq!(steady.server(), "here");
        steady.goes_on(Duration::from_secs(5)).unwrap();
        assert!(steady.stands_still(Duration::from_millis(50)).is_err());
        steady.finish().unwrap();
    }
}
