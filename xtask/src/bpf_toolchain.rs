//! Finds the compiler and the linker that can build the datapath for the BPF target.
//!
//! The target comes without a `core`, so the compiler must have the library source of exactly its
//! own release beside it, and the linker's LLVM must read what the compiler's LLVM wrote. Every
//! version follows from the compiler that is found; none is written down here.
//!
//! ipvs-user's build script includes this file too, so it knows std only. It looks and never
//! installs: that is the business of `setup`.

use std::{
    env,
    ffi::OsStr,
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What the workspace's manifest asks of the compiler.
const OLDEST: &str = env!("CARGO_PKG_RUST_VERSION");

/// A compiler, and what keeps it from building `core` for the BPF target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compiler {
    /// The directory that has its `rustc` and `cargo`.
    pub(crate) bin: PathBuf,
    pub(crate) release: String,
    pub(crate) llvm: u32,
    pub(crate) flaw: Option<String>,
}

/// A `bpf-linker`, and the major version of its LLVM when it runs at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Linker {
    pub(crate) path: PathBuf,
    pub(crate) llvm: Option<u32>,
}

/// All that this machine has to offer, the preferred first.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) compilers: Vec<Compiler>,
    pub(crate) linkers: Vec<Linker>,
}

/// A compiler and a linker that fit each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Toolchain {
    pub(crate) compiler: Compiler,
    pub(crate) linker: Linker,
}

impl Found {
    /// Asks every compiler and linker in the usual places. `tools` are install roots to look in
    /// before the user's own path.
    pub(crate) fn look(tools: &[PathBuf]) -> Self {
        Self {
            compilers: first_of_each(compiler_dirs())
                .iter()
                .filter_map(|bin| Compiler::ask(bin))
                .collect(),
            linkers: first_of_each(linker_paths(tools))
                .into_iter()
                .map(Linker::ask)
                .collect(),
        }
    }

    /// The first compiler without a flaw for which there is a linker.
    pub(crate) fn toolchain(&self) -> Option<Toolchain> {
        self.sound_compilers().find_map(|compiler| {
            let linker = self.linkers.iter().find(|linker| linker.reads(compiler))?;
            Some(Toolchain {
                compiler: compiler.clone(),
                linker: linker.clone(),
            })
        })
    }

    pub(crate) fn sound_compilers(&self) -> impl Iterator<Item = &Compiler> {
        self.compilers
            .iter()
            .filter(|compiler| compiler.flaw.is_none())
    }
}

impl Compiler {
    pub(crate) fn rustc(&self) -> PathBuf {
        self.bin.join("rustc")
    }

    pub(crate) fn cargo(&self) -> PathBuf {
        self.bin.join("cargo")
    }

    fn ask(bin: &Path) -> Option<Self> {
        let rustc = bin.join("rustc");
        let about = answer(&rustc, &["--version", "--verbose"])?;
        let release = field(&about, "release: ")?.to_owned();
        let llvm = major(field(&about, "LLVM version: ")?)?;
        let sysroot = PathBuf::from(answer(&rustc, &["--print", "sysroot"])?.trim());
        let flaw = flaw(&release, &sysroot.join("lib/rustlib/src/rust"));
        Some(Self {
            bin: bin.to_owned(),
            release,
            llvm,
            flaw,
        })
    }
}

impl Linker {
    fn ask(path: PathBuf) -> Self {
        // The linker's own `--version` keeps its LLVM to itself; LLVM's tells.
        let args = [
            "--llvm-args=--version",
            "--output",
            "/dev/null",
            "/dev/null",
        ];
        let llvm = answer(&path, &args).and_then(|about| major(field(&about, "LLVM version ")?));
        Self { path, llvm }
    }

    fn reads(&self, compiler: &Compiler) -> bool {
        self.llvm.is_some_and(|llvm| llvm >= compiler.llvm)
    }
}

/// Why a compiler of `release` with this source tree cannot build the crates, if it cannot.
fn flaw(release: &str, source: &Path) -> Option<String> {
    if number(release) < number(OLDEST) {
        return Some(format!("is older than {OLDEST}"));
    }
    if !source.join("library/core/src/lib.rs").is_file() {
        return Some(format!("has no library source in {}", source.display()));
    }
    // A distribution may upgrade the compiler and leave the source behind; rustup never does, and
    // its source tree does not say its version.
    let of = fs::read_to_string(source.join("src/version")).ok()?;
    (number(&of) != number(release)).then(|| format!("has library source of {}", of.trim()))
}

/// rustup's own toolchains first (nightly before the rest: that is what the BPF world expects),
/// then whatever runs this, then the system's.
fn compiler_dirs() -> Vec<PathBuf> {
    let mut dirs = rustup_dirs();
    dirs.sort_by_key(|dir| !dir.to_string_lossy().contains("nightly"));
    if let Some(cargo) = env::var_os("CARGO") {
        dirs.extend(Path::new(&cargo).parent().map(Path::to_owned));
    }
    dirs.extend(["/usr/bin", "/usr/local/bin"].map(PathBuf::from));
    dirs.retain(|dir| dir.join("rustc").is_file() && dir.join("cargo").is_file());
    dirs
}

fn rustup_dirs() -> Vec<PathBuf> {
    let home = env::var_os("RUSTUP_HOME").map(PathBuf::from);
    let Some(home) = home.or_else(|| Some(env::home_dir()?.join(".rustup"))) else {
        return Vec::new();
    };
    let Ok(entries) = fs::read_dir(home.join("toolchains")) else {
        return Vec::new();
    };
    let mut dirs: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    dirs.sort();
    dirs
}

