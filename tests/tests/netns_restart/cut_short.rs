//! Daemons that die while they take tables over, at chosen points: what they leave is made by hand where no clock would hit it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    maps::{HashMap, Map, MapData},
    programs::{
        ProgramInfo, Xdp,
        links::{FdLink, PinnedLink},
        loaded_programs,
        xdp::XdpLink,
    },
};
use aya_obj::programs::XdpAttachType;
use ipvs_common::maps::LEDGER;
use ipvs_tests::topology::{DOM0_INTERFACES, Director, Left, Start, Topology, within};
use ipvs_user::ledger::{Key, Value};

use super::{
    connections, goes_on,
    load::{Load, MOMENT, datagrams, serve},
    migration::sized,
    traces::pins,
};

const OLD: u32 = 8192;
const NEW: u32 = 16384;
const THIRD: u32 = 32768;

/// The pins of an instance.
struct Pins(PathBuf);

impl Pins {
    fn of(director: &Director) -> Result<Self> {
        Ok(Self(pins(&director.socket().display().to_string())?))
    }

    fn current(&self) -> Result<PathBuf> {
        Ok(fs::read_link(self.0.join("current"))?)
    }

    fn generations(&self) -> Result<BTreeSet<String>> {
        let names = names(&self.0)?.into_iter();
        Ok(names.filter(|n| n.starts_with('v')).collect())
    }

    fn point(&self, link: &str, to: impl AsRef<Path>) -> Result<()> {
        let new = self.0.join("by-hand");
        std::os::unix::fs::symlink(to, &new)?;
        Ok(fs::rename(new, self.0.join(link))?)
    }

    /// Pins all maps of a generation a second time.
    fn keep(&self, generation: &Path, by: &str) -> Result<()> {
        let (from, to) = (self.0.join(generation), self.0.join(by));
        fs::create_dir(&to)?;
        for name in names(&from)? {
            MapData::from_pin(from.join(&name))?.pin(to.join(&name))?;
        }
        Ok(())
    }

    /// One start with new tables ends just before programs are swapped. Returns the names of both generations.
    fn filled(&self, left: &Left) -> Result<[PathBuf; 2]> {
        let old = self.current()?;
        let before = self.generations()?;
        let mut how = sized(NEW);
        how.interfaces.push("nonesuch");
        let said = left.refusal(&how)?;
        ensure!(said.contains("no interface nonesuch"), "{said}");
        ensure!(self.current()? == old, "{:?}", self.current());
        let new = self.generations()?.difference(&before).next().cloned();
        Ok([old, new.context("no new tables were made")?.into()])
    }

    fn ledger(&self, generation: &Path) -> Result<HashMap<MapData, Key, Value>> {
        let map = MapData::from_pin(self.0.join(generation).join(LEDGER))?;
        Ok(HashMap::try_from(Map::HashMap(map))?)
    }
}

fn names(dir: &Path) -> Result<BTreeSet<String>> {
    let entries = fs::read_dir(dir)?;
    let names = entries.map(|e| Ok(e?.file_name().to_string_lossy().into_owned()));
    names.collect()
}

fn established(director: &Director) -> Result<usize> {
    let listed = connections(director)?;
    Ok(listed.iter().filter(|l| l.contains("ESTABLISHED")).count())
}

fn begin(net: &Topology) -> Result<(Pins, Load, Left)> {
    serve(net)?;
    let director = Director::start(&net.dom0, &sized(OLD))?;
    let pins = Pins::of(&director)?;
    let load = Load::of(net, 20)?;
    load.goes_on()?;
    Ok((pins, load, director.kill()?))
}

/// All that was sent was counted, once.
fn ends(director: Director, sent: u64) -> Result<()> {
    std::thread::sleep(MOMENT);
    let counted = datagrams(&director)?;
    ensure!(counted == (sent, sent), "{counted:?} of {sent}");
    director.leave()?.run("ipvsd detach").map(drop)
}

