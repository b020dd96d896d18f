//! The functions of their own to the verifier around tunnels.

use core::hint::black_box;

use aya_ebpf::bindings::xdp_md;
use ipvs_common::{Addr, DropReason, Iface};
use ipvs_datapath::{
    egress,
    fwd::wrap::{self as wrapping, Inside},
    pipeline::steps::{self, Step, Went},
};

use crate::{kernel_tables::Maps, maps::inbound, xdp::XdpFrame};

/// [`wrapping::wrap`]; 0, or why not.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn wrap_packet(ctx: *mut xdp_md, dest: u32, first: u64, second: u32) -> u32 {
    let inside = Inside::of_words(first, second);
    match wrapping::wrap(&mut XdpFrame(ctx), &Maps::<[u8; 4]>::of(ctx), dest, inside) {
        Ok(()) => 0,
        Err(DropReason::NoHeadroom) => 1,
        Err(_) => 2,
    }
}

/// The same, called.
#[inline(always)]
pub(crate) fn wrap(ctx: *mut xdp_md, dest: u32, inside: Inside) -> Result<(), DropReason> {
    let (first, second) = inside.words();
    match wrap_packet(ctx, dest, first, second) {
        0 => Ok(()),
        1 => Err(DropReason::NoHeadroom),
        _ => Err(DropReason::Internal),
    }
}

macro_rules! asking {
    ($($name:ident: $of:ty;)*) => {
        $(
            /// [`egress::across`]; always 0.
            #[unsafe(no_mangle)]
            #[inline(never)]
            pub(crate) extern "C" fn $name(ctx: *mut xdp_md, id: u32, of: u32) -> u32 {
                let (tos, proto) = (of as u8, (of >> 8) as u8);
                if let Some(iface) = inbound(ctx) {
                    egress::across(&mut Maps::<$of>::of(ctx), id, tos, proto, iface);
                }
                0
            }
        )*
    };
}

asking! {
    ask_across4: [u8; 4];
    ask_across6: Addr;
}

macro_rules! steps_about_tunnels {
    ($($(#[$doc:meta])* $name:ident: $step:ident;)*) => {
        $(
            $(#[$doc])*
            #[unsafe(no_mangle)]
            #[inline(never)]
            pub(crate) extern "C" fn $name(ctx: *mut xdp_md, found: u32, iface: *const Iface) -> u64 {
                // Boxed because an argument that makes no difference would be left out, by the caller alone.
                let found = black_box(found);
                let (frame, maps) = (&mut XdpFrame(ctx), &mut Maps::<[u8; 4]>::of(ctx));
                // SAFETY: null, or the constants of an interface in a map: the verifier looks at both sides.
                let Some(iface) = (unsafe { iface.as_ref() }) else {
                    return Went::NOWHERE.0;
                };
                steps::take(Step::$step, frame, maps, iface, found).0
            }
        )*
    };
}

steps_about_tunnels! {
    /// [`steps::take`]: an error about a tunnel.
    interpret4: Interpret;
    /// The same of one of IPv6 with a packet of IPv4 inside.
    interpret_across4: InterpretAcross;
    /// The same: what it says is told.
    tell4: Tell;
}
