//! The functions of their own to the verifier once more, for IPv6: a key is too long to travel as numbers, so it stays on its
//! caller's stack.
//!
//! Each works on a copy: kernels before 6.2 look nothing up under a key on another function's stack.

use core::{hint::black_box, ptr};

use aya_ebpf::bindings::{BPF_RB_NO_WAKEUP, xdp_md};
use ipvs_common::{Addr, FlowKey, Iface, Service, SyncNote, Synced, TemplateKey};
use ipvs_datapath::{
    conn::{
        Table, expected, leave, promote,
        synced::{self, Standing},
        template,
    },
    exit::NO_DEST,
    expire,
    ip::v6,
    pipeline::steps::{self, Step, Went},
    sched::lblcr,
};

use crate::{kernel_tables::Maps, maps::SYNC_NOTES, notes::submit, xdp::XdpFrame};

type Key = FlowKey<Addr>;

/// The key that a pointer leads to. Null it never is, but the verifier wants to see that looked at.
#[inline(always)]
fn read<K: Copy>(key: *const K) -> Option<K> {
    // SAFETY: null, or a key on the caller's stack: the verifier looks at both sides.
    unsafe { key.as_ref() }.copied()
}

#[inline(always)]
const fn table(half_open: u32) -> Table {
    if half_open == 0 {
        Table::Established
    } else {
        Table::HalfOpen
    }
}

/// Ends a connection; 1 if it did.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn end_conn6(key: *const Key, half_open: u32) -> u32 {
    read(key).map_or(0, |key| {
        u32::from(leave::end(&mut Maps::only(), table(half_open), &key))
    })
}

/// Ends a half-open connection that a newer one pushes out; 1 if it did.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn evict_conn6(key: *const Key, seq: u32) -> u32 {
    read(key).map_or(0, |key| {
        u32::from(leave::evict(&mut Maps::only(), &key, seq))
    })
}

/// [`expected::meet`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn meet_conn6(key: *const Key) -> u64 {
    read(key).map_or(u64::from(NO_DEST), |key| {
        expected::meet(&mut Maps::only(), &key)
    })
}

/// Moves a connection to the established table; 1 if it did.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn promote_conn6(key: *const Key) -> u32 {
    read(key).map_or(0, |key| {
        u32::from(promote::promote(&mut Maps::only(), &key))
    })
}

macro_rules! slow_steps {
    ($($name:ident: $step:ident;)*) => {
        $(
            /// [`steps::take`] for one of the steps.
            #[unsafe(no_mangle)]
            #[inline(never)]
            extern "C" fn $name(ctx: *mut xdp_md, found: u32, iface: *const Iface) -> u64 {
                // Boxed because an argument that makes no difference would be left out, by the caller alone.
                let found = black_box(found);
                let (frame, maps) = (&mut XdpFrame(ctx), &mut Maps::<Addr>::of(ctx));
                // SAFETY: null, or the constants of an interface in a map: the verifier looks at both sides.
                let Some(iface) = (unsafe { iface.as_ref() }) else {
                    return Went::NOWHERE.0;
                };
                steps::take(Step::$step, frame, maps, iface, found).0
            }
        )*

        #[inline(always)]
        pub(crate) fn step(ctx: *mut xdp_md, step: Step, found: u32, iface: &Iface) -> u64 {
            match step {
                $(Step::$step => $name(ctx, found, iface),)*
            }
        }
    };
}

slow_steps! {
    look6: Look;
    overdue6: Overdue;
    start_over6: StartOver;
    promote6: Promote;
    admit6: Admit;
    advance6: Advance;
    meet6: Meet;
    mark6: Mark;
    own6: Own;
    serve6: Serve;
    join_step6: Join;
    choose6: Choose;
    tie_step6: Tie;
    leave_old6: LeaveOld;
    draft6: Draft;
    room6: Room;
    reply6: Reply;
    insert6: Insert;
    serve_asked6: ServeAsked;
    draft_asked6: DraftAsked;
    know6: Know;
    estrange6: Estrange;
    find_way6: FindWay;
    relay6: Relay;
    interpret6: Interpret;
    interpret_across6: InterpretAcross;
    tell6: Tell;
    recall6: Recall;
    follow6: Follow;
}

/// [`template::join`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn join6(service: *const Service, key: *const Key) -> u64 {
    // SAFETY: null, or a service on the caller's stack: the verifier looks at both sides.
    let Some(service) = (unsafe { service.as_ref() }) else {
        return u64::from(NO_DEST);
    };
    read(key).map_or(u64::from(NO_DEST), |key| {
        template::join(&mut Maps::only(), service, &key).0
    })
}

/// [`lblcr::known`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn lblcr_known6(service: u32, dst: *const Addr) -> u64 {
    read(dst).map_or(u64::from(NO_DEST), |dst| {
        lblcr::known(&mut Maps::only(), service, dst)
    })
}

/// [`lblcr::join`]; always 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn lblcr_join6(service: u32, dst: *const Addr, dest: u32) -> u32 {
    if let Some(dst) = read(dst) {
        lblcr::join(&mut Maps::only(), service, dst, dest);
    }
    0
}

/// 1: the daemon will see the note.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn tell_flow6(key: *const Key) -> u32 {
    let Some(key) = read(key) else { return 0 };
    // Written in its place: two of them are more than the stack has room for.
    let Some(mut record) = SYNC_NOTES.reserve::<SyncNote<Addr>>(0) else {
        return 0;
    };
    let note = record.as_mut_ptr();
    // SAFETY: a record of this size, which is this program's until it is submitted.
    unsafe {
        ptr::write_bytes(note, 0, 1);
        (*note).flow = key;
    }
    record.submit(BPF_RB_NO_WAKEUP.into());
    1
}