#[test]
fn a_change_cut_short_before_the_swap_is_made_anew_or_given_up_and_nothing_is_stale() {
    within(300, || {
        let net = Topology::new()?;
        let (pins, load, mut left) = begin(&net)?;
        let mut others = 0;
        for wished in [NEW, OLD, THIRD] {
            let passing = Load::of(&net, 5)?;
            passing.goes_on()?;
            let [old, new] = pins.filled(&left)?;
            // As if it had died between the word that the swap begins and the first swap.
            pins.point("previous", &old)?;
            pins.point("current", &new)?;
            // The old programs go on meanwhile: connections end, others begin.
            others += passing.finish()?;
            let later = Load::of(&net, 5)?;
            later.goes_on()?;
            let director = goes_on(left, &sized(wished))?;
            ensure!(
                established(&director)? == 50,
                "{:#?}",
                connections(&director)?
            );
            later.goes_on()?;
            load.goes_on()?;
            ensure!(pins.generations()?.len() == 1, "{:?}", pins.generations());
            ensure!(!pins.0.join("previous").exists(), "it is still named");
            others += later.finish()?;
            // Back to the first sizes for the next round.
            let director = goes_on(director.kill()?, &sized(OLD))?;
            load.goes_on()?;
            left = director.kill()?;
        }
        let director = goes_on(left, &sized(OLD))?;
        let sent = load.finish()? + others;
        ends(director, sent)
    });
}

#[test]
fn tables_in_force_that_are_named_twice_are_no_migration() {
    within(120, || {
        let net = Topology::new()?;
        let (pins, load, left) = begin(&net)?;
        // As if a start with other sizes had died between the two names.
        let [old, _] = pins.filled(&left)?;
        pins.point("previous", &old)?;
        let director = goes_on(left, &sized(OLD))?;
        ensure!(pins.0.join(&old).exists(), "the tables in force are gone");
        ensure!(pins.generations()?.len() == 1, "{:?}", pins.generations());
        let director = goes_on(director.kill()?, &sized(OLD))?;
        ensure!(
            established(&director)? == 40,
            "{:#?}",
            connections(&director)?
        );
        let sent = load.finish()?;
        // Nor were its counts taken for those of another one.
        ends(director, sent)
    });
}

#[test]
fn a_removal_cut_short_is_finished_and_the_next_change_counts_right() {
    within(180, || {
        let net = Topology::new()?;
        let (pins, load, left) = begin(&net)?;
        // As if it had died while it removed what it came from, with the counts of that in the ledger.
        let current = pins.current()?;
        pins.keep(&current, "v0-left")?;
        for name in names(&pins.0.join("v0-left"))?.iter().take(9) {
            fs::remove_file(pins.0.join("v0-left").join(name))?;
        }
        let mut ledger = pins.ledger(&current)?;
        ledger.insert(Key::CARRIED, Value::of(&0_u64), 0)?;
        let director = goes_on(left, &sized(OLD))?;
        ensure!(pins.generations()?.len() == 1, "{:?}", pins.generations());
        ensure!(ledger.get(&Key::CARRIED, 0).is_err(), "still carried");
        let left = director.kill()?;
        // Nor does it come with the ledger of one that is followed by other sizes at once.
        ledger.insert(Key::CARRIED, Value::of(&0_u64), 0)?;
        drop(ledger);
        let director = goes_on(left, &sized(NEW))?;
        let sent = load.finish()?;
        ends(director, sent)
    });
}

fn path_name(path: &Path) -> String {
    path.file_name()
        .map_or(String::new(), |name| name.to_string_lossy().into_owned())
}

/// The program on an interface, with the pins of its stages.
struct Program {
    xdp: Xdp,
    /// Where each is, and where it is kept.
    stages: Vec<(PathBuf, PathBuf, MapData)>,
}

impl Program {
    fn on(pins: &Pins, interface: &str) -> Result<Self> {
        let link = FdLink::from(PinnedLink::from_pin(pins.0.join("links").join(interface))?);
        let id = link.info()?.program_id();
        let found = loaded_programs()
            .filter_map(Result::ok)
            .find(|p| p.id() == id);
        let info: ProgramInfo = found.context("its program is gone")?;
        let dir = pins.0.join("stages").join(interface);
        let stages = names(&dir)?.into_iter().map(|name| {
            let path = dir.join(name);
            let map = MapData::from_pin(&path)?;
            // Where the daemon does not look, so that the kernel does not empty it.
            let kept = pins.0.join(format!("kept-{}", path_name(&path)));
            map.pin(&kept)?;
            Ok((path, kept, map))
        });
        Ok(Self {
            stages: stages.collect::<Result<_>>()?,
            xdp: Xdp::from_program_info(info, Cow::Borrowed("forward"), XdpAttachType::Interface)?,
        })
    }

