//! Tables of another layout and of other sizes, under load.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    maps::{Array, HashMap, Map, MapData, PerCpuArray, PerCpuValues},
    util::nr_cpus,
};
use ipvs_common::{
    Addr, Conn, FlowKey, Settings, Stats, Template, TemplateKey, maps as names, maps::ON_DEMAND,
};
use ipvs_tests::topology::{Director, Start, Topology, within};
use ipvs_user::{
    dataplane::bpf::{Field, Layout, Type},
    ledger::{Key, Value},
};

use super::{
    connections, dropped, goes_on,
    load::{CONFIG, Load, MOMENT, SERVICES, datagrams, serve},
    stays,
    traces::pins,
};

/// Every type with its fields the other way round and elsewhere, one more and one less.
fn scrambled(of: &Type, size: usize, without: &str) -> Type {
    let mut at = 8;
    let novelty = Field {
        name: "novelty".to_owned(),
        offset: 0,
        size: 8,
        of: None,
    };
    let fields = of.fields.iter().rev().filter(|f| f.name != without);
    let fields = fields.map(|f| {
        at += f.size;
        Field {
            offset: at - f.size,
            ..f.clone()
        }
    });
    let fields: Vec<_> = std::iter::once(novelty).chain(fields).collect();
    assert!(at <= size, "{} takes {at} bytes", of.name);
    Type {
        name: of.name.clone(),
        size,
        fields,
    }
}

/// A value in the other layout; what is new there is full of ones.
fn translated<const N: usize>(name: &str, value: &[u8], from: &Layout, to: &Layout) -> [u8; N] {
    let mut out = [0xff; N];
    fill((from, name, value), (to, &mut out));
    out
}

fn described<'a>(layout: &'a Layout, name: &str) -> &'a Type {
    let described = layout.type_of(name);
    described.unwrap_or_else(|| panic!("no {name} in the layout"))
}

fn fill((from, name, value): (&Layout, &str, &[u8]), (to, out): (&Layout, &mut [u8])) {
    let (old, new) = (described(from, name), described(to, name));
    for field in &new.fields {
        let Some(known) = old.fields.iter().find(|f| f.name == field.name) else {
            continue;
        };
        let value = &value[known.offset..known.offset + known.size];
        let out = &mut out[field.offset..field.offset + field.size];
        match &known.of {
            Some(inner) => fill((from, inner, value), (to, out)),
            None => out.copy_from_slice(value),
        }
    }
}

fn layout_of_old(here: &Layout) -> Layout {
    let scramble = |of: &Type| match of.name.as_str() {
        "FlowKey" => scrambled(of, 24, "nothing"),
        "Conn" => scrambled(of, 80, "packets"),
        "Conn6" => scrambled(of, 96, "packets"),
        "FlowKey6" | "Template" => scrambled(of, 48, "nothing"),
        "Settings" => scrambled(of, 176, "lblcr_expiration"),
        "DestRecord" => scrambled(of, 128, "nothing"),
        // Within others, so of the same size, and without a novelty.
        "Status" | "Stats" => {
            let mut at = 0;
            let fields = of.fields.iter().rev().map(|f| {
                at += f.size;
                Field {
                    offset: at - f.size,
                    ..f.clone()
                }
            });
            Type {
                fields: fields.collect(),
                ..of.clone()
            }
        }
        _ => of.clone(),
    };
    Layout {
        types: here.types.iter().map(scramble).collect(),
        ..here.clone()
    }
}

/// Opens a pinned map.
fn open<M: TryFrom<Map, Error = aya::maps::MapError>>(dir: &Path, name: &str) -> Result<M> {
    let map = MapData::from_pin(dir.join(name))?;
    Ok(M::try_from(Map::from_map_data(map)?)?)
}

struct Scrambler<'a> {
    from: &'a Path,
    to: &'a Path,
    old: Layout,
    new: Layout,
}

