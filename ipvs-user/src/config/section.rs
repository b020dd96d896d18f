//! A table of the file with typed access to its keys. What is not as expected is reported and taken for absent, so that the
//! reading goes on.

use std::ops::{Range, RangeInclusive};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::problems::Problems;
pub(super) use crate::suggest::suggestion;

/// A value and where it stands.
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

pub(super) struct Section<'a> {
    table: &'a DeTable<'a>,
    /// As a person calls it.
    name: &'a str,
    pub(super) span: Range<usize>,
}

impl<'a> Section<'a> {
    pub(super) const fn new(table: &'a DeTable<'a>, name: &'a str, span: Range<usize>) -> Self {
        Self { table, name, span }
    }

    /// Reports every other key.
    pub(super) fn only_known(&self, known: &[&str], problems: &mut Problems<'_>) {
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if !known.contains(&name) {
                let message = format!("unknown key `{name}` in {}", self.name);
                problems.report(key.span(), message, suggestion(name, known));
            }
        }
    }

    /// Every key and its value.
    pub(super) fn entries(
        &self,
    ) -> impl Iterator<Item = (Found<&'a str>, &'a Spanned<DeValue<'a>>)> {
        self.table.iter().map(|(key, value)| {
            let key = Found {
                value: key.get_ref().as_ref(),
                span: key.span(),
            };
            (key, value)
        })
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.get(key)
    }

    pub(super) fn string(&self, key: &str, problems: &mut Problems<'_>) -> Option<Found<&'a str>> {
        let value = self.get(key)?;
        let Some(text) = value.get_ref().as_str() else {
            let hint = format!("write {key} = \"…\"");
            wrong_type(key, value, "a string", hint, problems);
            return None;
        };
        Some(Found {
            value: text,
            span: value.span(),
        })
    }

    pub(super) fn boolean(&self, key: &str, problems: &mut Problems<'_>) -> Option<Found<bool>> {
        let value = self.get(key)?;
        let DeValue::Boolean(set) = value.get_ref() else {
            let hint = format!("write {key} = true or {key} = false");
            wrong_type(key, value, "true or false", hint, problems);
            return None;
        };
        Some(Found {
            value: *set,
            span: value.span(),
        })
    }

    /// The strings of an array.
    pub(super) fn strings(&self, key: &str, problems: &mut Problems<'_>) -> Vec<Found<&'a str>> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let Some(array) = value.get_ref().as_array() else {
            let hint = format!("write {key} = [\"…\"]");
            wrong_type(key, value, "an array of strings", hint, problems);
            return Vec::new();
        };
        let mut strings = Vec::new();
        for value in array {
            match value.get_ref().as_str() {
                Some(text) => strings.push(Found {
                    value: text,
                    span: value.span(),
                }),
                None => wrong_type(key, value, "strings", "write it in quotes", problems),
            }
        }
        strings
    }

    pub(super) fn integer(
        &self,
        key: &str,
        range: RangeInclusive<u32>,
        problems: &mut Problems<'_>,
    ) -> Option<Found<u32>> {
        let value = self.get(key)?;
        let hint = format!("write a number from {} to {}", range.start(), range.end());
        let DeValue::Integer(digits) = value.get_ref() else {
            wrong_type(key, value, "an integer", hint, problems);
            return None;
        };
        let number = u32::from_str_radix(digits.as_str(), digits.radix());
        if let Some(number) = number.ok().filter(|n| range.contains(n)) {
            let span = value.span();
            return Some(Found {
                value: number,
                span,
            });
        }
        problems.report(
            value.span(),
            format!("{key} = {digits} is out of range"),
            hint,
        );
        None
    }

    pub(super) fn section(
        &self,
        key: &str,
        name: &'a str,
        problems: &mut Problems<'_>,
    ) -> Option<Self> {
        let value = self.get(key)?;
        as_section(value, key, name, problems)
    }

    /// The tables of an array of tables.
    pub(super) fn sections(
        &self,
        key: &str,
        name: &'a str,
        problems: &mut Problems<'_>,
    ) -> Vec<Self> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let Some(array) = value.get_ref().as_array() else {
            let hint = format!("write {name}, with two brackets on each side");
            wrong_type(key, value, "an array of tables", hint, problems);
            return Vec::new();
        };
        array
            .iter()
            .filter_map(|v| as_section(v, key, name, problems))
            .collect()
    }
}

pub(super) fn as_section<'a>(
    value: &'a Spanned<DeValue<'a>>,
    key: &str,
    name: &'a str,
    problems: &mut Problems<'_>,
) -> Option<Section<'a>> {
    let Some(table) = value.get_ref().as_table() else {
        let hint = format!("write {name} on a line of its own, and its keys below");
        wrong_type(key, value, "a table", hint, problems);
        return None;
    };
    Some(Section::new(table, name, value.span()))
}

pub(super) fn wrong_type(
    key: &str,
    value: &Spanned<DeValue<'_>>,
    wanted: &str,
    hint: impl Into<String>,
    problems: &mut Problems<'_>,
) {
    let is = match value.get_ref().type_str() {
        kind @ ("integer" | "array") => format!("an {kind}"),
        kind => format!("a {kind}"),
    };
    let message = format!("`{key}` is {is}, but should be {wanted}");
    problems.report(value.span(), message, hint);
}