    /// Puts it in force again.
    fn put_back(mut self, pins: &Pins, interface: &str) -> Result<()> {
        let dir = pins.0.join("stages").join(interface);
        for name in names(&dir)? {
            fs::remove_file(dir.join(name))?;
        }
        for (path, kept, map) in &self.stages {
            map.pin(path)?;
            fs::remove_file(kept)?;
        }
        let link = FdLink::from(PinnedLink::from_pin(pins.0.join("links").join(interface))?);
        self.xdp.attach_to_link(XdpLink::try_from(link)?)?;
        Ok(())
    }
}

#[test]
fn a_swap_cut_short_is_finished_by_the_same_tables_and_refused_to_others() {
    within(240, || {
        let net = Topology::new()?;
        let (pins, load, left) = begin(&net)?;
        let program = Program::on(&pins, "vif2")?;
        pins.keep(&pins.current()?, "kept")?;
        let director = goes_on(left, &sized(NEW))?;
        load.goes_on()?;
        let left = director.kill()?;
        // As if it had died when the last interface was not swapped yet.
        program.put_back(&pins, "vif2")?;
        fs::rename(pins.0.join("kept"), pins.0.join("v0-kept"))?;
        pins.point("previous", "v0-kept")?;
        let current = pins.current()?;
        pins.point("swapping", &current)?;
        load.goes_on()?;
        for wished in [OLD, THIRD] {
            let said = left.refusal(&sized(wished))?;
            for part in ["cut short", "connections = 16384"] {
                ensure!(said.contains(part), "{part}: {said}");
            }
            ensure!(pins.generations()?.len() == 2, "{:?}", pins.generations());
        }
        // With the rights of the unit, which does not have that of asking the kernel for others' programs.
        let director = goes_on(
            left,
            &Start {
                capabilities: Some("+net_admin,+net_raw,+perfmon,+bpf"),
                ..sized(NEW)
            },
        )?;
        let later = Load::of(&net, 5)?;
        ensure!(pins.generations()?.len() == 1, "{:?}", pins.generations());
        load.goes_on()?;
        later.goes_on()?;
        let director = goes_on(director.kill()?, &sized(THIRD))?;
        ensure!(
            established(&director)? >= 50,
            "{:#?}",
            connections(&director)?
        );
        load.finish()?;
        later.finish()?;
        director.leave()?.run("ipvsd detach")?;
        Ok(())
    });
}

/// What a daemon that takes tables over does one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Point {
    Named,
    Swapped(&'static str),
    Forgets,
    Removes,
}

const POINTS: [Point; 6] = [
    Point::Named,
    Point::Swapped(DOM0_INTERFACES[0]),
    Point::Swapped(DOM0_INTERFACES[1]),
    Point::Swapped(DOM0_INTERFACES[2]),
    Point::Forgets,
    Point::Removes,
];

#[test]
fn a_kill_at_any_step_of_the_swap_loses_nothing() {
    within(300, || {
        let net = Topology::new()?;
        let (pins, load, mut left) = begin(&net)?;
        for (point, wished) in POINTS.into_iter().zip([NEW, OLD].into_iter().cycle()) {
            let how: Start = sized(wished);
            let old = pins.current()?;
            let stages = |interface| names(&pins.0.join("stages").join(interface));
            let before = DOM0_INTERFACES.map(|i| Ok((i, stages(i)?)));
            let before: BTreeMap<_, _> = before.into_iter().collect::<Result<_>>()?;
            ensure!(before.values().all(|s| !s.is_empty()), "{before:?}");
            let whole = names(&pins.0.join(&old))?.len();
            let mut named = false;
            left.start_and_kill_when(&how, || {
                named = named || pins.current().is_ok_and(|c| c != old);
                let gone = || !pins.0.join("previous").exists();
                named
                    && match point {
                        Point::Named => true,
                        Point::Swapped(interface) => {
                            stages(interface).is_ok_and(|s| s.is_disjoint(&before[interface]))
                        }
                        Point::Forgets => gone(),
                        Point::Removes => {
                            names(&pins.0.join(&old)).map_or(true, |n| n.len() < whole)
                        }
                    }
            })?;
            let director = goes_on(left, &how)?;
            load.goes_on()?;
            ensure!(
                established(&director)? == 40,
                "{point:?}: {:#?}",
                connections(&director)?
            );
            ensure!(
                pins.generations()?.len() == 1,
                "{point:?}: {:?}",
                pins.generations()
            );
            left = director.kill()?;
        }
        let director = goes_on(left, &sized(OLD))?;
        let sent = load.finish()?;
        ends(director, sent)
    });
}