impl Scrambler<'_> {
    fn hash<K, V, const KN: usize, const VN: usize>(
        &self,
        map: &str,
        key: &str,
        value: &str,
    ) -> Result<()>
    where
        K: aya::Pod + bytemuck::Pod,
        V: aya::Pod + bytemuck::Pod,
    {
        let source: HashMap<MapData, K, V> = open(self.from, map)?;
        let mut copy: HashMap<MapData, [u8; KN], [u8; VN]> = HashMap::create(1 << 16, ON_DEMAND)?;
        for entry in &source {
            let (k, v) = entry?;
            let k = translated(key, bytemuck::bytes_of(&k), &self.old, &self.new);
            let v = translated(value, bytemuck::bytes_of(&v), &self.old, &self.new);
            copy.insert(k, v, 0)?;
        }
        copy.pin(self.to.join(map))?;
        Ok(())
    }

    fn settings(&self) -> Result<()> {
        let source: Array<MapData, Settings> = open(self.from, names::SETTINGS)?;
        let value = source.get(&0, 0)?;
        let mut copy: Array<MapData, [u8; 176]> = Array::create(1, 0)?;
        let value = translated("Settings", bytemuck::bytes_of(&value), &self.old, &self.new);
        copy.set(0, value, 0)?;
        copy.pin(self.to.join(names::SETTINGS))?;
        Ok(())
    }

    fn stats(&self) -> Result<()> {
        let source: PerCpuArray<MapData, Stats> = open(self.from, names::DEST_STATS)?;
        let mut copy: PerCpuArray<MapData, [u8; 40]> = PerCpuArray::create(64, 0)?;
        for index in 0..64 {
            let each = source.get(&index, 0)?;
            let each: Vec<_> = each
                .iter()
                .map(|s| translated("Stats", bytemuck::bytes_of(s), &self.old, &self.new))
                .collect();
            copy.set(index, PerCpuValues::try_from(each)?, 0)?;
        }
        copy.pin(self.to.join(names::DEST_STATS))?;
        Ok(())
    }

    fn ledger(&self) -> Result<()> {
        const DEST: u32 = 4;
        let source: HashMap<MapData, Key, Value> = open(self.from, names::LEDGER)?;
        let mut copy: HashMap<MapData, Key, Value> = HashMap::create(1 << 12, ON_DEMAND)?;
        for entry in &source {
            let (key, mut value) = entry?;
            let kind: [u32; 2] = bytemuck::cast(key);
            let of = match kind[0] {
                DEST => "DestRecord",
                3 => "ServiceRecord",
                5 => "TotalRecord",
                _ => "",
            };
            if !of.is_empty() {
                value.bytes = translated(of, &value.bytes, &self.old, &self.new);
            }
            copy.insert(key, value, 0)?;
        }
        copy.pin(self.to.join(names::LEDGER))?;
        Ok(())
    }
}

/// Makes what is pinned look as if a daemon of another layout had left it, while the programs go on over the maps they have.
fn relayout(instance: &Path) -> Result<PathBuf> {
    let current = instance.join(fs::read_link(instance.join("current"))?);
    let other = instance.join("v0-other");
    fs::create_dir(&other)?;
    let old = Layout::read_from(&current)?;
    let new = layout_of_old(&old);
    new.write_to(&other)?;
    let scrambler = Scrambler {
        from: &current,
        to: &other,
        old,
        new,
    };
    scrambler.hash::<FlowKey, Conn, 24, 80>(names::CONNS, "FlowKey", "Conn")?;
    scrambler.hash::<FlowKey, Conn, 24, 80>(names::HALF_OPEN, "FlowKey", "Conn")?;
    scrambler.hash::<TemplateKey, Template, 12, 48>(names::TEMPLATES, "TemplateKey", "Template")?;
    for table in [names::CONNS6, names::HALF_OPEN6] {
        scrambler.hash::<FlowKey<Addr>, Conn<Addr>, 48, 96>(table, "FlowKey6", "Conn6")?;
    }
    let (table, key) = (names::TEMPLATES6, "TemplateKey6");
    scrambler.hash::<TemplateKey<Addr>, Template, 36, 48>(table, key, "Template")?;
    scrambler.settings()?;
    scrambler.stats()?;
    scrambler.ledger()?;
    for entry in fs::read_dir(&current)? {
        let name = entry?.file_name();
        if !other.join(&name).exists() {
            MapData::from_pin(current.join(&name))?.pin(other.join(&name))?;
        }
    }
    std::os::unix::fs::symlink("v0-other", instance.join("new"))?;
    fs::rename(instance.join("new"), instance.join("current"))?;
    for entry in fs::read_dir(&current)? {
        fs::remove_file(entry?.path())?;
    }
    fs::remove_dir(&current)?;
    Ok(other)
}

fn socket_of(director: &Director) -> String {
    director.socket().display().to_string()
}

