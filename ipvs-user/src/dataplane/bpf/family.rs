//! What each family has of its own: its tables, and the programs that work on them.

use aya::{
    Ebpf,
    maps::{Array, HashMap, IterableMap as _, MapData},
};
use ipvs_common::{Addr, Conn, FlowKey, RingSlot, Template, TemplateKey, maps as names};
use ipvs_datapath::Ip;

use super::{
    error::LoadError,
    maps::{Maps, take},
    walk::{Buffers, Read},
};

/// The tables of a family.
pub(super) struct Flows<A: Family> {
    pub(super) templates: HashMap<MapData, TemplateKey<A>, Template>,
    pub(super) conns: HashMap<MapData, FlowKey<A>, Conn<A>>,
    pub(super) half_open: HashMap<MapData, FlowKey<A>, Conn<A>>,
    pub(super) ring: Array<MapData, RingSlot<A>>,
}

impl<A: Family> Flows<A> {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, LoadError> {
        Ok(Self {
            templates: take(ebpf, A::TEMPLATES)?,
            conns: take(ebpf, A::CONNS)?,
            half_open: take(ebpf, A::HALF_OPEN)?,
            ring: take(ebpf, A::RING)?,
        })
    }

    pub(super) fn each(&self) -> [(&'static str, &MapData); 4] {
        [
            (A::TEMPLATES, self.templates.map()),
            (A::CONNS, self.conns.map()),
            (A::HALF_OPEN, self.half_open.map()),
            (A::RING, self.ring.map()),
        ]
    }
}

/// A family, by the width of its addresses.
pub(super) trait Family: Ip {
    const TEMPLATES: &'static str;
    const CONNS: &'static str;
    const HALF_OPEN: &'static str;
    const RING: &'static str;
    /// Place of the ring's next number ([`names::head`]).
    const HEAD: u32;
    /// Names by which its types are described.
    const FLOW_KEY: &'static str;
    const CONN: &'static str;
    const TEMPLATE_KEY: &'static str;
    /// Program that ends what is due.
    const EXPIRE: &'static str;
    /// Program that enters what another director told of.
    const SYNC: &'static str;

    fn flows(maps: &Maps) -> &Flows<Self>;
    fn read(buffers: &mut Buffers) -> &mut Read<Self>;
}

impl Family for [u8; 4] {
    const TEMPLATES: &'static str = names::TEMPLATES;
    const CONNS: &'static str = names::CONNS;
    const HALF_OPEN: &'static str = names::HALF_OPEN;
    const RING: &'static str = names::HALF_OPEN_RING;
    const HEAD: u32 = names::head::RING;
    const FLOW_KEY: &'static str = "FlowKey";
    const CONN: &'static str = "Conn";
    const TEMPLATE_KEY: &'static str = "TemplateKey";
    const EXPIRE: &'static str = "ipvs_expire";
    const SYNC: &'static str = "ipvs_sync";

    fn flows(maps: &Maps) -> &Flows<Self> {
        &maps.four
    }
    fn read(buffers: &mut Buffers) -> &mut Read<Self> {
        &mut buffers.four
    }
}

impl Family for Addr {
    const TEMPLATES: &'static str = names::TEMPLATES6;
    const CONNS: &'static str = names::CONNS6;
    const HALF_OPEN: &'static str = names::HALF_OPEN6;
    const RING: &'static str = names::HALF_OPEN_RING6;
    const HEAD: u32 = names::head::RING6;
    const FLOW_KEY: &'static str = "FlowKey6";
    const CONN: &'static str = "Conn6";
    const TEMPLATE_KEY: &'static str = "TemplateKey6";
    const EXPIRE: &'static str = "ipvs6_expire";
    const SYNC: &'static str = "ipvs6_sync";

    fn flows(maps: &Maps) -> &Flows<Self> {
        &maps.six
    }
    fn read(buffers: &mut Buffers) -> &mut Read<Self> {
        &mut buffers.six
    }
}
