//! Replays files and folders of traces in every engine there is, and tells how each came out.

use std::{
    fmt, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use anyhow::{Context as _, Result, ensure};
use ipvs_common::AttachMode;

use super::{Difference, Expectations, Standing, replay, setup};
use crate::{
    backend::{Host, Kernel, in_network},
    trace::Trace,
};

/// What the datapath runs in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Engine {
    Host,
    /// Needs root.
    Kernel(AttachMode),
}

impl Engine {
    fn replay(self, trace: &Trace) -> Result<Vec<Difference>> {
        let mut setup = setup(trace)?;
        let Self::Kernel(mode) = self else {
            return replay(trace, &mut Host::new(setup));
        };
        setup.mode = mode;
        let network = setup.network.clone();
        in_network(&network, || replay(trace, &mut Kernel::load(setup)?))
    }

    /// What cannot be replayed, or panics, is different.
    fn differences(self, trace: &Trace) -> Vec<Difference> {
        let failed = |what: String| vec![Difference::new(what)];
        match catch_unwind(AssertUnwindSafe(|| self.replay(trace))) {
            Ok(Ok(differences)) => differences,
            Ok(Err(error)) => failed(format!("cannot be replayed: {error:#}")),
            Err(_) => failed("the replay panicked".to_owned()),
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "on the host",
            Self::Kernel(AttachMode::Native) => "in the kernel (native)",
            Self::Kernel(AttachMode::Generic) => "in the kernel (generic)",
        })
    }
}

/// How one file came out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    pub name: String,
    /// `None`: the file is no trace.
    pub standing: Option<Standing>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.standing {
            None => write!(f, "{name}: no trace, skipped"),
            Some(Standing::Equal) => write!(f, "{name}: equal"),
            Some(Standing::Intended(why)) => write!(f, "{name}: intended: {why}"),
            Some(Standing::Elsewhere(why)) => write!(f, "{name}: elsewhere: {why}"),
            Some(Standing::NotYet(why)) => write!(f, "{name}: not yet: {why}"),
            Some(Standing::Different(first)) => write!(f, "{name}: different: {first}"),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    pub equal: usize,
    pub intended: usize,
    pub elsewhere: usize,
    pub not_yet: usize,
    pub different: usize,
}

impl Totals {
    const fn add(&mut self, standing: &Standing) {
        match standing {
            Standing::Equal => self.equal += 1,
            Standing::Intended(_) => self.intended += 1,
            Standing::Elsewhere(_) => self.elsewhere += 1,
            Standing::NotYet(_) => self.not_yet += 1,
            Standing::Different(_) => self.different += 1,
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            equal,
            intended,
            elsewhere,
            not_yet,
            different,
        } = self;
        write!(
            f,
            "{equal} equal, {intended} intended, {elsewhere} elsewhere, {not_yet} not yet, {different} different"
        )
    }
}

/// Replays every trace of the files and folders, a few at a time; `tell` gets the reports in order.
pub fn replay_all(
    paths: &[PathBuf],
    engines: &[Engine],
    expectations: &Expectations,
    mut tell: impl FnMut(&Report),
) -> Result<Totals> {
    let files = files(paths)?;
    let next = AtomicUsize::new(0);
    let (send, receive) = mpsc::channel();
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let mut totals = Totals::default();
    thread::scope(|scope| {
        for _ in 0..workers {
            let (send, files, next) = (send.clone(), &files, &next);
            scope.spawn(move || {
                while let Some((n, file)) = numbered(files, next) {
                    // Nobody listens any more: then nobody needs it.
                    let _ = send.send((n, report(file, engines, expectations)));
                }
            });
        }
        drop(send);
        let mut waiting = std::collections::BTreeMap::new();
        let mut told = 0;
        for (n, report) in receive {
            waiting.insert(n, report);
            while let Some(report) = waiting.remove(&told) {
                told += 1;
                tell(&report);
                report.standing.iter().for_each(|s| totals.add(s));
            }
        }
    });
    Ok(totals)
}

fn numbered<'a>(files: &'a [PathBuf], next: &AtomicUsize) -> Option<(usize, &'a Path)> {
    let n = next.fetch_add(1, Ordering::Relaxed);
    Some((n, files.get(n)?))
}

fn report(file: &Path, engines: &[Engine], expectations: &Expectations) -> Report {
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let (name, standing) = match Trace::read(file) {
        Ok(None) => (name.into_owned(), None),
        Ok(Some(trace)) => {
            let standing = standing(&trace, engines, expectations);
            (trace.name, Some(standing))
        }
        Err(error) => {
            let different = Standing::Different(format!("cannot be read: {error:#}"));
            (name.into_owned(), Some(different))
        }
    };
    Report { name, standing }
}

/// One surprise is enough; what comes after the engine with the first one is not asked.
fn standing(trace: &Trace, engines: &[Engine], expectations: &Expectations) -> Standing {
    let mut found = Vec::new();
    for engine in engines {
        let differences = engine.differences(trace);
        let surprised = expectations.is_surprised(trace, &differences);
        found.push((*engine, differences));
        if surprised {
            break;
        }
    }
    expectations.judge(trace, &found)
}

/// The files themselves, and those of folders that may be traces, in order.
pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        let shown = || path.display().to_string();
        if !path.is_dir() {
            ensure!(path.exists(), "{} does not exist", shown());
            files.push(path.clone());
            continue;
        }
        let entries = fs::read_dir(path).with_context(shown)?;
        let mut of_dir: Vec<_> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|file| file.extension().is_some_and(|e| e == "json"))
            .collect();
        of_dir.sort();
        files.extend(of_dir);
    }
    Ok(files)
}
