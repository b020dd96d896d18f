//! The XDP programs: a context in, the datapath's verdict out. No decision is made here.
//!
//! `ipvs` hangs on interfaces and calls the programs of the later stages where they are needed. `ipvs_expire`, `ipvs_sync` and
//! `ipvs_clock` are run by the daemon alone (`BPF_PROG_TEST_RUN`). On any other target than BPF this is an empty program, so that the
//! workspace builds as a whole.
#![cfg_attr(
    target_arch = "bpf",
    no_std,
    no_main,
    feature(core_intrinsics, asm_experimental_arch)
)]
#![cfg_attr(
    target_arch = "bpf",
    expect(internal_features, reason = "the target has no stable atomics"),
    expect(
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        reason = "kernel helpers take and return numbers of another sign than what they mean"
    ),
    expect(
        clippy::needless_pass_by_value,
        reason = "the signature of a program is given"
    )
)]

#[cfg(target_arch = "bpf")]
mod kernel_tables;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod matches;
#[cfg(target_arch = "bpf")]
mod notes;
#[cfg(target_arch = "bpf")]
mod object;
#[cfg(target_arch = "bpf")]
mod routes;
#[cfg(target_arch = "bpf")]
mod six;
#[cfg(target_arch = "bpf")]
mod walks;
#[cfg(target_arch = "bpf")]
mod xdp;

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod programs {
    use core::hint::black_box;

    use aya_ebpf::{
        bindings::xdp_action, helpers::generated::bpf_redirect, macros::xdp, programs::XdpContext,
    };
    use ipvs_common::{Addr, maps::stage};
    use ipvs_datapath::{Action, Frame, Tables, Verdict, expire, pipeline};

    type V4 = Maps<[u8; 4]>;
    type V6 = Maps<Addr>;

    use crate::{
        kernel_tables::Maps,
        maps::{STAGES, iface},
        notes::enter_step,
        six::{enter_step6, expire_step6},
        xdp::{XdpFrame, expire_step},
    };

    /// First stage: established connections. This one hangs on interfaces.
    #[xdp]
    pub(crate) fn ipvs(ctx: XdpContext) -> u32 {
        let verdict = pipeline::fast(&mut XdpFrame(ctx.ctx), &mut V4::of(ctx.ctx), iface());
        finish::<0>(&ctx, verdict)
    }

    /// Second stage: everything else about known connections.
    #[xdp]
    #[inline(always)]
    pub(crate) fn ipvs_slow(ctx: XdpContext) -> u32 {
        let verdict = pipeline::slow(&mut XdpFrame(ctx.ctx), &mut V4::of(ctx.ctx), iface());
        finish::<0>(&ctx, verdict)
    }

    /// Third stage: new connections.
    #[xdp]
    pub(crate) fn ipvs_open(ctx: XdpContext) -> u32 {
        let verdict = pipeline::open(&mut XdpFrame(ctx.ctx), &mut V4::of(ctx.ctx), iface());
        finish::<0>(&ctx, verdict)
    }

    /// Fourth stage: into the tables.
    #[xdp]
    pub(crate) fn ipvs_enter(ctx: XdpContext) -> u32 {
        let verdict = pipeline::enter(&mut XdpFrame(ctx.ctx), &mut V4::of(ctx.ctx), iface());
        finish::<0>(&ctx, verdict)
    }

    /// Fifth stage: packets of connections just opened.
    #[xdp]
    pub(crate) fn ipvs_born(ctx: XdpContext) -> u32 {
        let verdict = pipeline::born(&mut XdpFrame(ctx.ctx), &mut V4::of(ctx.ctx), iface());
        finish::<0>(&ctx, verdict)
    }

    /// The same five stages of IPv6, called by the first one.
    #[xdp]
    pub(crate) fn ipvs6(ctx: XdpContext) -> u32 {
        let verdict = pipeline::fast(&mut XdpFrame(ctx.ctx), &mut V6::of(ctx.ctx), iface());
        finish::<{ stage::TO_SIX }>(&ctx, verdict)
    }

    #[xdp]
    pub(crate) fn ipvs6_slow(ctx: XdpContext) -> u32 {
        let verdict = pipeline::slow(&mut XdpFrame(ctx.ctx), &mut V6::of(ctx.ctx), iface());
        finish::<{ stage::TO_SIX }>(&ctx, verdict)
    }

    #[xdp]
    pub(crate) fn ipvs6_open(ctx: XdpContext) -> u32 {
        let verdict = pipeline::open(&mut XdpFrame(ctx.ctx), &mut V6::of(ctx.ctx), iface());
        finish::<{ stage::TO_SIX }>(&ctx, verdict)
    }

    #[xdp]
    pub(crate) fn ipvs6_enter(ctx: XdpContext) -> u32 {
        let verdict = pipeline::enter(&mut XdpFrame(ctx.ctx), &mut V6::of(ctx.ctx), iface());
        finish::<{ stage::TO_SIX }>(&ctx, verdict)
    }

    #[xdp]
    pub(crate) fn ipvs6_born(ctx: XdpContext) -> u32 {
        let verdict = pipeline::born(&mut XdpFrame(ctx.ctx), &mut V6::of(ctx.ctx), iface());
        finish::<{ stage::TO_SIX }>(&ctx, verdict)
    }

    /// ICMP errors about connections.
    #[xdp]
    pub(crate) fn ipvs_icmp(ctx: XdpContext) -> u32 {
        let verdict = pipeline::icmp(&mut XdpFrame(ctx.ctx), &mut V4::of(ctx.ctx), iface());
        finish::<0>(&ctx, verdict)
    }

    /// ICMP errors about packets in tunnels.
    #[xdp]
    pub(crate) fn ipvs_tunneled(ctx: XdpContext) -> u32 {
        let verdict = pipeline::tunneled(&mut XdpFrame(ctx.ctx), &mut V4::of(ctx.ctx), iface());
        finish::<0>(&ctx, verdict)
    }

    /// The same two of IPv6.
    #[xdp]
    pub(crate) fn ipvs6_icmp(ctx: XdpContext) -> u32 {
        let verdict = pipeline::icmp(&mut XdpFrame(ctx.ctx), &mut V6::of(ctx.ctx), iface());
        finish::<{ stage::TO_SIX }>(&ctx, verdict)
    }

    #[xdp]
    pub(crate) fn ipvs6_tunneled(ctx: XdpContext) -> u32 {
        let verdict = pipeline::tunneled(&mut XdpFrame(ctx.ctx), &mut V6::of(ctx.ctx), iface());
        finish::<{ stage::TO_SIX }>(&ctx, verdict)
    }

    /// Connections that ICMP errors open. Over IPv6 the third stage does that, too.
    #[xdp]
    pub(crate) fn ipvs_asked(ctx: XdpContext) -> u32 {
        let verdict = pipeline::asked(&mut V4::of(ctx.ctx), iface());
        finish::<0>(&ctx, verdict)
    }

    /// Carries a verdict out, or goes on with the next stage, so many places behind that of IPv4.
    #[inline(always)]
    fn finish<const FAMILY: u32>(ctx: &XdpContext, verdict: Verdict) -> u32 {
        let verdict = match verdict.action() {
            Action::Stage(stage::SLOW) => go_on(ctx, FAMILY + stage::SLOW),
            Action::Stage(stage::ENTER) => go_on(ctx, FAMILY + stage::ENTER),
            Action::Stage(stage::BORN) => go_on(ctx, FAMILY + stage::BORN),
            Action::Stage(stage::ICMP) => go_on(ctx, error_of(FAMILY) + stage::ICMP),
            Action::Stage(stage::TUNNELED) => go_on(ctx, error_of(FAMILY) + stage::TUNNELED),
            Action::Stage(stage::ASKED) if FAMILY == 0 => go_on(ctx, stage::ASKED),
            Action::Stage(stage::SIX) => go_on(ctx, stage::SIX),
            Action::Stage(_) => go_on(ctx, FAMILY + stage::OPEN),
            Action::Pass | Action::Drop | Action::Tx | Action::Handed | Action::Redirect(_) => {
                verdict
            }
        };
        #[cfg(feature = "trace")]
        aya_log_ebpf::info!(ctx, "{} bytes: {}", XdpFrame(ctx.ctx).len(), label(verdict));
        act(verdict)
    }

    const fn error_of(family: u32) -> u32 {
        if family == 0 { 0 } else { stage::ERROR_TO_SIX }
    }

    /// A call comes back only if the stage is missing, or after more stages than the kernel lets follow each other.
    #[inline(always)]
    fn go_on(ctx: &XdpContext, stage: u32) -> Verdict {
        // SAFETY: the context is this program's own.
        unsafe { STAGES.tail_call(ctx, stage) };
        pipeline::astray(&mut V4::of(ctx.ctx))
    }

    #[inline(always)]
    fn act(verdict: Verdict) -> u32 {
        match verdict.action() {
            Action::Pass => xdp_action::XDP_PASS,
            Action::Drop | Action::Handed | Action::Stage(_) => xdp_action::XDP_DROP,
            Action::Tx => xdp_action::XDP_TX,
            // SAFETY: the helper takes two numbers and keeps them for the driver.
            Action::Redirect(ifindex) => (unsafe { bpf_redirect(ifindex, 0) }) as u32,
        }
    }

    #[cfg(feature = "trace")]
    fn label(verdict: Verdict) -> &'static str {
        match verdict.action() {
            Action::Pass => "pass",
            Action::Drop => "drop",
            Action::Tx => "tx",
            Action::Handed => "handed over",
            Action::Redirect(_) => "redirect",
            Action::Stage(_) => "no stage",
        }
    }

    /// Ends connections or templates past their deadline; the frame is an [`expire::Batch`]. Returns how many ended.
    #[xdp]
    pub(crate) fn ipvs_expire(ctx: XdpContext) -> u32 {
        let mut frame = XdpFrame(ctx.ctx);
        let count = expire::count::<_, [u8; 4]>(&mut frame);
        let mut ended = 0;
        for index in 0..expire::Batch::max::<[u8; 4]>() {
            if index >= count {
                break;
            }
            ended += expire_step(ctx.ctx, index as u32);
        }
        ended
    }

    /// Enters what another director told of; the frame is an [`expire::Batch`]. Returns how many were entered or brought up to
    /// date.
    #[xdp]
    pub(crate) fn ipvs_sync(ctx: XdpContext) -> u32 {
        let mut frame = XdpFrame(ctx.ctx);
        let pairs = expire::count::<_, [u8; 4]>(&mut frame) / 2;
        let mut entered = 0;
        for index in 0..expire::Batch::max::<[u8; 4]>() / 2 {
            if index >= pairs {
                break;
            }
            entered += enter_step(ctx.ctx, index as u32);
        }
        entered
    }

    /// The same of IPv6.
    #[xdp]
    pub(crate) fn ipvs6_expire(ctx: XdpContext) -> u32 {
        let mut frame = XdpFrame(ctx.ctx);
        // Boxed, lest the compiler, who knows the most there can be, leave out the comparison that bounds the loop.
        let count = black_box(expire::count::<_, Addr>(&mut frame));
        let kind = expire::kind(&mut frame).unwrap_or(u32::MAX);
        let mut ended = 0;
        for index in 0..expire::Batch::max::<Addr>() {
            if index >= count {
                break;
            }
            ended += expire_step6(ctx.ctx, kind, index as u32);
        }
        ended
    }

    /// The same of IPv6.
    #[xdp]
    pub(crate) fn ipvs6_sync(ctx: XdpContext) -> u32 {
        let mut frame = XdpFrame(ctx.ctx);
        let pairs = black_box(expire::count::<_, Addr>(&mut frame) / 2);
        let kind = expire::kind(&mut frame).unwrap_or(u32::MAX);
        let mut entered = 0;
        for index in 0..expire::Batch::max::<Addr>() / 2 {
            if index >= pairs {
                break;
            }
            entered += enter_step6(ctx.ctx, kind, index as u32);
        }
        entered
    }

    /// Writes the clock, a native-endian `u64` in ticks, to the head of the frame.
    #[xdp]
    pub(crate) fn ipvs_clock(ctx: XdpContext) -> u32 {
        if let Ok(bytes) = XdpFrame(ctx.ctx).at::<[u8; 8]>(0) {
            *bytes = V4::of(ctx.ctx).now().to_ne_bytes();
        }
        xdp_action::XDP_PASS
    }
}
