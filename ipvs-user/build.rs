//! Compiles the datapath for the kernel, and leaves the objects to the library in `OUT_DIR` as
//! `ipvs-xdp.o`, `ipvs-floors.o` and `ipvs-unpack.o`.
//!
//! Without a toolchain for the BPF target the objects are empty, so that everything else can be
//! worked on; the loader refuses such an object. Installing a toolchain is xtask's business.

#[path = "../xtask/src/bpf_object.rs"]
#[expect(dead_code, reason = "some of it is for xtask's checks")]
mod bpf_object;
#[path = "../xtask/src/bpf_toolchain.rs"]
mod bpf_toolchain;

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::SystemTime,
};

use bpf_object::BpfObject;
use bpf_toolchain::{Found, Toolchain};

const PROGRAMS: [&str; 3] = ["ipvs-xdp", "ipvs-floors", "ipvs-unpack"];
/// What the objects are made of.
const SOURCES: [&str; 6] = [
    "Cargo.lock",
    "Cargo.toml",
    "ipvs-common/Cargo.toml",
    "ipvs-common/src",
    "ipvs-ebpf/Cargo.toml",
    "ipvs-ebpf/src",
];
/// Set to 1: leave the datapath alone, where only the rest is of interest.
const SKIP: &str = "IPVS_SKIP_BPF";
/// Set to 1: the talking datapath, with a message for each packet.
const TRACE: &str = "IPVS_BPF_TRACE";
/// How clippy is put into a build.
const WRAPPER: &str = "RUSTC_WORKSPACE_WRAPPER";

fn main() -> ExitCode {
    match provide() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={error}");
            ExitCode::FAILURE
        }
    }
}

fn provide() -> Result<(), String> {
    let object = object()?;
    watch(&object);
    if is_set(SKIP) || is_clippy() {
        return leave_empty(Path::exists);
    }
    let tools = [
        object.target_dir.join("tools"),
        object.workspace.join("target/tools"),
    ];
    if let Some(toolchain) = Found::look(&tools).toolchain() {
        return compile(&object, &toolchain);
    }
    println!(
        "cargo::warning=this machine has no toolchain for the BPF target: ipvsd is built without \
         its datapath and will not start. Run `cargo xtask setup`, then build again"
    );
    watch_for_setup(&tools[0]).map_err(|error| format!("{}: {error}", tools[0].display()))?;
    leave_empty(|_| false)
}

fn object() -> Result<BpfObject, String> {
    let workspace = PathBuf::from(var("CARGO_MANIFEST_DIR")?).join("..");
    let workspace = workspace
        .canonicalize()
        .map_err(|error| format!("the workspace: {error}"))?;
    Ok(BpfObject {
        target_dir: target_dir(Path::new(&var("OUT_DIR")?), &var("TARGET")?)
            .unwrap_or_else(|| workspace.join("target")),
        workspace,
        arch: var("CARGO_CFG_TARGET_ARCH")?,
        trace: is_set(TRACE),
    })
}

/// The target directory of `target/[<triple>/]<profile>/build/…`, which cargo does not tell.
fn target_dir(out_dir: &Path, triple: &str) -> Option<PathBuf> {
    let build = out_dir.ancestors().find(|dir| dir.ends_with("build"))?;
    let dir = build.parent()?.parent()?;
    Some(
        if dir.ends_with(triple) {
            dir.parent()?
        } else {
            dir
        }
        .to_owned(),
    )
}

fn compile(object: &BpfObject, toolchain: &Toolchain) -> Result<(), String> {
    println!(
        "cargo::rerun-if-changed={}",
        toolchain.compiler.rustc().display()
    );
    println!(
        "cargo::rerun-if-changed={}",
        toolchain.linker.path.display()
    );
    succeed(&mut object.build(toolchain), toolchain)?;
    PROGRAMS.iter().try_for_each(|name| {
        let path = object.path(name);
        let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        leave(name, &bytes)
    })
}

/// What cargo says goes to stderr, which the cargo around us shows when we fail.
fn succeed(command: &mut Command, toolchain: &Toolchain) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("starting {command:?}: {error}"))?;
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        return Err(format!(
            "the datapath does not compile for BPF with {toolchain}; see below"
        ));
    }
    Ok(())
}

fn leave_empty(unless: impl Fn(&Path) -> bool) -> Result<(), String> {
    PROGRAMS.iter().try_for_each(|name| {
        if unless(&out_file(name)?) {
            Ok(())
        } else {
            leave(name, &[])
        }
    })
}

/// Writes what has changed only: the library is compiled anew when these files are.
fn leave(name: &str, bytes: &[u8]) -> Result<(), String> {
    let path = out_file(name)?;
    if fs::read(&path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(&path, bytes).map_err(|error| format!("writing {}: {error}", path.display()))
}

fn out_file(name: &str) -> Result<PathBuf, String> {
    Ok(Path::new(&var("OUT_DIR")?).join(format!("{name}.o")))
}

fn watch(object: &BpfObject) {
    for name in [SKIP, TRACE, WRAPPER] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    for source in SOURCES {
        println!(
            "cargo::rerun-if-changed={}",
            object.workspace.join(source).display()
        );
    }
    let note = note(&object.target_dir.join("tools"));
    if note.exists() {
        println!("cargo::rerun-if-changed={}", note.display());
    }
}

/// Setup writes a note when there is a toolchain. cargo takes a missing file for a changed one and
/// would compile us each time, so there must be something old to watch.
fn watch_for_setup(tools: &Path) -> io::Result<()> {
    let note = note(tools);
    fs::create_dir_all(tools)?;
    if !note.exists() {
        fs::File::create(&note)?.set_modified(SystemTime::UNIX_EPOCH)?;
    }
    println!("cargo::rerun-if-changed={}", note.display());
    Ok(())
}

fn note(tools: &Path) -> PathBuf {
    tools.join("bpf-toolchain")
}

fn is_clippy() -> bool {
    env::var(WRAPPER).is_ok_and(|wrapper| wrapper.contains("clippy"))
}

fn is_set(name: &str) -> bool {
    env::var(name).is_ok_and(|value| value == "1")
}

fn var(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("{name}: {error}"))
}
