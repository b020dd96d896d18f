//! `cargo xtask tidy`: the rules of this workspace that no compiler or linter knows.
//!
//! Reads sources as text, so it needs nothing built; a finding says what is wrong and where.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};

use crate::shell::{say, workspace};

const LONGEST_FILE: usize = 400;
/// Who may speak to aya, besides the BPF programs themselves.
const AYA_USERS: [&str; 3] = [
    "ipvs-user/src/dataplane",
    "ipvs-common/src/layout.rs",
    "tests/",
];
const DATAPATH: &str = "ipvs-ebpf/src/";
const RELAXED: &str = "Relaxed";
const PURE: &str = "#![forbid(unsafe_code)]";

/// One source file, by its path from the workspace's root.
struct Source {
    path: String,
    text: String,
}

/// What is wrong in which line.
type Finding = (usize, &'static str);

pub(crate) fn tidy() -> Result<()> {
    let sources = sources(workspace())?;
    let pure = datapath_modules(&sources);
    let findings: Vec<_> = sources
        .iter()
        .flat_map(|source| source.findings(&pure))
        .collect();
    for finding in &findings {
        say(finding);
    }
    if !findings.is_empty() {
        bail!("tidy: {} findings", findings.len());
    }
    say(&format!(
        "tidy: nothing to say about {} files",
        sources.len()
    ));
    Ok(())
}

impl Source {
    fn findings(&self, pure: &[String]) -> Vec<String> {
        let of_file = [self.head(), self.size(), self.forbids_unsafe()]
            .into_iter()
            .flatten();
        of_file
            .chain(self.code().filter_map(unfinished))
            .chain(self.code().filter_map(relaxed))
            .chain(self.aya(pure))
            .map(|(line, what)| format!("{}:{line}: {what}", self.path))
            .collect()
    }

    fn head(&self) -> Option<Finding> {
        let told = self.text.starts_with("//!");
        (!told).then_some((1, "begin with `//!`: what the file does and must not know"))
    }

    fn size(&self) -> Option<Finding> {
        let lines = self.text.lines().count();
        (lines > LONGEST_FILE).then_some((lines, "split the file: it has more than 400 lines"))
    }

    fn forbids_unsafe(&self) -> Option<Finding> {
        let must = self.path.strip_prefix(DATAPATH) == Some("lib.rs");
        (must && !self.text.contains(PURE)).then_some((1, "the datapath must forbid unsafe code"))
    }

    fn aya<'a>(&'a self, pure: &[String]) -> impl Iterator<Item = Finding> + use<'a> {
        let banned = !self.may_use_aya(pure);
        self.code()
            .filter(move |(_, line)| banned && names_aya(line))
            .map(|(number, _)| {
                (
                    number,
                    "aya is for ipvs-user's dataplane and for the BPF programs alone",
                )
            })
    }

    /// The lines that are not comments, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self
            .text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line));
        numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    fn may_use_aya(&self, pure: &[String]) -> bool {
        match self.path.strip_prefix(DATAPATH) {
            Some(file) => !pure.iter().any(|module| module == first_module(file)),
            None => AYA_USERS.iter().any(|user| self.path.starts_with(user)),
        }
    }
}

/// The modules of the datapath's library; what lies beside them belongs to the BPF programs.
fn datapath_modules(sources: &[Source]) -> Vec<String> {
    let lib = sources
        .iter()
        .find(|source| source.path.strip_prefix(DATAPATH) == Some("lib.rs"));
    let code = lib.into_iter().flat_map(Source::code);
    let declared = code.filter_map(|(_, line)| {
        let line = line.trim_start();
        line.strip_prefix("pub ")
            .unwrap_or(line)
            .strip_prefix("mod ")?
            .strip_suffix(';')
    });
    declared.chain(["lib"]).map(str::to_owned).collect()
}

/// `sched` of both `sched.rs` and `sched/rr.rs`.
fn first_module(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap_or(file)
}

fn unfinished((number, line): (usize, &str)) -> Option<Finding> {
    // Not written out, so that this file passes.
    let macros = ["todo", "unimplemented", "dbg"].map(|name| format!("{name}!("));
    macros
        .iter()
        .any(|call| line.contains(call))
        .then_some((number, "finish this, or leave it out"))
}

