//! From one layout of a type to another, field by field: what both know is copied by its name, what only the old one knows is
//! dropped, and what only the new one knows stays as it is.
//!
//! Pure; knows the descriptions, and no type itself.

use std::ops::Range;

use super::layout::{Layout, Type};

/// Prefix of an IPv4 address in its mapped form.
const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// How values of one type are made of those of another layout.
pub(super) struct Translation {
    from_size: usize,
    to_size: usize,
    moves: Vec<Move>,
}

enum Move {
    /// As many bytes: numbers are little-endian on every machine this runs on, so a longer one keeps its value.
    Copy { from: Range<usize>, to: usize },
    /// An IPv4 address becomes one of either family.
    Widen { from: usize, to: usize },
    /// The other way round.
    Narrow { from: usize, to: usize },
}

impl Translation {
    /// `None`: one of the layouts does not know the type.
    pub(super) fn new(name: &str, from: &Layout, to: &Layout) -> Option<Self> {
        let (old, new) = (from.type_of(name)?, to.type_of(name)?);
        let mut this = Self {
            from_size: old.size,
            to_size: new.size,
            moves: Vec::new(),
        };
        this.add((from, old, 0), (to, new, 0));
        Some(this)
    }

    fn add(&mut self, (from, old, old_base): Place<'_>, (to, new, new_base): Place<'_>) {
        for field in &new.fields {
            let known = old.fields.iter().find(|f| f.name == field.name);
            let Some(known) = known.filter(|f| !f.name.starts_with("pad")) else {
                continue;
            };
            let (at, put) = (old_base + known.offset, new_base + field.offset);
            let nested =
                |layout: &Layout, of: &Option<String>| layout.type_of(of.as_ref()?).cloned();
            if let (Some(inner_old), Some(inner_new)) =
                (nested(from, &known.of), nested(to, &field.of))
            {
                self.add((from, &inner_old, at), (to, &inner_new, put));
                continue;
            }
            self.moves.push(match (known.size, field.size) {
                (4, 16) => Move::Widen { from: at, to: put },
                (16, 4) => Move::Narrow { from: at, to: put },
                (old, new) => Move::Copy {
                    from: at..at + old.min(new),
                    to: put,
                },
            });
        }
    }

    /// Puts into `to` what `from` knows. Both must be as long as their layouts say.
    pub(super) fn apply(&self, from: &[u8], to: &mut [u8]) {
        if from.len() < self.from_size || to.len() < self.to_size {
            return;
        }
        for step in &self.moves {
            match step {
                Move::Copy { from: at, to: put } => {
                    to[*put..*put + at.len()].copy_from_slice(&from[at.clone()]);
                }
                Move::Widen { from: at, to: put } => {
                    to[*put..*put + 12].copy_from_slice(&MAPPED);
                    to[*put + 12..*put + 16].copy_from_slice(&from[*at..*at + 4]);
                }
                Move::Narrow { from: at, to: put } => {
                    to[*put..*put + 4].copy_from_slice(&from[*at + 12..*at + 16]);
                }
            }
        }
    }

    /// A value of its own.
    pub(super) fn value<T: bytemuck::Pod>(&self, from: &[u8]) -> T {
        let mut to = T::zeroed();
        self.apply(from, bytemuck::bytes_of_mut(&mut to));
        to
    }
}

/// A type of a layout, and where a value of it begins.
type Place<'a> = (&'a Layout, &'a Type, usize);

#[cfg(test)]
mod tests {
    use ipvs_common::maps::Capacities;

    use super::*;
    use crate::dataplane::bpf::layout::Field;

    fn field(name: &str, offset: usize, size: usize) -> Field {
        Field {
            name: name.to_owned(),
            offset,
            size,
            of: None,
        }
    }

    fn layout(types: Vec<Type>) -> Layout {
        Layout {
            types,
            ..Layout::here(Capacities::SMALL)
        }
    }

    fn a_type(name: &str, size: usize, fields: Vec<Field>) -> Type {
        Type {
            name: name.to_owned(),
            size,
            fields,
        }
    }

    #[test]
    fn fields_go_by_their_names() {
        let old = layout(vec![a_type(
            "T",
            8,
            vec![field("a", 0, 2), field("b", 2, 1), field("gone", 4, 4)],
        )]);
        let new = layout(vec![a_type(
            "T",
            12,
            vec![field("new", 0, 4), field("b", 4, 4), field("a", 8, 2)],
        )]);
        let translation = Translation::new("T", &old, &new).unwrap();
        let mut value = [9; 12];
        translation.apply(&[1, 2, 3, 0, 7, 7, 7, 7], &mut value);
        // What is new stays; a number that grew keeps its value if it was zero before.
        assert_eq!(value, [9, 9, 9, 9, 3, 9, 9, 9, 1, 2, 9, 9]);
    }

    #[test]
    fn fields_of_fields_go_by_their_names_too() {
        let inner =
            |a: usize, b: usize| a_type("Inner", 4, vec![field("a", a, 2), field("b", b, 2)]);
        let outer = |offset| {
            let mut of = field("inner", offset, 4);
            of.of = Some("Inner".to_owned());
            a_type("Outer", 8, vec![of])
        };
        let old = layout(vec![inner(0, 2), outer(4)]);
        let new = layout(vec![inner(2, 0), outer(0)]);
        let translation = Translation::new("Outer", &old, &new).unwrap();
        let value: [u8; 8] = translation.value(&[0, 0, 0, 0, 1, 2, 3, 4]);
        assert_eq!(value, [3, 4, 1, 2, 0, 0, 0, 0]);
    }

    #[test]
    fn addresses_change_their_form_with_their_length() {
        let short = layout(vec![a_type("T", 4, vec![field("src", 0, 4)])]);
        let long = layout(vec![a_type("T", 16, vec![field("src", 0, 16)])]);
        let there = Translation::new("T", &short, &long).unwrap();
        let back = Translation::new("T", &long, &short).unwrap();
        let mapped: [u8; 16] = there.value(&[10, 0, 0, 5]);
        assert_eq!(mapped, ipvs_common::Addr::v4([10, 0, 0, 5]).bytes());
        assert_eq!(back.value::<[u8; 4]>(&mapped), [10, 0, 0, 5]);
    }

    #[test]
    fn a_layout_translates_to_itself() {
        let here = Layout::here(Capacities::SMALL);
        for of in &here.types {
            let translation = Translation::new(&of.name, &here, &here).unwrap();
            let from: Vec<u8> = (0..of.size).map(|n| n as u8 | 1).collect();
            let mut to = vec![0; of.size];
            translation.apply(&from, &mut to);
            let pads = of.fields.iter().filter(|f| f.name.starts_with("pad"));
            let pads: usize = pads.map(|f| f.size).sum();
            let missing = to.iter().map(|b| usize::from(*b == 0)).sum::<usize>();
            // Padding of the types within is not copied either.
            assert!(
                missing >= pads && missing <= pads + 28,
                "{}: {missing} of {pads}",
                of.name
            );
        }
    }
}
