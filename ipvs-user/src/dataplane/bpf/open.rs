//! Makes the tables, or opens them among the pins of an instance: those that are there, or new ones.

use std::{path::Path, sync::Arc};

use aya::{
    maps::{IterableMap as _, RingBuf},
    util::nr_cpus,
};
use ipvs_common::{
    Iface, Settings,
    maps::{self as names, Capacities},
};

use super::{
    BpfDataplane, Clock, Dataplane as _, EgressTable, LoadError, Messages, Need, PuntRing,
    VlanTable,
    blob::Blob,
    control::Control,
    layout::{LAYOUT, Layout},
    loader::{Loader, Place},
    mapped::Mapped,
    maps::{Maps, take},
    migrate::Migration,
    overload::OverloadMarks,
    pins::{self, Instance, NOTES, Standing},
    walk::Buffers,
};

/// Tables among the pins.
pub struct Opened {
    pub dataplane: BpfDataplane,
    /// What there is to take over from tables of another layout, or of other sizes.
    pub migration: Option<Box<Migration>>,
}

/// Ticks in a second of a clock that is set by hand.
const MANUAL_HZ: u32 = 1000;

impl BpfDataplane {
    /// Makes the maps, empty and of these sizes, and loads the control programs. Nothing is attached yet.
    pub fn load(object: &[u8], capacities: Capacities) -> Result<Self, LoadError> {
        Self::load_with(object, capacities, Clock::Kernel)
    }

    /// The same over a clock of choice. In manual time a second has 1000 ticks.
    pub fn load_with(
        object: &[u8],
        capacities: Capacities,
        clock: Clock,
    ) -> Result<Self, LoadError> {
        Need::check_here(capacities)?;
        let loader = Loader::new(object, capacities, clock, Place::Private)?;
        Self::over(loader, clock)
    }

    /// Over the maps of a loader: those that are there, and new ones for the others.
    fn over(loader: Loader, clock: Clock) -> Result<Self, LoadError> {
        let capacities = loader.capacities();
        let cpus = nr_cpus().map_err(|(_, e)| LoadError::States(e))?;
        let (ebpf, _) = loader.load(Iface::default())?;
        let mut control = Control::load(ebpf)?;
        let messages = Messages::take(control.ebpf())?;
        let maps = Maps::take(control.ebpf())?;
        let states = maps.dest_states.map();
        let overload =
            OverloadMarks::map(states.fd(), capacities.dests).map_err(LoadError::States)?;
        let lists = Mapped::map(maps.dest_lists.map().fd(), maps.dest_lists.len())
            .map_err(LoadError::States)?;
        let hash_tables = Mapped::map(maps.hash_tables.map().fd(), maps.hash_tables.len())
            .map_err(LoadError::States)?;
        let match_slots = Mapped::map(maps.match_slots.map().fd(), maps.match_slots.len())
            .map_err(LoadError::States)?;
        let egress = EgressTable(take(control.ebpf(), names::EGRESS)?);
        let vlans = VlanTable(take(control.ebpf(), names::VLANS)?);
        let punt = PuntRing(take::<RingBuf<_>>(control.ebpf(), names::PUNT)?);
        let again = control.again(loader.in_force())?;
        let ledger = loader.ledger()?;
        let hz = match clock {
            Clock::Kernel => control.measure_hz()?,
            Clock::Manual => MANUAL_HZ,
        };
        Ok(Self {
            loader,
            control,
            maps,
            overload,
            lists,
            hash_tables,
            match_slots,
            egress: Some(egress),
            vlans: Some(vlans),
            punt: Some(punt),
            again: Some(again),
            messages,
            buffers: Buffers::default(),
            ledger,
            hz,
            cpus,
        })
    }