#[test]
fn connections_live_on_in_tables_of_another_layout() {
    within(180, || {
        ensure!(nr_cpus().is_ok());
        let net = Topology::new()?;
        serve(&net)?;
        let director = Director::start(&net.dom0, &stays())?;
        director.run_all(&SERVICES)?;
        director.run("ipvsadm --set 700 60 200")?;
        let load = Load::of(&net, 30)?;
        load.goes_on()?;
        let table = director.run("ipvsadm -Ln")?;
        let listed = connections(&director)?;
        let timeouts = director.run("ipvsadm -L --timeout")?;
        let counted = datagrams(&director)?;
        let pins = pins(&socket_of(&director))?;
        let left = director.kill()?;
        let other = relayout(&pins)?;
        load.goes_on()?;

        let director = goes_on(left, &stays())?;
        ensure!(
            director.log().contains("another layout"),
            "{}",
            director.log()
        );
        ensure!(director.run("ipvsadm -Ln")? == table, "{table}");
        ensure!(connections(&director)? == listed, "{listed:?}");
        ensure!(director.run("ipvsadm -L --timeout")? == timeouts);
        ensure!(!other.exists(), "the old tables are still there");
        load.goes_on()?;
        let now = datagrams(&director)?;
        ensure!(
            now.0 > counted.0 && now.1 > counted.1,
            "{counted:?} {now:?}"
        );
        let director = goes_on(director.kill()?, &stays())?;
        load.goes_on()?;
        ensure!(connections(&director)? == listed, "{listed:?}");
        load.finish()?;
        ensure!(dropped(&director)?.is_empty(), "{:?}", dropped(&director)?);
        net.nothing_refused()?;
        director.leave()?.run("ipvsd detach")?;
        Ok(())
    });
}

/// The file with tables of other sizes.
pub(super) fn sized(connections: u32) -> Start {
    let sizes = format!(
        "[director]\nconnections = {connections}\nhalf_open = 4096\ntemplates = 4096\nreal_servers = 1024\n\
         connections6 = {connections}\nhalf_open6 = {connections}\n\
         services = 64\nlist_slots = 4096\ntable_slots = 8192\nlblc = 1024\nlblcr = 1024\n"
    );
    Start {
        config: Some(format!("{sizes}{CONFIG}")),
        ..stays()
    }
}

#[test]
fn other_table_sizes_lose_no_packet_and_no_count_even_if_the_change_is_cut_short() {
    within(300, || {
        let net = Topology::new()?;
        serve(&net)?;
        let director = Director::start(&net.dom0, &sized(8192))?;
        let load = Load::of(&net, 30)?;
        load.goes_on()?;
        let table = director.run("ipvsadm -Ln")?;
        let listed = connections(&director)?;
        let mut left = director.kill()?;
        for (round, connections_wished) in [4096, 16384, 8192, 32768].into_iter().enumerate() {
            let how = sized(connections_wished);
            // Anywhere in the middle of it.
            for cut in 0..4 {
                let after = 300 + 450 * cut + 110 * round as u64;
                left.start_and_kill(&how, Duration::from_millis(after))?;
            }
            let director = goes_on(left, &how)?;
            let size = director.run("ipvsadm -Ln")?;
            let size = size.lines().next().context("nothing")?.to_owned();
            ensure!(size.contains(&connections_wished.to_string()), "{size}");
            let now = director.run("ipvsadm -Ln")?;
            ensure!(
                now.lines().skip(1).eq(table.lines().skip(1)),
                "{table}\n{now}"
            );
            ensure!(connections(&director)? == listed, "{listed:?}");
            load.goes_on()?;
            left = director.kill()?;
        }
        let director = goes_on(left, &sized(8192))?;
        let sent = load.finish()?;
        thread::sleep(MOMENT);
        let counted = datagrams(&director)?;
        ensure!(counted == (sent, sent), "{counted:?} of {sent}");
        ensure!(dropped(&director)?.is_empty(), "{:?}", dropped(&director)?);
        director.leave()?.run("ipvsd detach")?;
        Ok(())
    });
}

#[test]
fn tables_too_small_for_what_is_there_are_refused_and_nothing_breaks() {
    within(120, || {
        let net = Topology::new()?;
        serve(&net)?;
        let director = Director::start(&net.dom0, &sized(8192))?;
        let load = Load::of(&net, 20)?;
        load.goes_on()?;
        let listed = connections(&director)?;
        let left = director.kill()?;
        let said = left.refusal(&sized(8))?;
        ensure!(
            said.contains("CONNS") && said.contains("raise it"),
            "{said}"
        );
        load.goes_on()?;
        let director = goes_on(left, &sized(8192))?;
        ensure!(connections(&director)? == listed, "{listed:?}");
        load.finish()?;
        director.stop()?;
        Ok(())
    });
}
