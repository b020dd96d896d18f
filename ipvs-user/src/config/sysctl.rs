//! `[sysctl]`: ip_vs's knobs under their names.

use toml::{Spanned, de::DeValue};

use super::{
    problems::Problems,
    section::{Section, suggestion, wrong_type},
};
use crate::sysctl::{self, Knobs, SysctlError};

/// Names and values that can be set, in the order of the names.
pub(super) fn read(root: &Section<'_>, problems: &mut Problems<'_>) -> Vec<(String, String)> {
    let Some(section) = root.section("sysctl", "[sysctl]", problems) else {
        return Vec::new();
    };
    let mut knobs = Knobs::default();
    let mut given = Vec::new();
    for (name, value) in section.entries() {
        let Some(text) = text(name.value, value, problems) else {
            continue;
        };
        match knobs.set(name.value, &text) {
            Ok(()) => given.push((name.value.to_owned(), text)),
            Err(e) => {
                let span = match e {
                    SysctlError::Unknown { .. } => name.span,
                    SysctlError::Range { .. }
                    | SysctlError::DoesNotApply { .. }
                    | SysctlError::Tables(_) => value.span(),
                };
                let (message, hint) = explain(&e);
                problems.report(span, message, hint);
            }
        }
    }
    given
}

/// The value as one would write it into `/proc`. What is there may be a number, or a string where it is more than that.
fn text(name: &str, value: &Spanned<DeValue<'_>>, problems: &mut Problems<'_>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(digits) => {
            let number = i64::from_str_radix(digits.as_str(), digits.radix());
            Some(number.map_or_else(|_| digits.to_string(), |n| n.to_string()))
        }
        DeValue::Boolean(set) => {
            let hint = format!("write {name} = {}", u8::from(*set));
            wrong_type(name, value, "a number", hint, problems);
            None
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            let hint = format!("write {name} = 1, or {name} = \"3 50\" if it takes two numbers");
            wrong_type(name, value, "a number or a string", hint, problems);
            None
        }
    }
}

/// What is wrong, and what to write instead.
fn explain(e: &SysctlError) -> (String, String) {
    match e {
        SysctlError::Unknown { name, .. } => (
            format!("unknown key `{name}` in [sysctl]"),
            suggestion(name, &sysctl::names()),
        ),
        SysctlError::Range { name, value, range } => (
            format!("{name} = {value} is out of range"),
            format!("write {range}"),
        ),
        SysctlError::DoesNotApply {
            name,
            value,
            default,
            why,
        } => (
            format!("{name} = {value} does not apply here: {why}"),
            format!("leave it out, or write its default, {default}"),
        ),
        SysctlError::Tables(e) => (e.to_string(), "try again".to_owned()),
    }
}
