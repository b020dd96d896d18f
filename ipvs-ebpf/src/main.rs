//! The XDP programs: a context in, the datapath's verdict out. No decision is made here.
//!
//! `ipvs` hangs on interfaces and calls the programs of the later stages where they are needed. `ipvs_expire`, `ipvs_sync`,
//! `ipvs_clock`, `ipvs_held`, `ipvs_pass` and `ipvs_lost` are run by the daemon alone (`BPF_PROG_TEST_RUN`). On any other target than BPF this is an empty program, so that the
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
mod transport;
#[cfg(target_arch = "bpf")]
mod tunnels;
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
    use ipvs_common::{Addr, DropReason, maps::stage};
    use ipvs_datapath::{Action, Frame, Tables, Verdict, expire, pipeline};

    type V4 = Maps<[u8; 4]>;
    type V6 = Maps<Addr>;

    use crate::{
        kernel_tables::Maps,
        maps::{STAGES, iface, inbound, leave_iface, leave_way, way_left},
        notes::enter_step,
        six::{enter_step6, expire_step6},
        xdp::{XdpFrame, expire_step},
    };

    /// First stage: established connections. This one hangs on interfaces.
    #[xdp]
    pub(crate) fn ipvs(ctx: XdpContext) -> u32 {
        let verdict = pipeline::fast(&mut XdpFrame(ctx.ctx), &mut V4::of(ctx.ctx), iface());
        finish_first::<0>(&ctx, verdict)
    }

    /// The same of IPv6, called by that one.
    #[xdp]
    pub(crate) fn ipvs6(ctx: XdpContext) -> u32 {
        let verdict = pipeline::fast(&mut XdpFrame(ctx.ctx), &mut V6::of(ctx.ctx), iface());
        finish_first::<{ stage::TO_SIX }>(&ctx, verdict)
    }

    /// Stages that all interfaces share.
    macro_rules! stages {
        ($($(#[$attribute:meta])* $name:ident: $stage:ident, $tables:ty, $family:expr;)*) => {
            $(
                $(#[$attribute])*
                #[xdp]
                pub(crate) fn $name(ctx: XdpContext) -> u32 {
                    let Some(iface) = inbound(ctx.ctx) else {
                        return act(pipeline::astray(&mut V4::of(ctx.ctx)));
                    };
                    let (frame, tables) = (&mut XdpFrame(ctx.ctx), &mut <$tables>::of(ctx.ctx));
                    let verdict = pipeline::$stage(frame, tables, iface);
                    finish_later::<{ $family }>(&ctx, verdict)
                }
            )*
        };
    }

    stages! {
        /// Second stage: everything else about known connections.
        #[inline(always)]
        ipvs_slow: slow, V4, 0;
        /// Third stage: new connections.
        #[inline(always)]
        ipvs_open: open, V4, 0;
        /// Fourth stage: into the tables.
        ipvs_enter: enter, V4, 0;
        /// Fifth stage: packets of connections just opened.
        ipvs_born: born, V4, 0;
        /// ICMP errors about connections.
        ipvs_icmp: icmp, V4, 0;
        /// ICMP errors about packets in tunnels.
        ipvs_tunneled: tunneled, V4, 0;
        /// Connections that ICMP errors open. Over IPv6 the third stage does that, too.
        ipvs_asked: asked, V4, 0;
        ipvs6_slow: slow, V6, stage::TO_SIX;
        ipvs6_open: open, V6, stage::TO_SIX;
        ipvs6_enter: enter, V6, stage::TO_SIX;
        ipvs6_born: born, V6, stage::TO_SIX;
        ipvs6_icmp: icmp, V6, stage::TO_SIX;
        ipvs6_tunneled: tunneled, V6, stage::TO_SIX;
        /// Packets for tunnels that take more than another header of the same IP.
        ipvs_wrap: wrap, V4, 0;
        ipvs6_wrap: wrap, V6, stage::TO_SIX;
        /// Fragments.
        ipvs_fragment: fragment, V4, 0;
        ipvs6_fragment: fragment, V6, stage::TO_SIX;
        /// The first stage, for what was in tags.
        ipvs_inner: fast, V4, 0;
        ipvs6_inner: fast, V6, stage::TO_SIX;
    }

    /// Frames of VLANs.
    #[xdp]
    pub(crate) fn ipvs_untag(ctx: XdpContext) -> u32 {
        let Some(iface) = inbound(ctx.ctx) else {
            return act(pipeline::astray(&mut V4::of(ctx.ctx)));
        };
        let frame = &mut XdpFrame(ctx.ctx);
        let verdict = pipeline::untag(frame, &mut V4::of(ctx.ctx), iface);
        act(match verdict.action() {
            Action::Stage(stage::INNER) => go_on(&ctx, stage::INNER),
            Action::Stage(stage::INNER6) => go_on(&ctx, stage::INNER6),
            Action::Stage(_) => go_on(&ctx, fragments_of(&ctx)),
            Action::Pass
            | Action::Drop
            | Action::Tx
            | Action::Handed
            | Action::Waits
            | Action::Redirect(_)
            | Action::Tagged(_) => verdict,
        })
    }

    /// Frames that are to have tags.
    #[xdp]
    pub(crate) fn ipvs_tag(ctx: XdpContext) -> u32 {
        let tables = &mut V4::of(ctx.ctx);
        let (Some(iface), Some(way)) = (inbound(ctx.ctx), way_left(ctx.ctx)) else {
            return act(pipeline::astray(tables));
        };
        act(pipeline::tag(&mut XdpFrame(ctx.ctx), tables, iface, *way))
    }

    /// A fragment that the daemon held, once more.
    #[xdp]
    pub(crate) fn ipvs_held(ctx: XdpContext) -> u32 {
        leave_iface(ctx.ctx, 1);
        act(if pipeline::is_tagged(&mut XdpFrame(ctx.ctx)) {
            go_on(&ctx, stage::UNTAG)
        } else {
            go_on(&ctx, fragments_of(&ctx))
        })
    }

    #[inline(always)]
    fn fragments_of(ctx: &XdpContext) -> u32 {
        if pipeline::is_six(&mut XdpFrame(ctx.ctx)) {
            stage::FRAGMENT6
        } else {
            stage::FRAGMENT
        }
    }

    /// Carries the verdict of a first stage out. The ones behind it do not know the interface.
    #[inline(always)]
    fn finish_first<const FAMILY: u32>(ctx: &XdpContext, verdict: Verdict) -> u32 {
        let action = verdict.action();
        if matches!(action, Action::Stage(_) | Action::Tagged(_))
            && action != Action::Stage(stage::SIX)
        {
            leave_iface(ctx.ctx, 0);
        }
        finish::<FAMILY>(ctx, verdict)
    }

    /// The same of a later one: a frame that had tags goes up with them.
    #[inline(always)]
    fn finish_later<const FAMILY: u32>(ctx: &XdpContext, verdict: Verdict) -> u32 {
        // Looked up again, because until here the stack has no room for it.
        if verdict == Verdict::PASS && inbound(ctx.ctx).is_some_and(|i| i.tags_len != 0) {
            return act(tagged(ctx, pipeline::UP));
        }
        finish::<FAMILY>(ctx, verdict)
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
            Action::Stage(stage::WRAP) => go_on(ctx, wrap_of(FAMILY)),
            Action::Stage(stage::SIX) => go_on(ctx, stage::SIX),
            Action::Stage(stage::FRAGMENT) if FAMILY == 0 => go_on(ctx, stage::FRAGMENT),
            Action::Stage(stage::FRAGMENT) => go_on(ctx, stage::FRAGMENT6),
            Action::Stage(stage::UNTAG) if FAMILY == 0 => go_on(ctx, stage::UNTAG),
            Action::Stage(_) => go_on(ctx, FAMILY + stage::OPEN),
            Action::Tagged(to) => tagged(ctx, to),
            Action::Pass
            | Action::Drop
            | Action::Tx
            | Action::Handed
            | Action::Waits
            | Action::Redirect(_) => verdict,
        };
        #[cfg(feature = "trace")]
        aya_log_ebpf::info!(ctx, "{} bytes: {}", XdpFrame(ctx.ctx).len(), label(verdict));
        act(verdict)
    }

    #[inline(always)]
    fn tagged(ctx: &XdpContext, to: u32) -> Verdict {
        leave_way(ctx.ctx, to);
        go_on(ctx, stage::TAG)
    }

    const fn error_of(family: u32) -> u32 {
        if family == 0 { 0 } else { stage::ERROR_TO_SIX }
    }

    const fn wrap_of(family: u32) -> u32 {
        if family == 0 {
            stage::WRAP
        } else {
            stage::WRAP + stage::WRAP_TO_SIX
        }
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
            Action::Waits => xdp_action::XDP_ABORTED,
            Action::Drop | Action::Handed | Action::Stage(_) | Action::Tagged(_) => {
                xdp_action::XDP_DROP
            }
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
            Action::Waits => "waits",
            Action::Redirect(_) => "redirect",
            Action::Stage(_) | Action::Tagged(_) => "no stage",
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

    /// The stack is to have the frame.
    #[xdp]
    pub(crate) fn ipvs_pass(_ctx: XdpContext) -> u32 {
        xdp_action::XDP_PASS
    }

    /// A fragment waited in vain.
    #[xdp]
    pub(crate) fn ipvs_lost(ctx: XdpContext) -> u32 {
        V4::of(ctx.ctx).note(DropReason::FragmentLost.slot());
        xdp_action::XDP_DROP
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
