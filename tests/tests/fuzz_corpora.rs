//! What fuzzing found interesting, without a fuzzer: every input of the committed corpora.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};

#[path = "../fuzz/src/cases.rs"]
mod cases;

fn replay(target: &str, case: fn(&[u8])) -> Result<()> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let entries = fs::read_dir(dir.join(target)).context(target.to_owned())?;
    let mut inputs: Vec<_> = entries.map(|e| Ok(e?.path())).collect::<Result<_>>()?;
    inputs.sort();
    ensure!(inputs.len() >= 10, "only {} inputs", inputs.len());
    for input in inputs {
        // Named by a failure.
        println!("{}", input.display());
        case(&fs::read(input)?);
    }
    Ok(())
}

#[test]
fn commands_are_understood_or_refused() -> Result<()> {
    replay("command", cases::command)
}

#[test]
fn configurations_make_a_director_or_name_their_mistakes() -> Result<()> {
    replay("config", cases::config)
}

#[test]
fn requests_are_read_the_same_again() -> Result<()> {
    replay("api", cases::api)
}
