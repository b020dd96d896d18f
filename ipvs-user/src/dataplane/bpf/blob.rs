//! A text of any length in a pinned map: written whole or not at all, whenever the writer dies.
//!
//! Knows nothing of what the text says.

use std::path::Path;

use aya::maps::{HashMap, IterableMap as _, Map, MapData, MapError};
use ipvs_common::maps::ON_DEMAND;

use super::error::LoadError;

const CHUNK: usize = 4096;
/// Two texts of 32 MB.
const CHUNKS: u32 = 1 << 14;
/// Place of the head; texts take turns in the places above, even and odd ones.
const HEAD: u32 = 0;

/// A text with its name for messages.
pub(super) struct Blob {
    name: &'static str,
    map: HashMap<MapData, u32, [u8; CHUNK]>,
}

/// What stands in the head.
#[derive(Clone, Copy)]
struct Head {
    length: usize,
    /// 1 or 2.
    turn: u32,
}

impl Blob {
    /// The one that is pinned there.
    pub(super) fn open(name: &'static str, path: &Path) -> Result<Self, LoadError> {
        let failed = |source| LoadError::Map { name, source };
        let map = MapData::from_pin(path).map_err(failed)?;
        let map = HashMap::try_from(Map::HashMap(map)).map_err(failed)?;
        Ok(Self { name, map })
    }

    /// A new, empty one, pinned there.
    pub(super) fn create(name: &'static str, path: &Path) -> Result<Self, LoadError> {
        let failed = |source| LoadError::Map { name, source };
        let map = HashMap::create(CHUNKS, ON_DEMAND).map_err(failed)?;
        let this = Self { name, map };
        let pinned = this.map.map().pin(path);
        pinned.map_err(|error| {
            failed(MapError::PinError {
                name: Some(name.to_owned()),
                error,
            })
        })?;
        Ok(this)
    }

    pub(super) fn open_or_create(name: &'static str, path: &Path) -> Result<Self, LoadError> {
        if path.exists() {
            return Self::open(name, path);
        }
        Self::create(name, path)
    }

    /// Empty if nothing was written yet.
    pub(super) fn read(&self) -> Result<String, LoadError> {
        let Some(head) = self.head() else {
            return Ok(String::new());
        };
        let mut text = Vec::with_capacity(head.length);
        for number in 0..chunks(head.length) {
            let chunk = self.map.get(&head.place(number), 0);
            text.extend_from_slice(&chunk.map_err(|e| self.failed(e))?);
        }
        text.truncate(head.length);
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    pub(super) fn write(&mut self, text: &str) -> Result<(), LoadError> {
        let before = self.head();
        let head = Head {
            length: text.len(),
            turn: before.map_or(1, |b| 3 - b.turn),
        };
        for (number, piece) in (0..).zip(text.as_bytes().chunks(CHUNK)) {
            let mut chunk = [0; CHUNK];
            chunk[..piece.len()].copy_from_slice(piece);
            self.put(head.place(number), &chunk)?;
        }
        let mut chunk = [0; CHUNK];
        chunk[..8].copy_from_slice(&(head.length as u64).to_ne_bytes());
        chunk[8..12].copy_from_slice(&head.turn.to_ne_bytes());
        self.put(HEAD, &chunk)?;
        if let Some(before) = before {
            for number in 0..chunks(before.length) {
                // It is in nobody's way if it stays.
                let _ = self.map.remove(&before.place(number));
            }
        }
        Ok(())
    }

    fn head(&self) -> Option<Head> {
        let chunk = self.map.get(&HEAD, 0).ok()?;
        let (length, rest) = chunk.split_first_chunk::<8>()?;
        let (turn, _) = rest.split_first_chunk::<4>()?;
        Some(Head {
            length: u64::from_ne_bytes(*length) as usize,
            turn: u32::from_ne_bytes(*turn),
        })
    }

    fn put(&mut self, place: u32, chunk: &[u8; CHUNK]) -> Result<(), LoadError> {
        let name = self.name;
        let put = self.map.insert(place, chunk, 0);
        put.map_err(|source| LoadError::Map { name, source })
    }

    fn failed(&self, source: MapError) -> LoadError {
        LoadError::Map {
            name: self.name,
            source,
        }
    }
}

impl Head {
    const fn place(self, number: u32) -> u32 {
        self.turn + 2 * number
    }
}

const fn chunks(length: usize) -> u32 {
    length.div_ceil(CHUNK) as u32
}
