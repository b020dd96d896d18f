//! `ipvsadm`: arguments in, text and exit status out.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use ipvs_user::{
    api::{client::Client, socket_path},
    ipvsadm::{self, System},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut args = std::env::args_os().map(|a| a.to_string_lossy().into_owned());
    let program = args.next().unwrap_or_else(|| "ipvsadm".to_owned());
    let args: Vec<_> = args.collect();
    let client = Client::new(&socket_path());
    let outcome = ipvsadm::run(&program, &args, &client, &System, &mut io::stdin()).await;
    // Nowhere is left to say that even this failed.
    let _ = io::stderr().write_all(outcome.stderr.as_bytes());
    match io::stdout().write_all(outcome.stdout.as_bytes()) {
        // Whoever closed the pipe does not want to hear the rest.
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "{program}: cannot write the output: {e}");
            ExitCode::FAILURE
        }
        Ok(()) | Err(_) => ExitCode::from(outcome.status),
    }
}
