//! Everybody else's side: one request, one answer.

mod stream;

use std::{
    fmt::Display,
    io,
    path::{Path, PathBuf},
};

use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

pub use stream::EventStream;

use super::{
    SOCKET_VARIABLE,
    wire::{self, Command, PREFIX, ServiceId},
};

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(
        "no daemon answers at {}: {source}\nStart it (as root) with `ipvsd run --iface INTERFACE`, or set {SOCKET_VARIABLE} to its socket.",
        socket.display()
    )]
    NoDaemon { socket: PathBuf, source: io::Error },
    #[error("{}", .0.message)]
    Refused(wire::Error),
    #[error("{}: the daemon does not speak the language of this program: {what}", socket.display())]
    Protocol { socket: PathBuf, what: String },
}

const JSON: &str = "application/json";
const TOML: &str = "application/toml";

type Result<T> = std::result::Result<T, ClientError>;

/// A daemon's socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    pub async fn version(&self) -> Result<wire::Version> {
        self.get("version").await
    }

    pub async fn status(&self) -> Result<wire::Status> {
        self.get("status").await
    }

    pub async fn services(&self) -> Result<Vec<wire::Service>> {
        self.get("services").await
    }

    pub async fn service(&self, id: ServiceId) -> Result<wire::Service> {
        let found: Vec<wire::Service> = self.get(&format!("services?{}", query(id))).await?;
        let one = found.into_iter().next();
        one.ok_or_else(|| self.protocol(&"an empty list for one service"))
    }

    pub async fn dests(&self, id: ServiceId) -> Result<Vec<wire::DestOf>> {
        self.get(&format!("dests?{}", query(id))).await
    }

    pub async fn conns(&self) -> Result<Vec<wire::Conn>> {
        self.get("conns").await
    }

    pub async fn stats(&self) -> Result<wire::Totals> {
        self.get("stats").await
    }

    pub async fn reasons(&self) -> Result<Vec<wire::Reason>> {
        self.get("reasons").await
    }

    pub async fn matches(&self) -> Result<Vec<wire::Match>> {
        self.get("matches").await
    }

    pub async fn sysctls(&self) -> Result<Vec<wire::Sysctl>> {
        self.get("sysctl").await
    }

    /// Sets all of the knobs, or none.
    pub async fn set_sysctls(&self, changes: &wire::SysctlChanges) -> Result<()> {
        self.patch("sysctl", changes).await
    }

    pub async fn set_timeouts(&self, changes: wire::TimeoutChanges) -> Result<()> {
        self.patch("timeouts", &changes).await
    }

    /// Carries out all of the commands, or none.
    pub async fn apply(&self, commands: &[Command]) -> Result<()> {
        let body = serde_json::to_vec(commands).map_err(|e| self.protocol(&e))?;
        self.request(Method::POST, "commands", body).await?;
        Ok(())
    }

    /// Announces a connection.
    pub async fn expect(&self, announced: &wire::Expectation) -> Result<()> {
        let body = serde_json::to_vec(announced).map_err(|e| self.protocol(&e))?;
        self.request(Method::POST, "expectations", body).await?;
        Ok(())
    }

    /// What is running, as a configuration.
    pub async fn config(&self) -> Result<wire::Config> {
        self.get("config").await
    }

    /// Makes this configuration the running one, or tells what that would do.
    pub async fn put_config(
        &self,
        config: &wire::Config,
        how: &wire::ApplyQuery,
    ) -> Result<wire::Plan> {
        let body = serde_json::to_vec(config).map_err(|e| self.protocol(&e))?;
        let resource = format!("config?{}", parameters(how));
        let answer = self.request(Method::PUT, &resource, body).await?;
        self.read(&answer)
    }

    /// The same from the text of a file.
    pub async fn put_file(&self, text: String, how: &wire::ApplyQuery) -> Result<wire::Plan> {
        let resource = format!("config?{}", parameters(how));
        let response = self.send(Method::PUT, &resource, TOML, text.into_bytes());
        let answer = self.body_of(response.await?).await?;
        self.read(&answer)
    }

    /// Has the daemon read its file again.
    pub async fn reload(&self, how: &wire::ApplyQuery) -> Result<wire::Plan> {
        let resource = format!("config/reload?{}", parameters(how));
        let answer = self.request(Method::POST, &resource, Vec::new()).await?;
        self.read(&answer)
    }

    /// Keeps the change that waits for this.
    pub async fn confirm(&self) -> Result<()> {
        self.request(Method::POST, "config/confirm", Vec::new())
            .await?;
        Ok(())
    }

    /// Takes it back now.
    pub async fn roll_back(&self) -> Result<wire::Plan> {
        let answer = self.request(Method::POST, "config/rollback", Vec::new());
        self.read(&answer.await?)
    }

    /// Follows what happens.
    pub async fn events(&self, since: Option<u64>) -> Result<EventStream> {
        let query = since.map_or_else(String::new, |since| format!("?since={since}"));
        let response = self
            .send(Method::GET, &format!("events{query}"), JSON, Vec::new())
            .await?;
        if !response.status().is_success() {
            self.body_of(response).await?;
            return Err(self.protocol(&"no stream of events"));
        }
        Ok(EventStream::new(response.into_body()))
    }

    /// The sync daemons that run.
    pub async fn sync(&self) -> Result<Vec<wire::SyncDaemon>> {
        self.get("sync").await
    }

    pub async fn start_sync(&self, daemon: &wire::SyncDaemon) -> Result<()> {
        let body = serde_json::to_vec(daemon).map_err(|e| self.protocol(&e))?;
        self.request(Method::POST, "sync", body).await?;
        Ok(())
    }

    pub async fn stop_sync(&self, role: wire::SyncRole) -> Result<()> {
        let resource = format!("sync?role={}", role.name());
        self.request(Method::DELETE, &resource, Vec::new()).await?;
        Ok(())
    }

    /// Has the daemon take everything away, and end.
    pub async fn detach(&self) -> Result<()> {
        self.request(Method::POST, "detach", Vec::new()).await?;
        Ok(())
    }

    async fn patch(&self, resource: &str, changes: &impl Serialize) -> Result<()> {
        let body = serde_json::to_vec(changes).map_err(|e| self.protocol(&e))?;
        self.request(Method::PATCH, resource, body).await?;
        Ok(())
    }

    async fn get<T: DeserializeOwned>(&self, resource: &str) -> Result<T> {
        let body = self.request(Method::GET, resource, Vec::new()).await?;
        self.read(&body)
    }

    fn read<T: DeserializeOwned>(&self, body: &Bytes) -> Result<T> {
        serde_json::from_slice(body).map_err(|e| self.protocol(&e))
    }

    async fn request(&self, method: Method, resource: &str, body: Vec<u8>) -> Result<Bytes> {
        let response = self.send(method, resource, JSON, body).await?;
        self.body_of(response).await
    }

    async fn body_of(&self, response: Response<Incoming>) -> Result<Bytes> {
        let status = response.status();
        let body = response.into_body().collect().await;
        let body = body.map_err(|e| self.protocol(&e))?.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        match serde_json::from_slice(&body) {
            Ok(error) => Err(ClientError::Refused(error)),
            Err(_) => Err(self.protocol(&format!("it answered {status}"))),
        }
    }

    async fn send(
        &self,
        method: Method,
        resource: &str,
        kind: &'static str,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>> {
        let stream = UnixStream::connect(&self.socket).await;
        let stream = stream.map_err(|source| ClientError::NoDaemon {
            socket: self.socket.clone(),
            source,
        })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| self.protocol(&e))?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(format!("{PREFIX}/{resource}"))
            .header(header::HOST, "ipvsd")
            .header(header::CONTENT_TYPE, kind)
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| self.protocol(&e))?;
        sender
            .send_request(request)
            .await
            .map_err(|e| self.protocol(&e))
    }

    fn protocol(&self, what: &dyn Display) -> ClientError {
        ClientError::Protocol {
            socket: self.socket.clone(),
            what: what.to_string(),
        }
    }
}

