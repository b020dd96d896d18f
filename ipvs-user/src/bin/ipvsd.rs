//! `ipvsd`: the daemon's command line.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::anyhow;
use clap::{Args, Parser, Subcommand, ValueEnum};
use ipvs_user::{
    api::{client::Client, socket_path},
    config::{self, Access, Config, Reader},
    console,
    daemon::{self, ModePolicy, Options},
    knobs, logging, matches, proc, real_server,
};
use tracing::error;

#[derive(Parser)]
#[command(
    version,
    about = "Layer 4 load balancer with the command line of ipvsadm"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Balance load on these interfaces until told to stop
    Run(Run),
    /// Say what is wrong with a configuration file, if anything
    Check { file: PathBuf },
    /// Have the daemon read its configuration file again, and apply what differs
    Reload {
        /// Also take back what was changed by hand since
        #[arg(long)]
        force: bool,
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
    },
    /// Tell what applying this file would change
    Plan {
        file: PathBuf,
        /// As if with --force
        #[arg(long)]
        force: bool,
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
    },
    /// Make the running daemon what this file says
    Apply {
        file: PathBuf,
        /// Also take back what was changed by hand since
        #[arg(long)]
        force: bool,
        /// Go back after this time unless `ipvsd confirm` comes before
        #[arg(long, value_name = "TIME", value_parser = console::duration)]
        confirm: Option<Duration>,
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
    },
    /// Keep the change that waits for this
    Confirm {
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
    },
    /// Take it back now
    Rollback {
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
    },
    /// Print what happens, a line of JSON each
    Events {
        /// Begin with this number
        #[arg(long, value_name = "SEQ")]
        since: Option<u64>,
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
    },
    /// Take away what a director left, or leaves: programs, tables, settings; packets are no longer balanced
    Detach {
        #[arg(long, value_name = "NAME")]
        instance: Option<String>,
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
    },
    /// List the directors of this machine that run or left something
    Instances,
    /// Set this machine up as a real server, check that it is, or undo that
    RealServer(real_server::Options),
    /// List why packets were passed on to the kernel or dropped
    Reasons {
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
    },
    /// List the match rules, which give packets a firewall mark
    Matches {
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
    },
    /// Print what ip_vs has in a file of this name under /proc/net
    Proc {
        #[arg(value_enum)]
        file: proc::File,
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
    },
    /// List ip_vs's knobs, look at some, or turn them: `ipvsd sysctl expire_nodest_conn=1`
    Sysctl {
        /// Knobs to look at, or to set: all of those or none
        #[arg(value_name = "NAME[=VALUE]")]
        knobs: Vec<String>,
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
    },
}

#[derive(Args)]
struct Run {
    /// Interface that clients or real servers are behind; may be given several times
    #[arg(long = "iface", value_name = "IF", num_args = 1..)]
    interfaces: Vec<String>,
    /// Services and settings to start with, and to read again on SIGHUP and `ipvsd reload`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to attach to interfaces that the configuration says nothing about
    #[arg(long, value_enum, default_value_t)]
    mode: Mode,
    /// Where ipvsadm finds the daemon
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Who may connect to it; 0600 if nothing is said here or in the configuration
    #[arg(long, value_name = "MODE", value_parser = Access::parse_mode)]
    socket_mode: Option<u32>,
    /// The socket's group
    #[arg(long, value_name = "GROUP")]
    socket_group: Option<String>,
    /// A second socket that only answers questions
    #[arg(long, value_name = "PATH")]
    read_only_socket: Option<PathBuf>,
    #[arg(long, value_name = "MODE", value_parser = Access::parse_mode)]
    read_only_mode: Option<u32>,
    #[arg(long, value_name = "GROUP")]
    read_only_group: Option<String>,
    /// Where to remember what was applied last; without it, beside the socket
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    log_format: logging::Format,
    /// Name of this director among those of the machine; without it, from the socket's path
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// At the end take everything away: program, tables, settings. Without it packets flow on, and the next start goes on
    #[arg(long)]
    detach_on_exit: bool,
}

