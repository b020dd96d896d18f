//! `ipvs-demo`: the director at work, on a network made for it.

use std::process::ExitCode;

fn main() -> ExitCode {
    ipvs_tests::demo::play()
}
