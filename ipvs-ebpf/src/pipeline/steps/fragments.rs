//! The steps of a fragment.

use ipvs_common::{Iface, PassReason};

use super::{
    super::{
        fragment::{self, SETTLED, UNKNOWN},
        refuse,
    },
    Step,
};
use crate::{
    exit::{Exit, Verdict},
    frame::Frame,
    tables::Tables,
};

/// [`super::fragment`].
#[inline(always)]
pub fn fragment_slowly<F: Frame, T: Tables>(f: &mut F, t: &mut T, iface: &Iface) -> Verdict {
    match fragment_steps(f, t, iface) {
        Ok(verdict) => verdict,
        Err(exit) => refuse(t, exit),
    }
}

#[inline(always)]
fn fragment_steps<F: Frame, T: Tables>(
    f: &mut F,
    t: &mut T,
    iface: &Iface,
) -> Result<Verdict, Exit> {
    let dest = t.step(Step::Recall, f, iface, 0).how()?;
    if dest != UNKNOWN {
        if t.step(Step::Follow, f, iface, dest).how()? != UNKNOWN {
            return Ok(Verdict::BORN);
        }
        if dest == SETTLED {
            return Err(PassReason::Fragment.into());
        }
        t.step(Step::Own, f, iface, 0).how()?;
    }
    fragment::early(f, t, iface)
}
