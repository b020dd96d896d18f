//! Everybody else's side: one request, one answer.

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
        serde_json::from_slice(&body).map_err(|e| self.protocol(&e))
    }

    async fn request(&self, method: Method, resource: &str, body: Vec<u8>) -> Result<Bytes> {
        let response = self.send(method, resource, body).await?;
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
            .header(header::CONTENT_TYPE, "application/json")
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

/// Parameters of a query ([`wire::ServiceQuery`]). Addresses and numbers need no escapes.
fn query(id: ServiceId) -> String {
    match id {
        ServiceId::Tcp(address) => format!("tcp={address}"),
        ServiceId::Udp(address) => format!("udp={address}"),
        ServiceId::Fwmark(mark) => format!("fwmark={mark}"),
    }
}