fn linker_paths(tools: &[PathBuf]) -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<_> = tools.iter().map(|root| root.join("bin")).collect();
    dirs.extend(env::split_paths(&path));
    dirs.extend(env::home_dir().map(|home| home.join(".cargo/bin")));
    dirs.into_iter()
        .map(|dir| dir.join("bpf-linker"))
        .filter(|path| path.is_file())
        .collect()
}

/// One of each, though there may be several ways to it (`/bin` and `/usr/bin`).
fn first_of_each(paths: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut seen = Vec::new();
    paths
        .into_iter()
        .filter(|path| {
            let real = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            let new = !seen.contains(&real);
            seen.push(real);
            new
        })
        .collect()
}

fn answer<A: AsRef<OsStr>>(program: &Path, args: &[A]) -> Option<String> {
    // cargo and rustup point the loader at their own toolchain's libraries.
    let output = Command::new(program)
        .args(args)
        .env_remove("LD_LIBRARY_PATH")
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then_some(text)
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| Some(line.split_once(name)?.1.trim()))
}

fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

/// `1.97.0-nightly` as numbers, and 0 for what is not there.
fn number(version: &str) -> [u32; 3] {
    let plain = version.trim().split('-').next().unwrap_or_default();
    let mut parts = plain.split('.').map(|part| part.parse().unwrap_or(0));
    [(); 3].map(|()| parts.next().unwrap_or(0))
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} (LLVM {})",
            self.rustc().display(),
            self.release,
            self.llvm
        )
    }
}

impl fmt::Display for Linker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.llvm {
            Some(llvm) => write!(f, "{} (LLVM {llvm})", self.path.display()),
            None => write!(f, "{} (does not run)", self.path.display()),
        }
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {}", self.compiler, self.linker)
    }
}

/// What there is and what it lacks, a line each.
impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for compiler in &self.compilers {
            let flaw = compiler.flaw.as_deref().unwrap_or("can build core");
            writeln!(f, "  {compiler}: {flaw}")?;
        }
        for linker in &self.linkers {
            writeln!(f, "  {linker}")?;
        }
        if self.linkers.is_empty() {
            writeln!(f, "  no bpf-linker")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiler(bin: &str, llvm: u32, flaw: Option<&str>) -> Compiler {
        Compiler {
            bin: bin.into(),
            release: "1.96.0".to_owned(),
            llvm,
            flaw: flaw.map(str::to_owned),
        }
    }

    fn linker(path: &str, llvm: Option<u32>) -> Linker {
        Linker {
            path: path.into(),
            llvm,
        }
    }

    #[test]
    fn complete_compiler_wins_over_preferred_one_without_source() {
        let found = Found {
            compilers: vec![
                compiler("/nightly", 22, Some("has no library source")),
                compiler("/usr/bin", 22, None),
            ],
            linkers: vec![linker("/l", Some(22))],
        };
        assert_eq!(
            found.toolchain().unwrap().compiler.bin,
            Path::new("/usr/bin")
        );
    }

    #[test]
    fn linker_with_older_llvm_is_passed_over() {
        let found = Found {
            compilers: vec![compiler("/usr/bin", 22, None)],
            linkers: vec![
                linker("/broken", None),
                linker("/old", Some(21)),
                linker("/new", Some(23)),
            ],
        };
        assert_eq!(found.toolchain().unwrap().linker.path, Path::new("/new"));
    }

    #[test]
    fn compiler_too_new_for_the_linker_gives_way_to_one_that_fits() {
        let found = Found {
            compilers: vec![
                compiler("/nightly", 23, None),
                compiler("/usr/bin", 22, None),
            ],
            linkers: vec![linker("/l", Some(22))],
        };
        assert_eq!(
            found.toolchain().unwrap().compiler.bin,
            Path::new("/usr/bin")
        );
    }

    #[test]
    fn nothing_complete_is_no_toolchain() {
        let only_compiler = Found {
            compilers: vec![compiler("/usr/bin", 22, None)],
            linkers: vec![],
        };
        assert_eq!(only_compiler.toolchain(), None);
        assert_eq!(Found::default().toolchain(), None);
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(number("1.100.0") > number("1.96.0"));
        assert_eq!(number("1.97.0-nightly\n"), [1, 97, 0]);
        assert_eq!(number("1.95"), [1, 95, 0]);
    }

    #[test]
    fn compiler_is_flawed_when_old_or_without_its_own_source() {
        let tree = env::temp_dir().join(format!("ipvs-xtask-source-{}", std::process::id()));
        assert!(flaw("1.63.0", &tree).unwrap().contains("older"));
        assert!(flaw("1.96.0", &tree).unwrap().contains("no library source"));
        fs::create_dir_all(tree.join("library/core/src")).unwrap();
        fs::create_dir_all(tree.join("src")).unwrap();
        fs::write(tree.join("library/core/src/lib.rs"), "").unwrap();
        assert_eq!(flaw("1.96.0", &tree), None);
        fs::write(tree.join("src/version"), "1.95.0\n").unwrap();
        assert!(flaw("1.96.0", &tree).unwrap().contains("source of 1.95.0"));
        assert_eq!(flaw("1.95.0", &tree), None);
        fs::remove_dir_all(tree).unwrap();
    }

    #[test]
    fn llvm_version_is_read_from_both_kinds_of_answer() {
        let rustc = "rustc 1.96.0\nrelease: 1.96.0\nLLVM version: 22.1\n";
        assert_eq!(major(field(rustc, "LLVM version: ").unwrap()), Some(22));
        let linker = "Debian LLVM version 22.1.8\n  Optimized build.\n";
        assert_eq!(major(field(linker, "LLVM version ").unwrap()), Some(22));
    }
}
