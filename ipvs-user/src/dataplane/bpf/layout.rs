//! What the tables of a generation look like: written down beside them, so that another version can read them.

use ipvs_common::{
    ABI_VERSION,
    describe::{DESCRIBED, Described},
    maps::Capacities,
};
use serde::{Deserialize, Serialize};

use crate::{ledger, reasons};

/// Name of the text among the pins of a generation.
pub(super) const LAYOUT: &str = "LAYOUT";

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Layout {
    pub abi: u32,
    pub types: Vec<Type>,
    pub sizes: Sizes,
    /// Names of the counters of reasons, by slot; empty: none.
    pub reasons: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Type {
    pub name: String,
    pub size: usize,
    pub fields: Vec<Field>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Field {
    pub name: String,
    pub offset: usize,
    pub size: usize,
    /// Name of its type, if that is described, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
}

/// Entries of the tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sizes {
    pub services: u32,
    pub real_servers: u32,
    pub list_slots: u32,
    pub table_slots: u32,
    pub connections: u32,
    pub half_open: u32,
    pub templates: u32,
    /// 0: a version that knew no IPv6.
    #[serde(default)]
    pub connections6: u32,
    #[serde(default)]
    pub half_open6: u32,
    #[serde(default)]
    pub templates6: u32,
    pub lblc: u32,
    pub lblcr: u32,
    pub mh_table: u32,
    /// 0: a version that knew no match rules.
    #[serde(default)]
    pub match_slots: u32,
}

impl From<Capacities> for Sizes {
    fn from(c: Capacities) -> Self {
        Self {
            services: c.services,
            real_servers: c.dests,
            list_slots: c.list_slots,
            table_slots: c.table_slots,
            connections: c.conns,
            half_open: c.half_open,
            templates: c.templates,
            connections6: c.conns6,
            half_open6: c.half_open6,
            templates6: c.templates6,
            lblc: c.lblc,
            lblcr: c.lblcr,
            mh_table: c.maglev,
            match_slots: c.match_slots,
        }
    }
}

impl Sizes {
    /// Those that are others there, as they are written in a configuration.
    #[must_use]
    pub fn beside(self, there: Self) -> String {
        let fields = |sizes: Self| match serde_json::to_value(sizes) {
            Ok(serde_json::Value::Object(fields)) => fields,
            Ok(_) | Err(_) => serde_json::Map::new(),
        };
        let there = fields(there);
        let ours = fields(self);
        let others = ours
            .iter()
            .filter(|(name, size)| there.get(*name) != Some(*size));
        let each = others.map(|(name, size)| format!("{name} = {size}"));
        each.collect::<Vec<_>>().join(", ")
    }
}

impl Layout {
    /// That of this program, with tables of these sizes.
    #[must_use]
    pub fn here(capacities: Capacities) -> Self {
        let types = DESCRIBED.iter().chain(ledger::DESCRIBED);
        Self {
            abi: ABI_VERSION,
            types: types.map(described).collect(),
            sizes: capacities.into(),
            reasons: reasons::names(),
        }
    }

    /// A name that no generation of another layout has.
    #[must_use]
    pub fn generation(&self) -> String {
        let text = self.text();
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("v{}-{hash:016x}", self.abi)
    }

    /// As it is written down.
    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    #[must_use]
    pub fn type_of(&self, name: &str) -> Option<&Type> {
        self.types.iter().find(|t| t.name == name)
    }
}

fn described(of: &Described) -> Type {
    let field = |f: &ipvs_common::describe::Field| Field {
        name: f.name.to_owned(),
        offset: f.offset,
        size: f.size,
        of: f.of.map(str::to_owned),
    };
    Type {
        name: of.name.to_owned(),
        size: of.size,
        fields: of.fields.iter().map(field).collect(),
    }
}
