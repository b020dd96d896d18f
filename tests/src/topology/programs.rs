//! Where the programs under test are: named by `cargo xtask` in the environment, else beside this program.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

/// `name` is the program's, `variable` what cargo xtask calls it.
pub fn find(name: &str, variable: &str) -> Result<PathBuf> {
    let path = match env::var_os(variable) {
        Some(path) => path.into(),
        None => profile_dir()?.join(name),
    };
    let found = path.display();
    ensure!(
        path.exists(),
        "no {name} at {found}: build it with `cargo xtask build`, or name it in {variable}"
    );
    Ok(path)
}

/// cargo's target directory.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let dir = profile_dir()?;
    let parent = dir.parent().map(Path::to_owned);
    parent.context("no directory above cargo's output")
}

/// Where cargo put this program; tests are one level below.
fn profile_dir() -> Result<PathBuf> {
    let this = env::current_exe().context("asking for the path of this program")?;
    let dir = this.parent().context("this program has no directory")?;
    Ok(if dir.ends_with("deps") {
        dir.join("..").canonicalize()?
    } else {
        dir.to_owned()
    })
}
