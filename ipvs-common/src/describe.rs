//! How the shared types that outlive a daemon are laid out, field by field: what another version needs to read them.

use crate::{
    Addr, Conn, Dest, DestState, FlowKey, Hop, Iface, LblcEntry, LblcKey, LblcrEntry, ListSlot,
    MatchKey, MatchNode, MatchPlace, MatchSlot, RingSlot, SchedState, Service, ServiceKey,
    Settings, Stats, Status, Template, TemplateKey,
};

/// A field of a [`Described`] type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    pub name: &'static str,
    pub offset: usize,
    pub size: usize,
    /// Name of its type, if that is described, too.
    pub of: Option<&'static str>,
}

/// A type and its fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Described {
    pub name: &'static str,
    pub size: usize,
    pub fields: &'static [Field],
}

/// Size of the field that a function leads to.
#[must_use]
pub const fn size_of_field<T, F>(_: fn(&T) -> &F) -> usize {
    size_of::<F>()
}

/// Declares `DESCRIBED`: for each type its fields, with the type of those that are described themselves.
#[macro_export]
macro_rules! described {
    ($($t:ident { $($field:ident $(: $of:ident)?),* $(,)? })*) => {
        /// Every type that is found in a map and means something to the next daemon.
        pub const DESCRIBED: &[$crate::describe::Described] = &[$(
            $crate::describe::Described {
                name: stringify!($t),
                size: size_of::<$t>(),
                fields: &[$($crate::describe::Field {
                    name: stringify!($field),
                    offset: ::core::mem::offset_of!($t, $field),
                    size: $crate::describe::size_of_field::<$t, _>(|t| &t.$field),
                    of: $crate::described!(@of $($of)?),
                }),*],
            }
        ),*];

        $(const _: () = {
            // A field that is forgotten here does not compile.
            #[expect(dead_code, reason = "only its pattern is wanted")]
            const fn whole(t: &$t) {
                let $t { $($field: _),* } = t;
            }
        };)*
    };
    (@of) => { None };
    (@of $of:ident) => { Some(stringify!($of)) };
}

/// Names of the types of IPv6's tables.
type FlowKey6 = FlowKey<Addr>;
type Conn6 = Conn<Addr>;
type RingSlot6 = RingSlot<Addr>;
type TemplateKey6 = TemplateKey<Addr>;

described! {
    FlowKey { src, dst, sport, dport, proto, pad, pad_to }
    FlowKey6 { src, dst, sport, dport, proto, pad, pad_to }
    Status { state, flags, method, template_prefix }
    Hop { ifindex, dst_mac, src_mac, mtu, kind, xmit, learned, epoch }
    Conn { expires, dest, mark, status: Status, seq, to_addr, to_port, packets, generation, hop: Hop, told, pad }
    Conn6 { expires, dest, mark, status: Status, seq, to_addr, to_port, packets, generation, hop: Hop, told, pad }
    RingSlot { key: FlowKey, seq, used }
    RingSlot6 { key: FlowKey6, seq, used }
    TemplateKey { client, vip, vport, proto, generation }
    TemplateKey6 { client, vip, vport, proto, generation }
    Iface {
        mac, mode, tx, ifindex, mark, mtu, half_open_mask, half_open6_mask, test_clock, held,
        port, tags_len, tags,
    }
    Template { expires, timeout, dest, children, assured, renamed, told }
    ServiceKey { addr, port, proto, pad, mark }
    Service {
        id, list_base, list_len, persist_timeout, scheduler, flags, persist_prefix, policy, mark, port, pad, table_base,
        table_len, wrr_max, wrr_step,
    }
    Dest {
        addr, tunnel_src, weight, upper, lower, service, position, port, method, flags, policy, tunnel, overhead,
        tunnel_port, pad,
    }
    ListSlot { dest, weight }
    DestState { active, inactive, persistent, overloaded, hop: Hop, path_mtu, path_until, pad }
    SchedState { last, weight }
    LblcKey { addr, service }
    LblcEntry { last_use, dest, pad }
    LblcrEntry { last_use, last_change, count, pad, members }
    Stats { conns, in_packets, out_packets, in_bytes, out_bytes }
    Settings {
        timeouts, hz, flags, epoch, icmp_rate, conn_reuse_mode, drop_rate, lblcr_expiration, unprivileged_port,
        match_set,
    }
    MatchPlace { domain, ifindex, addr }
    MatchKey { prefix, place: MatchPlace }
    MatchNode { shorter, sources, tcp_base, tcp_len, udp_base, udp_len, sctp_base, sctp_len, by_interface }
    MatchSlot { first, order, mark }
}
