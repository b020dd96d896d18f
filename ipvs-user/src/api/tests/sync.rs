//! The sync daemon's place, with somebody in it.

use std::sync::PoisonError;

use super::*;
use crate::sync::{Config, Daemons, Error, Role, check};

/// Keeps what it is told.
#[derive(Default)]
struct Recorder(Vec<Config>);

impl Daemons for Recorder {
    fn start(&mut self, config: &Config) -> Result<(), Error> {
        check(config)?;
        if self.0.iter().any(|c| c.role == config.role) {
            return Err(Error::Runs(config.role));
        }
        self.0.push(config.clone());
        Ok(())
    }

    fn stop(&mut self, role: Role) -> Result<(), Error> {
        let before = self.0.len();
        self.0.retain(|c| c.role != role);
        if self.0.len() == before {
            return Err(Error::NotRunning(role));
        }
        Ok(())
    }

    fn running(&self) -> Vec<Config> {
        self.0.clone()
    }
}

async fn ipvsadm(daemon: &TestDaemon, line: &str) -> (u8, String) {
    use crate::ipvsadm::{System, run};
    let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
    let outcome = run(
        "ipvsadm",
        &words,
        &daemon.client,
        &System,
        &mut std::io::empty(),
    )
    .await;
    (outcome.status, outcome.stdout + &outcome.stderr)
}

#[tokio::test]
async fn sync_daemons_are_started_listed_and_stopped() {
    let daemon = TestDaemon::start();
    *daemon.sync.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(Recorder::default());
    let told = |status, text: &str| (status, text.to_owned());
    let cases = [
        ("-L --daemon", 0, ""),
        (
            "--start-daemon master --mcast-interface lo --syncid 7",
            0,
            "",
        ),
        (
            "--start-daemon master --mcast-interface lo",
            255,
            "Daemon has already run\n",
        ),
        (
            "--start-daemon=backup --mcast-interface lo --sync-maxlen 1000 --mcast-group ff02::81 --mcast-port 9000 --mcast-ttl 3",
            0,
            "",
        ),
        (
            "-L --daemon",
            0,
            "master sync daemon (mcast=lo, syncid=7, group=224.0.0.81, port=8848, ttl=1)\n\
             backup sync daemon (mcast=lo, syncid=0, maxlen=1000, group=ff02::81, port=9000, ttl=3)\n",
        ),
        ("--stop-daemon master", 0, ""),
        ("--stop-daemon master", 255, "No daemon is running\n"),
    ];
    for (line, status, text) in cases {
        assert_eq!(ipvsadm(&daemon, line).await, told(status, text), "{line}");
    }
}
