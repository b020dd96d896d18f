//! Programs that were written for the original `ipvsadm` run unchanged: Debian's ldirectord, its scripts to save and to restore
//! rules, and a script as administrators write it. They find our `ipvsadm` in its place, in a mount namespace of their own.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use ipvs_tests::topology::{
    CLIENT, Director, Netns, Scratch, Start, Topology, program, vip, within,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const WEB: u16 = 80;
/// ldirectord's interval and timeout of checks, with time for a busy machine to start Perl.
const INTERVAL: Duration = Duration::from_secs(1 + 2 + 12);

/// A web server on a guest, which says whose it is.
struct Web {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Web {
    fn start(guest: &Netns) -> Result<Self> {
        let listener = guest.listen(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, WEB))?;
        listener.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (name, until) = (guest.name(), Arc::clone(&stop));
        let thread = thread::spawn(move || serve(&listener, name, &until));
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

/// The port is closed after it.
impl Drop for Web {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, name: &str, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        // Whoever asked may have gone; the next one matters.
        let _ = answer(stream, name);
    }
}

fn answer(mut stream: TcpStream, name: &str) -> Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let _ = stream.read(&mut [0; 4096])?;
    let body = format!("alive on {name}");
    let length = body.len();
    write!(
        stream,
        "HTTP/1.0 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    Ok(())
}

/// Who answers at the virtual address.
fn get(net: &Topology) -> Result<String> {
    let mut stream = net.client.connect(CLIENT, vip(WEB))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let name = text.rsplit_once("alive on ").context("no answer")?;
    Ok(name.1.to_owned())
}

/// Who answers so many requests, in order of the names.
fn answering(net: &Topology, requests: usize) -> Result<Vec<String>> {
    let mut names: Vec<_> = (0..requests).map(|_| get(net)).collect::<Result<_>>()?;
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// The real servers of the table, in its order.
fn reals(director: &Director) -> Result<Vec<String>> {
    let table = director.run("ipvsadm -Ln")?;
    let rows = table.lines().filter_map(|l| l.strip_prefix("  -> 10."));
    let names = rows.filter_map(|l| l.split_whitespace().next());
    Ok(names.map(|n| format!("10.{n}")).collect())
}

fn becomes(director: &Director, expected: &[&str], limit: Duration) -> Result<Duration> {
    let start = Instant::now();
    loop {
        let there = reals(director)?;
        if there == expected {
            return Ok(start.elapsed());
        }
        if start.elapsed() > limit {
            bail!("after {limit:?} there are {there:?}, not {expected:?}");
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// A command in dom0 for which our `ipvsadm` is the one in `/sbin`, and `/run` is empty.
fn in_our_place(net: &Topology, director: &Director, script: &str) -> Result<Command> {
    ensure!(
        Path::new("/sbin/ipvsadm").exists() && Path::new("/usr/sbin/ldirectord").exists(),
        "no ldirectord here (package ldirectord)"
    );
    let ours = program("ipvsadm", "IPVSADM")?;
    let mount = "mount --bind \"$0\" /sbin/ipvsadm && mount -t tmpfs none /run";
    let mut command = net.dom0.command("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-c"])
        .arg(format!("{mount} && {script}"))
        .arg(ours)
        .env("IPVSD_SOCKET", director.socket())
        .stdin(Stdio::null());
    Ok(command)
}

/// Debian's, in the foreground.
struct Ldirectord {
    child: Child,
    scratch: Scratch,
}

impl Ldirectord {
    fn start(net: &Topology, director: &Director) -> Result<Self> {
        let scratch = Scratch::new()?;
        let config = scratch.path().join("ldirectord.cf");
        let log = scratch.path().join("log");
        fs::write(
            &config,
            format!(
                "checktimeout=2\nnegotiatetimeout=2\ncheckinterval=1\nautoreload=no\nquiescent=no\n\
                 logfile=\"{}\"\nsupervised=yes\n\
                 virtual=10.0.0.5:80\n\
                 \treal=10.0.1.5:80 masq\n\
                 \treal=10.0.1.6:80 masq\n\
                 \tservice=http\n\
                 \trequest=\"index.html\"\n\
                 \treceive=\"alive\"\n\
                 \tscheduler=rr\n\
                 \tprotocol=tcp\n\
                 \tchecktype=negotiate\n",
                log.display()
            ),
        )?;
        let script = format!("exec /usr/sbin/ldirectord {} start", config.display());
        let said = fs::File::create(scratch.path().join("said"))?;
        let child = in_our_place(net, director, &script)?
            .stdout(said.try_clone()?)
            .stderr(said)
            .spawn()
            .context("starting ldirectord")?;
        Ok(Self { child, scratch })
    }

    fn said(&self) -> String {
        let read = |name| fs::read_to_string(self.scratch.path().join(name)).unwrap_or_default();
        read("said") + &read("log")
    }

    fn stop(&mut self) -> Result<()> {
        kill(
            Pid::from_raw(self.child.id().cast_signed()),
            Signal::SIGTERM,
        )?;
        let start = Instant::now();
        while start.elapsed() < INTERVAL {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        bail!("ldirectord does not end")
    }
}

impl Drop for Ldirectord {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("ldirectord said:\n{}", self.said());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn ldirectord_takes_a_dead_server_out_and_brings_it_back() {
    within(150, || {
        let net = Topology::new()?;
        let [one, _two] = [Web::start(&net.guests[0])?, Web::start(&net.guests[1])?];
        let director = Director::start(&net.dom0, &Start::default())?;
        let mut ldirectord = Ldirectord::start(&net, &director)?;
        let both = ["10.0.1.5:80", "10.0.1.6:80"];
        let result = (|| {
            becomes(&director, &both, INTERVAL * 2)?;
            ensure!(answering(&net, 4)? == ["guest1", "guest2"]);

            drop(one);
            becomes(&director, &both[1..], INTERVAL)?;
            ensure!(answering(&net, 4)? == ["guest2"]);

            let _again = Web::start(&net.guests[0])?;
            becomes(&director, &both, INTERVAL)?;
            ensure!(answering(&net, 4)? == ["guest1", "guest2"]);
            ldirectord.stop()?;
            becomes(&director, &[], INTERVAL)?;
            net.nothing_refused()
        })();
        result.with_context(|| format!("ldirectord said:\n{}", ldirectord.said()))?;
        director.stop()?;
        Ok(())
    });
}

fn succeeds(mut command: Command) -> Result<Output> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success() && said.is_empty(),
        "{}: {said}",
        output.status
    );
    Ok(output)
}

#[test]
fn a_maintenance_script_saves_drains_and_restores() {
    within(90, || {
        let net = Topology::new()?;
        let _webs = [Web::start(&net.guests[0])?, Web::start(&net.guests[1])?];
        let director = Director::start(&net.dom0, &Start::default())?;
        director.run_all(&[
            "ipvsadm -A -t 10.0.0.5:80 -s rr",
            "ipvsadm -a -t 10.0.0.5:80 -r 10.0.1.5 -m -w 3",
            "ipvsadm -a -t 10.0.0.5:80 -r 10.0.1.6 -m",
            "ipvsadm -A -f 7 -s sh -p 60 -b sh-port",
            "ipvsadm -a -f 7 -r 10.0.1.6:0 -i",
        ])?;
        ensure!(answering(&net, 4)? == ["guest1", "guest2"]);
        let saved = director.run("ipvsadm -Sn")?;
        let scratch = Scratch::new()?;
        let during = scratch.path().join("during");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/maintenance.sh");
        let line = format!(
            "exec sh {} 10.0.0.5:80 10.0.1.5:80 'ipvsadm -Ln > {}'",
            script.display(),
            during.display()
        );
        succeeds(in_our_place(&net, &director, &line)?)?;
        let during = fs::read_to_string(during)?;
        ensure!(
            !during.contains("10.0.1.5:80") && during.contains("10.0.1.6:80"),
            "{during}"
        );
        ensure!(director.run("ipvsadm -Sn")? == saved);
        ensure!(answering(&net, 4)? == ["guest1", "guest2"]);
        director.stop()?;
        Ok(())
    });
}
