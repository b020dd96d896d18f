//! Events as they come, a line each.

use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::api::wire::Event;

pub struct EventStream {
    body: Incoming,
    /// What came of the next line.
    read: Vec<u8>,
}

impl EventStream {
    pub(super) const fn new(body: Incoming) -> Self {
        Self {
            body,
            read: Vec::new(),
        }
    }

    /// The next line as it came; `None`: the daemon ended.
    pub async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            let frame = self.body.frame().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                self.read.extend_from_slice(&data);
            }
        }
    }

    /// The next event; lines of a newer daemon that are not understood are skipped.
    pub async fn event(&mut self) -> Option<Event> {
        loop {
            let line = self.line().await?;
            if let Ok(event) = serde_json::from_str(&line) {
                return Some(event);
            }
        }
    }
}
