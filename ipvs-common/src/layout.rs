//! Sizes that both sides rely on, checked when either is compiled, and the permission for user space to move the
//! types through `bpf(2)`.

use crate::{
    Addr, Conn, Dest, DestState, Egress, FlowKey, Fragment, FragmentKey, Hop, Iface, LblcEntry,
    LblcKey, LblcrEntry, ListSlot, MatchKey, MatchNode, MatchPlace, MatchSlot, PuntHeader,
    SchedState, Service, ServiceKey, Settings, Stats, SyncNote, Synced, Template, TemplateKey,
    VlanKey,
    bench::{FloorCount, FloorFlow, FloorReal, Source, Walk},
    conn::RingSlot,
    hdr::{Eth, Icmp, Ipv4, Ipv6, Ports, Tcp, Udp},
    punt::{PUNT_FRAME, PUNT_RECORD},
    unpack::Tunnel,
};

macro_rules! sizes {
    ($($t:ty = $n:expr),* $(,)?) => { $(const _: () = assert!(size_of::<$t>() == $n);)* };
}

sizes! {
    FlowKey = 16, Conn = 64, Hop = 28, RingSlot = 24, TemplateKey = 12, Template = 32,
    FlowKey<Addr> = 40, Conn<Addr> = 80, RingSlot<Addr> = 48, TemplateKey<Addr> = 36,
    ServiceKey = 24, Service = 44, Dest = 64, DestState = 64, ListSlot = 8, SchedState = 8, LblcKey = 20, LblcEntry = 16,
    LblcrEntry = 280, FragmentKey = 16, FragmentKey<Addr> = 40, Fragment = 24,
    SyncNote = 32, SyncNote<Addr> = 80, Synced = 16,
    Stats = 40, Iface = 52, Egress = 24, VlanKey = 12, MatchPlace = 24, MatchKey = 28, MatchNode = 36, MatchSlot = 8, Settings = 164, PuntHeader = 44,
    Eth = 14, Ipv4 = 20, Ipv6 = 40, Tcp = 20, Udp = 8, Icmp = 8, Ports = 4,
    Walk = 120, FloorFlow = 8, FloorReal = 16, FloorCount = 16, Source = 88,
    Tunnel = 4,
}

const _: () = assert!(PUNT_FRAME + size_of::<PuntHeader>() == PUNT_RECORD);

#[cfg(feature = "user")]
mod user {
    macro_rules! aya_pod {
        ($($t:ty),* $(,)?) => { $(
            // SAFETY: `$t` is `bytemuck::Pod`: `repr(C)`, without padding, any bytes are a value.
            unsafe impl aya::Pod for $t {}
        )* };
    }
    use crate::Address;

    // SAFETY: `bytemuck::Pod`, as below.
    unsafe impl<A: Address> aya::Pod for super::FlowKey<A> {}
    // SAFETY: as above.
    unsafe impl<A: Address> aya::Pod for super::Conn<A> {}
    // SAFETY: as above.
    unsafe impl<A: Address> aya::Pod for super::RingSlot<A> {}
    // SAFETY: as above.
    unsafe impl<A: Address> aya::Pod for super::TemplateKey<A> {}

    use super::{
        Dest, DestState, Egress, FloorFlow, FloorReal, Iface, LblcEntry, LblcKey, LblcrEntry,
        ListSlot, MatchNode, MatchPlace, MatchSlot, SchedState, Service, ServiceKey, Settings,
        Source, Stats, Template, Tunnel, VlanKey, Walk,
    };
    aya_pod!(
        Template, ServiceKey, Service, Dest, DestState, SchedState, LblcKey, LblcEntry, LblcrEntry,
        ListSlot, MatchPlace, MatchNode, MatchSlot, Stats, Iface, Egress, Settings, Walk,
        FloorFlow, FloorReal, Source, Tunnel, VlanKey,
    );
}
