//! Tags of VLANs: between the link-layer addresses and the type of what a frame carries.

use ipvs_common::{DropReason, Tags, VlanKey};

use crate::frame::Frame;

/// Both addresses.
const ADDRESSES: usize = 12;
/// Bytes of a tag.
pub const TAG: usize = 4;

/// The tags of a frame, and how many bytes they are: of one that begins with two tags or fewer.
///
/// In two registers.
#[inline(always)]
pub fn read<F: Frame>(f: &mut F) -> Result<(u64, usize), DropReason> {
    let [kind, id, next] = *f.at::<[[u8; 2]; 3]>(ADDRESSES)?;
    let (mut inner, mut len) = ([[0; 2]; 2], TAG);
    if VlanKey::is_tag(next) {
        (inner, len) = (*f.at(ADDRESSES + TAG)?, 2 * TAG);
    }
    let both = [[kind, id], inner];
    Ok((u64::from_ne_bytes(bytemuck::cast(both)), len))
}

/// The type of what is in tags of so many bytes.
#[inline(always)]
pub fn carried<F: Frame>(f: &mut F, len: usize) -> Result<[u8; 2], DropReason> {
    if len == TAG {
        f.at(ADDRESSES + TAG).copied()
    } else {
        f.at(ADDRESSES + 2 * TAG).copied()
    }
}

/// Takes tags of so many bytes off.
#[inline(always)]
pub fn take_off<F: Frame>(f: &mut F, len: usize) -> Result<(), DropReason> {
    let addresses = *f.at::<[u8; ADDRESSES]>(0)?;
    f.shrink_head(len)?;
    *f.at(0)? = addresses;
    Ok(())
}

/// Puts tags of so many bytes on.
#[inline(always)]
pub fn put_on<F: Frame>(f: &mut F, tags: Tags, len: u32) -> Result<(), DropReason> {
    let addresses = *f.at::<[u8; ADDRESSES]>(0)?;
    if len as usize == TAG {
        f.grow_head(TAG)?;
        let [outer, _]: [[u8; TAG]; 2] = bytemuck::cast(tags);
        *f.at(ADDRESSES)? = outer;
    } else {
        f.grow_head(2 * TAG)?;
        *f.at(ADDRESSES)? = tags;
    }
    *f.at(0)? = addresses;
    Ok(())
}
