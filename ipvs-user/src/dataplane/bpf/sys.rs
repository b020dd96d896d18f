//! Questions to the kernel about its BPF objects that aya does not ask.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use bytemuck::{Pod, Zeroable};

const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_LINK_DETACH: libc::c_long = 34;

/// The head of `struct bpf_link_info` for a link of an XDP program.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct LinkInfo {
    kind: u32,
    id: u32,
    prog_id: u32,
    pad: u32,
    /// 0: the interface is gone.
    ifindex: u32,
    pad2: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct InfoRequest {
    fd: u32,
    length: u32,
    info: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct PathRequest {
    path: u64,
    fd: u32,
    flags: u32,
}

/// The interface that the pinned link of an XDP program is on; `None`: it is gone.
pub(super) fn link_interface(pin: &Path) -> io::Result<Option<u32>> {
    let info = link_info(pin)?;
    Ok((info.ifindex != 0).then_some(info.ifindex))
}

/// The kernel's number of a pinned link.
pub(super) fn link_id(pin: &Path) -> io::Result<u32> {
    Ok(link_info(pin)?.id)
}

/// Takes what a pinned link holds off, whoever else has it open. The link stays, and holds nothing.
pub(super) fn detach_link(pin: &Path) -> io::Result<()> {
    let link = open_pin(pin)?;
    let mut request = link.as_raw_fd().to_ne_bytes();
    // SAFETY: the request is a descriptor, and the kernel writes nowhere.
    unsafe { call(BPF_LINK_DETACH, &mut request) }.map(drop)
}

fn link_info(pin: &Path) -> io::Result<LinkInfo> {
    let link = open_pin(pin)?;
    let mut info = LinkInfo::zeroed();
    ask(link.as_fd(), bytemuck::bytes_of_mut(&mut info))?;
    Ok(info)
}

/// The head of `struct bpf_map_info`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(super) struct MapInfo {
    kind: u32,
    pub(super) id: u32,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
    flags: u32,
}

pub(super) fn map_info(map: BorrowedFd<'_>) -> io::Result<MapInfo> {
    let mut info = MapInfo::zeroed();
    ask(map, bytemuck::bytes_of_mut(&mut info))?;
    Ok(info)
}

/// Opens what is pinned there, whatever it is.
pub(super) fn open_pin(pin: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let mut request = PathRequest {
        path: path.as_ptr() as u64,
        ..PathRequest::zeroed()
    };
    // SAFETY: the path ends with a zero and outlives the call; the kernel only reads it.
    let fd = unsafe { call(BPF_OBJ_GET, bytemuck::bytes_of_mut(&mut request)) }?;
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn ask(object: BorrowedFd<'_>, info: &mut [u8]) -> io::Result<()> {
    let mut request = InfoRequest {
        fd: object.as_raw_fd().cast_unsigned(),
        length: info.len() as u32,
        info: info.as_mut_ptr() as u64,
    };
    // SAFETY: the kernel writes at most as many bytes as the request says, which are those of `info`.
    unsafe { call(BPF_OBJ_GET_INFO_BY_FD, bytemuck::bytes_of_mut(&mut request)) }.map(drop)
}

/// # Safety
/// The buffers that the request names must be as long as it, or the map that it names, says; and any bytes may be put there.
pub(super) unsafe fn call(command: libc::c_long, request: &mut [u8]) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads and writes the request, which is as long as stated; for the rest the caller answers.
    let done =
        unsafe { libc::syscall(libc::SYS_bpf, command, request.as_mut_ptr(), request.len()) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(done)
}