/// llvm/llvm-project#210280: for BPF, a relaxed atomic whose result is used returns its operand.
fn relaxed((number, line): (usize, &str)) -> Option<Finding> {
    let line = line.trim();
    let statement = line.starts_with("unsafe {") && line.ends_with(';');
    let wrong = line.contains("atomic_") && line.contains(RELAXED) && !statement;
    wrong.then_some((
        number,
        "LLVM miscompiles the result of a relaxed atomic: order or drop it",
    ))
}

/// Whether the line has a path into `aya` or one of its sister crates.
fn names_aya(line: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices("aya").any(|(at, _)| {
        let starts = !line[..at].ends_with(is_part);
        let end = line[at..]
            .find(|c| !is_part(c))
            .map_or("", |length| &line[at + length..]);
        starts && end.starts_with("::")
    })
}

fn sources(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(Source::read(root, &path)?);
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

impl Source {
    fn read(root: &Path, path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let path = path
            .strip_prefix(root)
            .unwrap_or(path)
            .display()
            .to_string();
        Ok(Self { path, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        let source = Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        source.findings(&["lib".to_owned(), "sched".to_owned()])
    }

    #[test]
    fn file_must_say_what_it_does() {
        assert_eq!(findings("a.rs", "//! Does.\nfn main() {}\n"), [""; 0]);
        assert_eq!(findings("a.rs", "fn main() {}\n").len(), 1);
    }

    #[test]
    fn long_file_is_found() {
        let text = format!("//! Long.\n{}", "\n".repeat(LONGEST_FILE));
        assert!(findings("a.rs", &text)[0].starts_with("a.rs:401: split"));
    }

    #[test]
    fn aya_is_found_outside_of_its_places_only() {
        let text = concat!("//! Of aya", "::Ebpf.\nuse aya", "::maps::Map;\n");
        assert_eq!(findings("ipvs-user/src/dataplane/bpf.rs", text), [""; 0]);
        assert_eq!(findings("ipvs-ebpf/src/shell/maps.rs", text), [""; 0]);
        assert!(findings("ipvs-user/src/daemon.rs", text)[0].contains(":2: aya"));
        assert_eq!(findings("ipvs-ebpf/src/sched/rr.rs", text).len(), 1);
        assert_eq!(
            findings("a.rs", "//! A.\nuse playa::x;\nlet papaya: Maya;\n"),
            [""; 0]
        );
    }

    #[test]
    fn datapath_library_without_the_ban_on_unsafe_is_found() {
        assert_eq!(findings("ipvs-ebpf/src/lib.rs", "//! Pure.\n").len(), 1);
        assert_eq!(
            findings("ipvs-ebpf/src/lib.rs", &format!("//! Pure.\n{PURE}\n")),
            [""; 0]
        );
    }

    #[test]
    fn unfinished_code_is_found_and_comments_are_not() {
        let call = concat!("todo", "!()");
        assert_eq!(findings("a.rs", &format!("//! A.\n    {call};\n")).len(), 1);
        assert_eq!(
            findings("a.rs", &format!("//! A.\n    // {call}\n")),
            [""; 0]
        );
    }

    #[test]
    fn relaxed_atomic_may_only_be_a_statement() {
        let call = concat!("unsafe { atomic", "_xadd::<u32, u32, { Relaxed }>(a, 1) }");
        assert_eq!(findings("a.rs", &format!("//! A.\n    {call};\n")), [""; 0]);
        assert_eq!(findings("a.rs", &format!("//! A.\n    {call}\n")).len(), 1);
        assert_eq!(
            findings("a.rs", &format!("//! A.\nlet old = {call};\n")).len(),
            1
        );
    }

    #[test]
    fn modules_of_the_library_are_read_from_its_root() {
        let text = "//! Pure.\npub mod sched;\nmod conn;\n// mod gone;\n".to_owned();
        let lib = Source {
            path: "ipvs-ebpf/src/lib.rs".to_owned(),
            text,
        };
        assert_eq!(datapath_modules(&[lib]), ["sched", "conn", "lib"]);
    }
}
