//! `cargo xtask test`: all tests, in layers from the cheap to the ones that need a kernel.
//!
//! The layer of an integration test follows from its file's name, so that a new file is never
//! left out: `conformance*`, `flood*` and `verifier*` ask the kernel, `netns*` build networks, and all
//! others run anywhere.

use std::{ffi::OsString, fs, path::Path};

use anyhow::{Context as _, Result, bail};

use crate::{
    packages,
    products::Profile,
    shell::{cargo, is_root, run, say, workspace},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    Host,
    Kernel,
    Netns,
}

/// Runs every layer that is asked for, even after a failure, and fails if any did. `args` go to
/// the test programs.
pub(crate) fn test(host_only: bool, args: &[OsString]) -> Result<()> {
    let layers: &[Layer] = if host_only {
        &[Layer::Host]
    } else {
        &[Layer::Host, Layer::Kernel, Layer::Netns]
    };
    prepare(host_only)?;
    let failed: Vec<_> = layers
        .iter()
        .filter(|layer| !passes(**layer, args))
        .collect();
    if !failed.is_empty() {
        bail!("failed layers of tests: {failed:?}");
    }
    Ok(())
}

/// The host layer does without root, without packages and without a BPF toolchain.
fn prepare(host_only: bool) -> Result<()> {
    let packages = ["ipvs-user", "ipvs-tests"];
    if host_only {
        return run(&mut Profile::Dev.cargo_build(&packages));
    }
    if !is_root() {
        bail!("the kernel and netns layers need root; `cargo xtask test --host-only` does not");
    }
    packages::ensure_for_tests()?;
    Profile::Dev.build(&packages)
}

fn passes(layer: Layer, args: &[OsString]) -> bool {
    say(&format!("tests, layer {layer:?}: {}", layer.about()));
    let results = [layer.own_tests(args), layer.integration_tests(args)];
    let errors: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    for error in &errors {
        say(&format!("{error:#}"));
    }
    errors.is_empty()
}

impl Layer {
    fn about(self) -> &'static str {
        match self {
            Self::Host => "units, properties and golden files, without root",
            Self::Kernel => "the datapath under BPF_PROG_TEST_RUN against the same on the host",
            Self::Netns => "real sockets through the daemon, in network namespaces",
        }
    }

    fn of(file: &str) -> Self {
        if file.starts_with("netns") {
            Self::Netns
        } else if ["conformance", "flood", "verifier"]
            .iter()
            .any(|layer| file.starts_with(layer))
        {
            Self::Kernel
        } else {
            Self::Host
        }
    }

    /// The tests inside the crates themselves.
    fn own_tests(self, args: &[OsString]) -> Result<()> {
        if self != Self::Host {
            return Ok(());
        }
        cargo_test(&["--workspace", "--exclude", "ipvs-tests"], args)?;
        cargo_test(&["--package", "ipvs-tests", "--lib", "--bins"], args)
    }

    fn integration_tests(self, args: &[OsString]) -> Result<()> {
        let files = test_files(&workspace().join("tests/tests"))?;
        let ours: Vec<_> = files.iter().filter(|file| Self::of(file) == self).collect();
        if ours.is_empty() {
            return Ok(());
        }
        let mut selection = vec!["--package", "ipvs-tests"];
        selection.extend(ours.iter().flat_map(|file| ["--test", file.as_str()]));
        cargo_test(&selection, args)
    }
}

fn cargo_test(selection: &[&str], args: &[OsString]) -> Result<()> {
    let mut command = cargo(["test", "--no-fail-fast"]);
    command.args(selection).arg("--").args(args);
    run(Profile::Dev.name_to(&mut command))
}

/// The names of cargo's integration tests: a file each, or a directory with a `main.rs`.
fn test_files(dir: &Path) -> Result<Vec<String>> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let tests = paths.filter(|path| {
        path.extension().is_some_and(|extension| extension == "rs") || path.join("main.rs").exists()
    });
    let mut names: Vec<_> = tests
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layer_follows_from_the_name_of_the_file() {
        assert_eq!(Layer::of("netns_masq"), Layer::Netns);
        assert_eq!(Layer::of("verifier"), Layer::Kernel);
        assert_eq!(Layer::of("conformance_udp"), Layer::Kernel);
        assert_eq!(Layer::of("ipvsadm_golden"), Layer::Host);
    }

    #[test]
    fn shared_modules_beside_the_tests_are_not_tests() {
        let dir = std::env::temp_dir().join(format!("ipvs-xtask-tests-{}", std::process::id()));
        fs::create_dir_all(dir.join("common")).unwrap();
        fs::create_dir_all(dir.join("netns_tunnel")).unwrap();
        fs::write(dir.join("common/mod.rs"), "").unwrap();
        fs::write(dir.join("netns_tunnel/main.rs"), "").unwrap();
        fs::write(dir.join("conformance.rs"), "").unwrap();
        assert_eq!(test_files(&dir).unwrap(), ["conformance", "netns_tunnel"]);
        fs::remove_dir_all(dir).unwrap();
    }
}
