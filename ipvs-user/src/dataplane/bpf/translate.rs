//! From one layout of a type to another, field by field: what both know is copied by its name, what only the old one knows is
//! dropped, and what only the new one knows stays as it is. Nothing is cut: a value that the new field cannot hold is refused.
//!
//! Pure; knows the descriptions, and no type itself.

use std::ops::Range;

use super::layout::{Layout, Type};

/// Prefix of an IPv4 address in its mapped form.
const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
/// What is longer is no number, but an array or bytes.
const LONGEST_NUMBER: usize = 8;

/// How values of one type are made of those of another layout.
pub(super) struct Translation {
    of: String,
    from_size: usize,
    to_size: usize,
    moves: Vec<Move>,
}

/// A field that both know.
struct Move {
    name: String,
    from: Range<usize>,
    to: Range<usize>,
    kind: Kind,
}

enum Kind {
    /// Numbers are little-endian on every machine this runs on, so a longer one is followed by zeros.
    Number,
    /// An array: the new one's elements beyond the old one's stay as they are.
    Array,
    /// An IPv4 address becomes one of either family.
    Widen,
    /// The other way round.
    Narrow,
}

/// A value was not translated.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Untranslated {
    /// It is not what the description says.
    #[error("{of} takes {needed} bytes by its description, and has {bytes}")]
    Short {
        of: String,
        needed: usize,
        bytes: usize,
    },
    /// The new layout cannot hold it.
    #[error("{field} of {of} does not fit: this ipvsd holds {room} bytes of it")]
    Unfit {
        of: String,
        field: String,
        room: usize,
    },
}

impl Translation {
    /// `None`: one of the layouts does not know the type.
    pub(super) fn new(name: &str, from: &Layout, to: &Layout) -> Option<Self> {
        let (old, new) = (from.type_of(name)?, to.type_of(name)?);
        let mut this = Self {
            of: name.to_owned(),
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
            self.moves.push(Move {
                name: field.name.clone(),
                from: at..at + known.size,
                to: put..put + field.size,
                kind: match (known.size, field.size) {
                    (4, 16) => Kind::Widen,
                    (16, 4) => Kind::Narrow,
                    (old, new) if old.max(new) <= LONGEST_NUMBER => Kind::Number,
                    _ => Kind::Array,
                },
            });
        }
    }

    /// Puts into `to` what `from` knows. After an error `to` is worth nothing.
    pub(super) fn apply(&self, from: &[u8], to: &mut [u8]) -> Result<(), Untranslated> {
        for (needed, bytes) in [(self.from_size, from.len()), (self.to_size, to.len())] {
            if bytes < needed {
                let of = self.of.clone();
                return Err(Untranslated::Short { of, needed, bytes });
            }
        }
        for step in &self.moves {
            let (from, to) = (&from[step.from.clone()], &mut to[step.to.clone()]);
            let room = to.len();
            step.kind
                .copy(from, to)
                .ok_or_else(|| Untranslated::Unfit {
                    of: self.of.clone(),
                    field: step.name.clone(),
                    room,
                })?;
        }
        Ok(())
    }

    /// A value of its own.
    pub(super) fn value<T: bytemuck::Pod>(&self, from: &[u8]) -> Result<T, Untranslated> {
        let mut to = T::zeroed();
        self.apply(from, bytemuck::bytes_of_mut(&mut to))?;
        Ok(to)
    }
}

