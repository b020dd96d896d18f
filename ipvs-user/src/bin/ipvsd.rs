//! `ipvsd`: the daemon's command line.

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::anyhow;
use clap::{Parser, Subcommand, ValueEnum};
use ipvs_user::{
    api::{client::Client, socket_path},
    config::{self, Config},
    daemon::{self, ModePolicy, Options},
    knobs, proc,
};
use tracing_subscriber::EnvFilter;

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
    Run {
        /// Interface that clients or real servers are behind; may be given several times
        #[arg(long = "iface", value_name = "IF", num_args = 1..)]
        interfaces: Vec<String>,
        /// Services and settings to start with
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// How to attach to interfaces that the configuration says nothing about
        #[arg(long, value_enum, default_value_t)]
        mode: Mode,
        /// Where ipvsadm finds the daemon
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
        /// Name of this director among those of the machine; without it, from the socket's path
        #[arg(long, value_name = "NAME")]
        instance: Option<String>,
        /// At the end take everything away: program, tables, settings. Without it packets flow on, and the next start goes on
        #[arg(long)]
        detach_on_exit: bool,
    },
    /// Say what is wrong with a configuration file, if anything
    Check { file: PathBuf },
    /// Take away what a director left, or leaves: programs, tables, settings; packets are no longer balanced
    Detach {
        #[arg(long, value_name = "NAME")]
        instance: Option<String>,
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
    },
    /// List the directors of this machine that run or left something
    Instances,
    /// List why packets were passed on to the kernel or dropped
    Reasons {
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
    let arguments = Arguments::parse();
    // Commands answer on standard output, and say more only of what is wrong.
    let runs = matches!(arguments.command, Command::Run { .. });
    log_to_stderr(if runs { "info" } else { "warn" });
    match work(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("ipvsd: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// What is said is set by `RUST_LOG`, as usual.
fn log_to_stderr(usual: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
}

#[tokio::main]
async fn work(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run {
            interfaces,
            config,
            mode,
            socket,
            instance,
            detach_on_exit,
        } => {
            let socket = socket.unwrap_or_else(socket_path);
            let config = read(config.as_deref())?;
            let mut options = Options::new(&interfaces, mode.into(), socket, config)?;
            options.instance = instance.unwrap_or(options.instance);
            options.detach_on_exit = detach_on_exit;
            daemon::run(options).await
        }
        Command::Detach { instance, socket } => {
            let socket = socket.unwrap_or_else(socket_path);
            let instance = instance.unwrap_or_else(|| daemon::instance_of(&socket));
            detach(&instance).await
        }
        Command::Instances => {
            print!("{}", daemon::instances()?);
            Ok(())
        }
        Command::Check { file } => check(&file),
        Command::Reasons { socket } => reasons(&socket.unwrap_or_else(socket_path)).await,
        Command::Proc { file, socket } => {
            let client = Client::new(&socket.unwrap_or_else(socket_path));
            print!("{}", proc::text(&client, file).await?);
            Ok(())
        }
        Command::Sysctl { knobs, socket } => {
            let client = Client::new(&socket.unwrap_or_else(socket_path));
            print!("{}", knobs::run(&client, &knobs).await?);
            Ok(())
        }
    }
}

/// The configuration; without a file everything is as it comes.
fn read(file: Option<&Path>) -> anyhow::Result<Config> {
    let config = match file {
        Some(file) => config::load(file),
        None => config::parse("", "").map(|config| Config {
            absent: true,
            ..config
        }),
    };
    config.map_err(|mistakes| {
        let each: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        anyhow!(
            "the configuration has {}\n{}",
            counted(each.len()),
            each.join("\n")
        )
    })
}

async fn detach(instance: &str) -> anyhow::Result<()> {
    if daemon::detach(instance).await? {
        println!("{instance}: everything is taken away");
    } else {
        println!("{instance}: nothing is there");
    }
    Ok(())
}

fn check(file: &Path) -> anyhow::Result<()> {
    let config = read(Some(file))?;
    let reals: usize = config.services.iter().map(|s| s.reals.len()).sum();
    println!(
        "{}: no mistakes; {} services, {reals} real servers",
        file.display(),
        config.services.len()
    );
    Ok(())
}

fn counted(mistakes: usize) -> String {
    match mistakes {
        1 => "a mistake:".to_owned(),
        n => format!("{n} mistakes:"),
    }
}

async fn reasons(socket: &Path) -> anyhow::Result<()> {
    let reasons = Client::new(socket).reasons().await?;
    for reason in reasons.iter().filter(|r| r.count != 0) {
        println!(
            "{:>12}  {} {}: {}",
            reason.count, reason.kind, reason.name, reason.help
        );
    }
    Ok(())
}
