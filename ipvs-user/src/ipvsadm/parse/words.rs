//! Splits words into options as popt does: short ones may be bundled, a value may follow directly or as the next word, other
//! words are left over.

use super::super::{
    REFUSED, Usage,
    grammar::{SPELLINGS, Spelling, Value, Word},
};

/// An option of the command line with its value.
pub(super) struct Token<'a> {
    /// The word it came in.
    pub(super) raw: &'a str,
    pub(super) word: Word,
    pub(super) value: Option<&'a str>,
}

pub(super) struct Words<'a> {
    rest: std::slice::Iter<'a, String>,
    /// The word whose short options are being read, and those not read yet.
    bundle: Option<(&'a str, &'a str)>,
    pub(super) left_over: Vec<&'a str>,
}

impl<'a> Words<'a> {
    pub(super) fn new(args: &'a [String]) -> Self {
        Self {
            rest: args.iter(),
            bundle: None,
            left_over: Vec::new(),
        }
    }

    fn short(&mut self, raw: &'a str, rest: &'a str) -> Result<Token<'a>, Usage> {
        let mut chars = rest.chars();
        let letter = chars.next();
        let found = SPELLINGS
            .iter()
            .find(|s| s.short.is_some() && s.short == letter);
        let found = found.ok_or_else(|| bad(raw, "unknown option"))?;
        let rest = chars.as_str();
        let direct = (found.value != Value::No && !rest.is_empty())
            .then(|| rest.strip_prefix('=').unwrap_or(rest));
        if direct.is_none() && !rest.is_empty() {
            self.bundle = Some((raw, rest));
        }
        self.with_value(raw, found, direct)
    }

    fn long(&mut self, raw: &'a str, text: &'a str) -> Result<Token<'a>, Usage> {
        let (name, direct) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let found = SPELLINGS
            .iter()
            .find(|s| s.long == name)
            .ok_or_else(|| bad(raw, "unknown option"))?;
        if direct.is_some() && found.value == Value::No {
            return Err(bad(raw, "option does not take an argument"));
        }
        self.with_value(raw, found, direct)
    }

    fn with_value(
        &mut self,
        raw: &'a str,
        found: &Spelling,
        direct: Option<&'a str>,
    ) -> Result<Token<'a>, Usage> {
        let value = match (direct, found.value) {
            (Some(value), _) => Some(value),
            (None, Value::No) => None,
            (None, Value::Needed) => {
                let next = self.rest.next().map(String::as_str);
                Some(next.ok_or_else(|| bad(raw, "missing argument"))?)
            }
            (None, Value::Possible) => {
                let next = self.rest.as_slice().first();
                next.filter(|w| !w.starts_with('-'))
                    .and_then(|_| self.rest.next())
                    .map(String::as_str)
            }
        };
        Ok(Token {
            raw,
            word: found.word,
            value,
        })
    }
}

/// popt's own complaints come out with another status than the tool's.
fn bad(word: &str, what: &str) -> Usage {
    Usage {
        status: REFUSED,
        message: format!("{word}: {what}"),
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = Result<Token<'a>, Usage>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some((raw, rest)) = self.bundle.take() {
            return Some(self.short(raw, rest));
        }
        loop {
            let word = self.rest.next()?.as_str();
            if word == "--" {
                self.left_over
                    .extend(self.rest.by_ref().map(String::as_str));
                return None;
            }
            if let Some(text) = word.strip_prefix("--") {
                return Some(self.long(word, text));
            }
            match word.strip_prefix('-') {
                Some(letters) if !letters.is_empty() => return Some(self.short(word, letters)),
                Some(_) | None => self.left_over.push(word),
            }
        }
    }
}