    /// The tables of an instance: those in force, or new ones, which are not the ones to come back to before
    /// [`Instance::set_current`] says so.
    pub fn open(
        object: &[u8],
        capacities: Capacities,
        instance: &Arc<Instance>,
    ) -> Result<Opened, LoadError> {
        let layout = Layout::here(capacities);
        let generation = layout.generation();
        let (from, resumed) = match instance.standing()? {
            Standing::Settled(Some(current)) if current == generation => {
                let dataplane = Self::among(object, &generation, capacities, instance)?;
                return Ok(Opened::without(dataplane));
            }
            Standing::Settled(None) => {
                let dataplane = Self::begin(object, &layout, capacities, instance)?;
                return Ok(Opened::without(dataplane));
            }
            Standing::Settled(Some(current)) => (current, false),
            Standing::Swapping { from, to } if to == generation => (from, true),
            Standing::Swapping { to, .. } => {
                let theirs = Layout::read_from(&instance.generation(&to)?.path(""))?;
                return Err(LoadError::CutShort(refused(&layout, &theirs)));
            }
        };
        let mut dataplane = if resumed {
            Self::among(object, &generation, capacities, instance)?
        } else {
            Self::begin(object, &layout, capacities, instance)?
        };
        let dir = instance.generation(&generation)?;
        let mut migration = Migration::new(instance, &from, &dir, capacities, resumed)?;
        if !resumed {
            dataplane.begin_with(&mut migration)?;
        }
        Ok(Opened {
            dataplane,
            migration: Some(Box::new(migration)),
        })
    }

    /// Over the tables of a generation: those that are there, and new ones for the others.
    fn among(
        object: &[u8],
        generation: &str,
        capacities: Capacities,
        instance: &Arc<Instance>,
    ) -> Result<Self, LoadError> {
        let place = Place::Pinned(Arc::clone(instance), generation.to_owned());
        let loader = Loader::new(object, capacities, Clock::Kernel, place)?;
        Self::over(loader, Clock::Kernel)
    }

    /// Makes the tables of a generation that is not there.
    fn begin(
        object: &[u8],
        layout: &Layout,
        capacities: Capacities,
        instance: &Arc<Instance>,
    ) -> Result<Self, LoadError> {
        Need::check_here(capacities)?;
        let generation = layout.generation();
        let dataplane = Self::among(object, &generation, capacities, instance)?;
        layout.write_to(&instance.generation(&generation)?.path(""))?;
        Ok(dataplane)
    }

    /// Everything as it stands in the old tables. The configuration is made anew of the ledger.
    fn begin_with(&mut self, migration: &mut Migration) -> Result<(), LoadError> {
        let (ledger, settings) = migration.configuration(Settings::with_hz(self.hz))?;
        let failed = |e: crate::dataplane::TableError| LoadError::Migration(Box::new(e));
        self.put_settings(&settings).map_err(failed)?;
        if !ledger.is_empty() {
            self.put_ledger(&ledger).map_err(failed)?;
        }
        migration.sync(false)?;
        Ok(())
    }

    /// Name of the generation that tables of these sizes are.
    #[must_use]
    pub fn generation(capacities: Capacities) -> String {
        Layout::here(capacities).generation()
    }
}

impl Opened {
    const fn without(dataplane: BpfDataplane) -> Self {
        Self {
            dataplane,
            migration: None,
        }
    }
}

/// Who may finish a swap that was cut short, and that it is not us.
fn refused(here: &Layout, theirs: &Layout) -> String {
    let sizes = theirs.sizes.beside(here.sizes);
    let sizes = if sizes.is_empty() {
        "the same [director]".to_owned()
    } else {
        format!("`{sizes}` in [director]")
    };
    format!(
        "start the ipvsd that began it once more, with {sizes} \
         (layout {}, here {})",
        theirs.abi, here.abi
    )
}

impl Layout {
    /// Reads the description that is pinned in a directory.
    pub fn read_from(dir: &Path) -> Result<Self, LoadError> {
        let text = Blob::open(LAYOUT, &dir.join(LAYOUT))?.read()?;
        serde_json::from_str(&text).map_err(|e| LoadError::Layout(e.to_string()))
    }

    /// Pins this description in a directory.
    pub fn write_to(&self, dir: &Path) -> Result<(), LoadError> {
        Blob::open_or_create(LAYOUT, &dir.join(LAYOUT))?.write(&self.text())
    }
}

/// A text that is kept with the pins of an instance.
pub struct NotePad(Blob);

impl NotePad {
    pub fn open(instance: &Instance) -> Result<Self, LoadError> {
        Ok(Self(Blob::open_or_create(NOTES, &instance.notes())?))
    }

    /// Reads that of an instance, whoever holds it.
    pub fn peek(instance: &str) -> Result<String, LoadError> {
        let dir = pins::peek(instance)?;
        Blob::open(NOTES, &dir.path(NOTES))?.read()
    }

    /// Empty if nothing was written yet.
    pub fn read(&self) -> Result<String, LoadError> {
        self.0.read()
    }

    /// All of it, or nothing.
    pub fn write(&mut self, text: &str) -> Result<(), LoadError> {
        self.0.write(text)
    }
}