impl Run {
    fn options(self) -> anyhow::Result<Options> {
        let mut reader = Reader::default();
        let mut config = match &self.config {
            Some(file) => read(&mut reader, file)?,
            None => Config::empty(),
        };
        let api = &mut config.api;
        let said = |mode, group| Access { mode, group };
        api.access = said(self.socket_mode, self.socket_group).or(api.access.clone());
        api.read_only = self.read_only_socket.or(api.read_only.take());
        api.read_only_access =
            said(self.read_only_mode, self.read_only_group).or(api.read_only_access.clone());
        let socket = self.socket.unwrap_or_else(socket_path);
        let options = Options::new(&self.interfaces, self.mode.into(), socket, config)?;
        Ok(Options {
            // A reload finds it wherever the daemon stands.
            file: self.config.map(std::path::absolute).transpose()?,
            reader,
            state: self.state_dir,
            instance: self.instance.unwrap_or_else(|| options.instance.clone()),
            detach_on_exit: self.detach_on_exit,
            ..options
        })
    }
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Mode {
    /// In the driver, or with a warning in the network stack
    #[default]
    Auto,
    /// In the driver, or not at all
    Native,
    /// In the network stack
    Generic,
}

impl From<Mode> for ModePolicy {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Auto => Self::Auto,
            Mode::Native => Self::Native,
            Mode::Generic => Self::Generic,
        }
    }
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    let mut format = logging::Format::Text;
    let done = if let Command::Run(run) = command {
        format = run.log_format;
        logging::start(format, "info");
        run.options().and_then(daemon::run)
    } else {
        // Commands answer on standard output, and say more only of what is wrong.
        logging::start(format, "warn");
        ask(command)
    };
    let Err(e) = done else {
        return ExitCode::SUCCESS;
    };
    match format {
        logging::Format::Text => eprintln!("ipvsd: {e:#}"),
        // Whoever reads objects reads no other line.
        logging::Format::Json => error!("{e:#}"),
    }
    ExitCode::FAILURE
}

fn client(socket: Option<PathBuf>) -> Client {
    Client::new(&socket.unwrap_or_else(socket_path))
}

#[tokio::main(flavor = "current_thread")]
async fn ask(command: Command) -> anyhow::Result<()> {
    let how = |force, dry_run, confirm| console::How {
        force,
        dry_run,
        confirm,
    };
    let text = match command {
        Command::Run(_) => return Ok(()),
        Command::Check { file } => return check(&file),
        Command::Events { since, socket } => {
            return console::events(&client(socket), since).await;
        }
        Command::Reload { force, socket } => {
            console::reload(&client(socket), how(force, false, None)).await
        }
        Command::Plan {
            file,
            force,
            socket,
        } => console::apply(&client(socket), &file, how(force, true, None)).await,
        Command::Apply {
            file,
            force,
            confirm,
            socket,
        } => console::apply(&client(socket), &file, how(force, false, confirm)).await,
        Command::Confirm { socket } => console::confirm(&client(socket)).await,
        Command::Rollback { socket } => console::roll_back(&client(socket)).await,
        Command::Detach { instance, socket } => {
            let socket = socket.unwrap_or_else(socket_path);
            let instance = instance.unwrap_or_else(|| daemon::instance_of(&socket));
            detach(&instance).await
        }
        Command::Instances => daemon::instances(),
        Command::RealServer(options) => real_server::run(options).await,
        Command::Reasons { socket } => reasons(&client(socket)).await,
        Command::Matches { socket } => Ok(matches::run(&client(socket)).await?),
        Command::Proc { file, socket } => Ok(proc::text(&client(socket), file).await?),
        Command::Sysctl { knobs, socket } => Ok(knobs::run(&client(socket), &knobs).await?),
    };
    print!("{}", text?);
    Ok(())
}

/// All mistakes as one.
fn read(reader: &mut Reader, file: &Path) -> anyhow::Result<Config> {
    reader.load(file).map_err(|mistakes| {
        let each: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        anyhow!(
            "the configuration has {}:\n{}",
            config::counted(each.len()),
            each.join("\n")
        )
    })
}

async fn detach(instance: &str) -> anyhow::Result<String> {
    Ok(if daemon::detach(instance).await? {
        format!("{instance}: everything is taken away\n")
    } else {
        format!("{instance}: nothing is there\n")
    })
}

fn check(file: &Path) -> anyhow::Result<()> {
    let config = read(&mut Reader::default(), file)?;
    let reals: usize = config.services.iter().map(|s| s.reals.len()).sum();
    println!(
        "{}: no mistakes; {} services, {reals} real servers",
        file.display(),
        config.services.len()
    );
    Ok(())
}

async fn reasons(client: &Client) -> anyhow::Result<String> {
    let reasons = client.reasons().await?;
    let lines = reasons.iter().filter(|r| r.count != 0).map(|r| {
        let (count, kind, name, help) = (r.count, &r.kind, &r.name, &r.help);
        format!("{count:>12}  {kind} {name}: {help}\n")
    });
    Ok(lines.collect())
}