impl Kind {
    /// `None`: it does not fit.
    fn copy(&self, from: &[u8], to: &mut [u8]) -> Option<()> {
        match self {
            Self::Number | Self::Array => {
                let (kept, cut) = from.split_at(from.len().min(to.len()));
                if cut.iter().any(|byte| *byte != 0) {
                    return None;
                }
                let (put, rest) = to.split_at_mut(kept.len());
                put.copy_from_slice(kept);
                if matches!(self, Self::Number) {
                    rest.fill(0);
                }
            }
            Self::Widen => {
                to[..12].copy_from_slice(&MAPPED);
                to[12..].copy_from_slice(from);
            }
            Self::Narrow => {
                let (prefix, address) = from.split_at(12);
                // None at all is all zeros.
                if prefix != MAPPED && from.iter().any(|byte| *byte != 0) {
                    return None;
                }
                to.copy_from_slice(address);
            }
        }
        Some(())
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

    /// From a type with one field to the same with a longer one, and back.
    fn between(short: usize, long: usize) -> [Translation; 2] {
        let [short, long] =
            [short, long].map(|size| layout(vec![a_type("T", size, vec![field("a", 0, size)])]));
        [(&short, &long), (&long, &short)].map(|(a, b)| Translation::new("T", a, b).unwrap())
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
        let from = [1, 2, 3, 0, 7, 7, 7, 7];
        translation.apply(&from, &mut value).unwrap();
        // What is new stays; a number that grew keeps its value, whatever the new one was before.
        assert_eq!(value, [9, 9, 9, 9, 3, 0, 0, 0, 1, 2, 9, 9]);
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
        let value: [u8; 8] = translation.value(&[0, 0, 0, 0, 1, 2, 3, 4]).unwrap();
        assert_eq!(value, [3, 4, 1, 2, 0, 0, 0, 0]);
    }

    #[test]
    fn addresses_change_their_form_with_their_length() {
        let [there, back] = between(4, 16);
        let mapped: [u8; 16] = there.value(&[10, 0, 0, 5]).unwrap();
        assert_eq!(mapped, ipvs_common::Addr::v4([10, 0, 0, 5]).bytes());
        assert_eq!(back.value(&mapped), Ok([10_u8, 0, 0, 5]));
        let none = ipvs_common::Addr::UNSPECIFIED.bytes();
        assert_eq!(back.value(&none), Ok([0_u8; 4]));
    }

    #[test]
    fn what_the_new_layout_cannot_hold_is_refused_and_named() {
        let unfit = |room| Untranslated::Unfit {
            of: "T".to_owned(),
            field: "a".to_owned(),
            room,
        };
        let [longer, shorter] = between(2, 4);
        assert_eq!(longer.value(&[1, 2]), Ok([1_u8, 2, 0, 0]));
        assert_eq!(shorter.value(&[1, 2, 0, 0]), Ok([1_u8, 2]));
        assert_eq!(shorter.value::<[u8; 2]>(&[1, 2, 1, 0]), Err(unfit(2)));
        let [_, shorter] = between(12, 16);
        let mut array = [7; 16];
        assert_eq!(shorter.value::<[u8; 12]>(&array), Err(unfit(12)));
        array[12..].fill(0);
        assert_eq!(shorter.value(&array), Ok([7_u8; 12]));
        let [_, narrower] = between(4, 16);
        let v6 =
            ipvs_common::Addr::from(std::net::IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)).bytes();
        assert_eq!(narrower.value::<[u8; 4]>(&v6), Err(unfit(4)));
    }

    #[test]
    fn new_elements_of_an_array_keep_their_defaults() {
        let [longer, _] = between(12, 16);
        let mut to = [9; 16];
        longer.apply(&[1; 12], &mut to).unwrap();
        assert_eq!((&to[..12], &to[12..]), (&[1; 12][..], &[9; 4][..]));
    }

    #[test]
    fn a_value_shorter_than_its_description_is_an_error() {
        let [there, _] = between(2, 4);
        let short = |needed, bytes| Untranslated::Short {
            of: "T".to_owned(),
            needed,
            bytes,
        };
        assert_eq!(there.value::<[u8; 4]>(&[1]), Err(short(2, 1)));
        assert_eq!(there.value::<[u8; 3]>(&[1, 2]), Err(short(4, 3)));
    }

    #[test]
    fn a_layout_translates_to_itself() {
        let here = Layout::here(Capacities::SMALL);
        for of in &here.types {
            let translation = Translation::new(&of.name, &here, &here).unwrap();
            let from: Vec<u8> = (0..of.size).map(|n| n as u8 | 1).collect();
            let mut to = vec![0; of.size];
            translation.apply(&from, &mut to).unwrap();
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
