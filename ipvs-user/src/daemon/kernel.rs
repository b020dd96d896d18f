//! Whether this kernel is new enough for the datapath, so that an old one is told of in a sentence and not by its verifier.

use anyhow::{Result, bail};

use crate::kernel::{release, version};

/// The first kernel with all that the programs call: `bpf_loop` came with 5.17, `bpf_xdp_load_bytes` with 5.18.
const LOWEST: (u32, u32) = (5, 18);

pub(super) fn check() -> Result<()> {
    check_release(&release())
}

fn check_release(release: &str) -> Result<()> {
    // A name that nobody understands is no reason to refuse: the verifier has the last word.
    let Some(version) = version(release).filter(|version| *version < LOWEST) else {
        return Ok(());
    };
    let (major, minor) = LOWEST;
    bail!(
        "Linux {}.{} ({release}) is too old: ipvsd needs {major}.{minor} or later, for bpf_loop and bpf_xdp_load_bytes",
        version.0,
        version.1
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_that_lack_a_helper_are_refused_by_name() {
        let error = check_release("5.10.0-32-amd64").unwrap_err().to_string();
        assert!(
            error.contains("5.10.0-32-amd64") && error.contains("5.18"),
            "{error}"
        );
        assert!(check_release("5.17.15").is_err());
    }

    #[test]
    fn what_the_documents_show_is_what_is_said() {
        let documented = include_str!("../../../docs/KERNELS.md");
        let said = check_release("5.10.0-32-amd64").unwrap_err();
        assert!(documented.contains(&format!("\nipvsd: {said}\n")), "{said}");
    }

    #[test]
    fn newer_and_strange_kernels_are_tried() {
        for release in ["5.18.0", "6.1.0-50-amd64", "10.0", "mine"] {
            check_release(release).unwrap();
        }
    }
}
