//! Makes a step, and takes one back. Taking back is no error where nothing is left to take back.

use std::{fs, io, path::Path};

use anyhow::{Context as _, Result, bail};

use super::{
    facts::Link,
    gather::{SETTINGS, links, links::told},
    kernel::Kernel,
    step::{Attached, Step},
    wanted::Family,
};
use crate::{
    dataplane::unpack::{Loaded, Running},
    net::Gue,
};

/// What became of a step that was to be taken back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Back {
    Done,
    /// Why there was nothing to do.
    Left(String),
}

/// Makes the change. What is only known then is noted in the step.
pub(super) async fn make(kernel: &Kernel, step: &mut Step) -> Result<()> {
    match step {
        Step::Set { path, now, .. } => {
            let file = Path::new(SETTINGS).join(path);
            fs::write(&file, now).with_context(|| file.display().to_string())?;
        }
        Step::Make { device, name } => {
            match kernel.make(*device, name).await {
                Err(e) if e.is(libc::EOPNOTSUPP) => bail!(
                    "the kernel does not load its module {0}; `modprobe {0}`, then once more, or --unpack xdp",
                    device.module()
                ),
                made => made?,
            };
        }
        Step::Up { name } => kernel.set_up(index(kernel, name).await?, true).await?,
        Step::Port { port, family } => {
            let gue = Gue::connect().await?;
            let gue = gue.context("the kernel's module fou does not load")?;
            gue.add(*family == Family::V6, *port).await?;
        }
        Step::Attach {
            index,
            told: words,
            attached,
            ..
        } => {
            let program = Loaded::new(&told(words))?;
            let id = program.id()?;
            let generic = kernel.attach(*index, &program).await?;
            *attached = Some(Attached {
                program: id,
                generic,
            });
        }
        Step::Tell { index, now, .. } => {
            let Some(mut running) = running(kernel, *index).await? else {
                bail!("the program has gone meanwhile");
            };
            running.tell(&told(now))?;
        }
        Step::Address { device, address } => {
            let index = index(kernel, device).await?;
            kernel.add_address(index, *address).await?;
        }
    }
    Ok(())
}

pub(super) async fn take_back(kernel: &Kernel, step: &Step) -> Result<Back> {
    match step {
        Step::Set { path, before, now } => restore(path, before, now),
        Step::Make { device, name } => {
            let links = links::read(kernel).await?;
            let is_it = |l: &Link| l.name == *name && l.kind == device.kind();
            let Some(link) = links.into_iter().find(is_it) else {
                return Ok(gone());
            };
            kernel.remove(link.index).await?;
            Ok(Back::Done)
        }
        Step::Up { name } => match kernel.index(name).await? {
            Some(index) => kernel
                .set_up(index, false)
                .await
                .map(|()| Back::Done)
                .map_err(Into::into),
            None => Ok(gone()),
        },
        Step::Port { port, family } => {
            let Some(gue) = Gue::connect().await? else {
                return Ok(gone());
            };
            gue.remove(*family == Family::V6, *port).await?;
            Ok(Back::Done)
        }
        Step::Attach {
            index, attached, ..
        } => detach(kernel, *index, *attached).await,
        Step::Tell { index, before, .. } => match running(kernel, *index).await? {
            Some(mut running) => {
                running.tell(&told(before))?;
                Ok(Back::Done)
            }
            None => Ok(gone()),
        },
        Step::Address { device, address } => match kernel.index(device).await? {
            Some(index) => {
                kernel.remove_address(index, *address).await?;
                Ok(Back::Done)
            }
            None => Ok(gone()),
        },
    }
}

fn gone() -> Back {
    Back::Left("it is gone".to_owned())
}

/// Unless somebody else set it meanwhile.
fn restore(path: &str, before: &str, now: &str) -> Result<Back> {
    let file = Path::new(SETTINGS).join(path);
    let failed = || file.display().to_string();
    let found = match fs::read_to_string(&file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(gone()),
        found => found.with_context(failed)?,
    };
    let found = found.trim();
    if found == before {
        return Ok(Back::Done);
    }
    if found != now {
        return Ok(Back::Left(format!("it was set to {found} meanwhile")));
    }
    fs::write(&file, before).with_context(failed)?;
    Ok(Back::Done)
}

async fn detach(kernel: &Kernel, index: u32, attached: Option<Attached>) -> Result<Back> {
    let links = links::read(kernel).await?;
    let link = links.into_iter().find(|l| l.index == index);
    let Some(program) = link.and_then(|l| l.unpacks.and(l.program)) else {
        return Ok(gone());
    };
    match attached {
        Some(a) if a.program == program => {
            kernel.detach(index, a.generic).await?;
            Ok(Back::Done)
        }
        Some(_) => Ok(Back::Left("another one is there".to_owned())),
        // The command ended between attaching and writing that down; ours is there, in one mode or the other.
        None => {
            if kernel.detach(index, false).await.is_err() {
                kernel.detach(index, true).await?;
            }
            Ok(Back::Done)
        }
    }
}

async fn running(kernel: &Kernel, index: u32) -> Result<Option<Running>> {
    let links = links::read(kernel).await?;
    let link = links.into_iter().find(|l| l.index == index);
    match link.and_then(|l| l.program) {
        Some(program) => Ok(Running::find(program)?),
        None => Ok(None),
    }
}

async fn index(kernel: &Kernel, name: &str) -> Result<u32> {
    let index = kernel.index(name).await?;
    index.with_context(|| format!("interface {name} has gone meanwhile"))
}