/// The same of a template.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn tell_template6(key: *const TemplateKey<Addr>) -> u32 {
    read(key).map_or(0, |key| submit(&SyncNote::template(key)))
}

/// [`v6::behind_extensions`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn behind_extensions(ctx: *mut xdp_md, l3: u32, fragment: u32) -> u64 {
    // Boxed because arguments that make no difference would be left out, by the caller alone. The mask changes nothing: all
    // that is quoted begins before.
    let (l3, fragment) = (black_box(l3) & 0x7ff, black_box(fragment));
    v6::behind_extensions(&mut XdpFrame(ctx), l3 as usize, fragment as u16).0
}

macro_rules! steps {
    ($($step:ident: $of_established:ident, $of_half_open:ident;)*) => {
        $(
            /// Looks at one key of a batch of a kind; 1 if its entry ended, or was entered.
            #[unsafe(no_mangle)]
            #[inline(never)]
            extern "C" fn $step(ctx: *mut xdp_md, index: u32, half_open: u32) -> u32 {
                if index as usize >= expire::Batch::max::<Addr>() {
                    return 0;
                }
                // Boxed because an argument that makes no difference would be left out, by the caller alone.
                let kind = if black_box(half_open) == 0 {
                    expire::Batch::$of_established
                } else {
                    expire::Batch::$of_half_open
                };
                let (frame, maps) = (&mut XdpFrame(ctx), &mut Maps::<Addr>::of(ctx));
                u32::from(expire::step_of(frame, maps, kind, index as usize))
            }
        )*

        /// The same of any kind: each has a function of its own, because none leaves much of the stack to the others.
        #[inline(always)]
        pub(crate) fn expire_step6(ctx: *mut xdp_md, kind: u32, index: u32) -> u32 {
            match kind {
                $(
                    expire::Batch::$of_established => $step(ctx, index, 0),
                    #[allow(unreachable_patterns, reason = "some kinds are of both tables")]
                    expire::Batch::$of_half_open => $step(ctx, index, 1),
                )*
                _ => 0,
            }
        }
    };
}

steps! {
    due6: CONNECTIONS, HALF_OPEN;
    dropped6: DROP_CONNECTIONS, DROP_HALF_OPEN;
    gone6: GONE_CONNECTIONS, GONE_HALF_OPEN;
    template6: TEMPLATES, TEMPLATES;
    template_of_gone6: GONE_TEMPLATES, GONE_TEMPLATES;
    announced6: EXPECT, EXPECT;
}

/// What stands in the place of one pair of a batch ([`synced::standing`]), for its index.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn standing6(ctx: *mut xdp_md, index: u32) -> u32 {
    told(ctx, index).map_or(0, |(key, synced)| {
        synced::standing(&mut Maps::only(), &key, &synced).0
    })
}

/// Makes room for its replies.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn make_room6(ctx: *mut xdp_md, index: u32) -> u32 {
    if let Some((key, synced)) = told(ctx, index) {
        synced::make_room(&mut Maps::only(), &key, &synced);
    }
    0
}

/// Enters its replies, if they pass here; 0: there is no room.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn insert_reply6(ctx: *mut xdp_md, index: u32, seq: u32) -> u32 {
    told(ctx, index).map_or(0, |(key, synced)| {
        u32::from(synced::insert_reply(&mut Maps::only(), &key, &synced, seq))
    })
}

/// Enters it; 1 if it did.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn insert_client6(ctx: *mut xdp_md, index: u32, seq: u32) -> u32 {
    told(ctx, index).map_or(0, |(key, synced)| {
        u32::from(synced::insert_client(&mut Maps::only(), &key, &synced, seq))
    })
}

/// Moves it to the established.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn promote_told6(ctx: *mut xdp_md, index: u32) -> u32 {
    told(ctx, index).map_or(0, |(key, _)| promote_conn6(&raw const key))
}

/// The same of a template, as a whole.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tie6(ctx: *mut xdp_md, index: u32) -> u32 {
    told(ctx, index).map_or(0, |(key, synced)| {
        let key = expire::template_key(&key);
        u32::from(synced::tie(&mut Maps::only(), &key, &synced))
    })
}

#[inline(always)]
fn told(ctx: *mut xdp_md, index: u32) -> Option<(Key, Synced)> {
    if index as usize >= expire::Batch::max::<Addr>() / 2 {
        return None;
    }
    expire::told(&mut XdpFrame(ctx), index as usize)
}

/// [`expire::enter`], whose steps are functions of their own here.
#[inline(always)]
pub(crate) fn enter_step6(ctx: *mut xdp_md, kind: u32, index: u32) -> u32 {
    match kind {
        expire::Batch::SYNC_CONNECTIONS => match Standing(standing6(ctx, index)) {
            Standing::NOWHERE => {
                let seq = synced::number(&mut Maps::<Addr>::only());
                make_room6(ctx, index);
                if insert_reply6(ctx, index, seq) == 0 {
                    return 0;
                }
                insert_client6(ctx, index, seq)
            }
            Standing::HALF_OPEN => {
                promote_told6(ctx, index);
                1
            }
            standing => u32::from(standing == Standing::THERE),
        },
        expire::Batch::SYNC_TEMPLATES => tie6(ctx, index),
        _ => 0,
    }
}
