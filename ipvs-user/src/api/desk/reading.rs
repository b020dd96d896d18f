//! Gets a configuration from where it is; every mistake in it comes back as one text.

use std::{path::Path, sync::Arc};

use super::{
    Desk, Source, Wanted, convert, no_file,
    wire::{self, ErrorCode},
};
use crate::config::{self, Config, Diagnostic, Reader};

impl Desk {
    /// Reading a large file takes a while, so it happens on a thread for that.
    pub(super) async fn read(&mut self, source: Source) -> Result<Wanted, wire::Error> {
        let reader = std::mem::take(&mut self.reader);
        let file = self.file.clone();
        let rest = self.started.clone();
        let work = move || {
            let mut reader = reader;
            let read = read(&mut reader, source, file.as_deref(), &rest);
            (reader, read)
        };
        let (reader, read) = tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| convert::error(ErrorCode::Config, e.to_string()))?;
        self.reader = reader;
        read
    }
}

fn read(
    reader: &mut Reader,
    source: Source,
    file: Option<&Path>,
    rest: &Config,
) -> Result<Wanted, wire::Error> {
    match source {
        Source::File => {
            let file = file.ok_or_else(no_file)?;
            let text = config::text_of(file).map_err(|e| mistakes(&[e]))?;
            from_toml(reader, &file.display().to_string(), &text, "file")
        }
        Source::Toml { name, text } => from_toml(reader, &name, &text, "put"),
        Source::Json(given) => Ok(Wanted {
            config: Arc::new(convert::config(&given, rest)?),
            from: "put",
        }),
    }
}

fn from_toml(
    reader: &mut Reader,
    name: &str,
    text: &str,
    from: &'static str,
) -> Result<Wanted, wire::Error> {
    let config = reader.read(name, text).map_err(|m| mistakes(&m))?;
    Ok(Wanted {
        config: Arc::new(config),
        from,
    })
}

fn mistakes(found: &[Diagnostic]) -> wire::Error {
    let each: Vec<_> = found.iter().map(ToString::to_string).collect();
    let message = format!(
        "the configuration has {}, and nothing was changed:\n{}",
        config::counted(each.len()),
        each.join("\n")
    );
    convert::error(ErrorCode::Config, message)
}
