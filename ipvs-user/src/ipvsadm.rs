//! The command line with the grammar and the texts of the original `ipvsadm` 1.31.
//!
//! Knows the API's client and its types, and nothing of what the daemon does behind them.

mod grammar;
mod help;
mod list;
mod lower;
mod names;
mod parse;
mod refusal;
mod restore;
mod save;
mod sort;

pub use crate::api::client::{Client, ClientError};
use lower::Action;
pub use names::{Names, System, Transport};
pub use restore::{Input, rules};

/// What the command writes, and its exit status.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    pub stdout: String,
    pub stderr: String,
    pub status: u8,
}

impl Outcome {
    fn printed(stdout: String) -> Self {
        Self {
            stdout,
            ..Self::default()
        }
    }

    fn failed(status: u8, message: &str) -> Self {
        Self {
            stdout: String::new(),
            stderr: format!("{message}\n"),
            status,
        }
    }
}

/// The command line was wrong: what to say, and the exit status.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Usage {
    status: u8,
    message: String,
}

impl Usage {
    /// A mistake that the tool itself finds.
    fn mistake(message: impl Into<String>) -> Self {
        Self {
            status: MISTAKEN,
            message: message.into(),
        }
    }
}

/// Exit status of mistakes that the tool itself finds.
const MISTAKEN: u8 = 2;
/// Exit status when the daemon refuses: the original returns -1.
const REFUSED: u8 = 255;
/// Exit status when the service that was to be listed is not there.
const NOT_LISTED: u8 = 1;
/// Exit status when there is no daemon, as the original's without its kernel module.
const NO_DAEMON: u8 = 2;

/// Runs the command. `program` is the name it was called by, `input` what is to be restored.
pub async fn run(
    program: &str,
    args: &[String],
    client: &Client,
    names: &dyn Names,
    input: Input<'_>,
) -> Outcome {
    let action = match parse::parse(program, args, names).and_then(|args| lower::lower(&args)) {
        Ok(action) => action,
        Err(e) => return Outcome::failed(e.status, &e.message),
    };
    let done = if let Action::Restore { partial } = action {
        restore::restore(program, client, names, input, partial).await
    } else {
        act(&action, program, client, names).await
    };
    done.unwrap_or_else(|e| failed(program, &e))
}

/// The daemon refused, or there is none.
fn failed(program: &str, e: &ClientError) -> Outcome {
    match e {
        ClientError::Refused(e) => Outcome::failed(REFUSED, refusal::text(e)),
        ClientError::NoDaemon { .. } | ClientError::Protocol { .. } => {
            Outcome::failed(NO_DAEMON, &format!("{program}: {e}"))
        }
    }
}

async fn act(
    action: &Action,
    program: &str,
    client: &Client,
    names: &dyn Names,
) -> Result<Outcome, ClientError> {
    let text = match action {
        Action::Help => help::usage(program),
        Action::Version => help::version(program),
        Action::Change(command) => {
            client.apply(std::slice::from_ref(command)).await?;
            String::new()
        }
        Action::SetTimeouts(changes) => {
            client.set_timeouts(*changes).await?;
            String::new()
        }
        Action::Save { numeric } => save::rules(client.services().await?, names, *numeric),
        Action::ListConnections(format) => {
            list::connections(&client.conns().await?, names, *format)
        }
        Action::Restore { .. } => {
            // A line that restores other lines has none.
            let message = parse::try_help(program);
            return Ok(Outcome::failed(REFUSED, &message));
        }
        Action::StartDaemon(daemon) => {
            client.start_sync(daemon).await?;
            String::new()
        }
        Action::StopDaemon(role) => {
            client.stop_sync(*role).await?;
            String::new()
        }
        Action::ListDaemon => list::daemons(&client.sync().await?),
        Action::ListTimeouts => list::timeouts(&client.status().await?.timeouts),
        Action::ListAll(format) => {
            let version = client.version().await?;
            let mut text = list::version_line(version.connection_table_size);
            text += &list::services(client.services().await?, names, *format);
            text
        }
        Action::ListOne(id, format) => match client.service(*id).await {
            Ok(service) => list::services(vec![service], names, *format),
            Err(ClientError::Refused(e)) => {
                return Ok(Outcome::failed(NOT_LISTED, refusal::text(&e)));
            }
            Err(e) => return Err(e),
        },
    };
    Ok(Outcome::printed(text))
}

#[cfg(test)]
mod tests;