/// Parameters of a query ([`wire::ServiceQuery`]). Addresses and numbers need no escapes, and brackets are let pass.
fn query(id: ServiceId) -> String {
    match id {
        ServiceId::Tcp(address) => format!("tcp={address}"),
        ServiceId::Udp(address) => format!("udp={address}"),
        ServiceId::Sctp(address) => format!("sctp={address}"),
        ServiceId::Fwmark(mark) => format!("fwmark={mark}"),
        ServiceId::Fwmark6(mark) => format!("fwmark6={mark}"),
    }
}

/// Those of a configuration. The name is the only one that may need escapes, and it does without what would.
fn parameters(how: &wire::ApplyQuery) -> String {
    let mut given = vec![format!("dry_run={}", how.dry_run)];
    given.extend(how.by_hand.map(|by_hand| {
        let word = match by_hand {
            wire::ByHand::Keep => "keep",
            wire::ByHand::Overwrite => "overwrite",
        };
        format!("by_hand={word}")
    }));
    given.extend(how.confirm.map(|seconds| format!("confirm={seconds}")));
    given.extend(
        how.name
            .as_ref()
            .map(|name| format!("name={}", plain(name))),
    );
    given.join("&")
}

fn plain(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    name.chars()
        .map(|c| if fits(c) { c } else { '_' })
        .collect()
}
