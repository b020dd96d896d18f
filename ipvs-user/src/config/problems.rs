//! Collects mistakes, and finds the place of each in the text.

use std::{cell::OnceCell, ops::Range};

use super::diagnostic::{Diagnostic, Position};

pub(super) struct Problems<'a> {
    file: &'a str,
    text: &'a str,
    /// Where the lines end, once somebody asks.
    lines: OnceCell<Vec<usize>>,
    /// With the offset in the text.
    found: Vec<(usize, Diagnostic)>,
}

impl<'a> Problems<'a> {
    pub(super) const fn new(file: &'a str, text: &'a str) -> Self {
        Self {
            file,
            text,
            lines: OnceCell::new(),
            found: Vec::new(),
        }
    }

    pub(super) fn report(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let diagnostic = Diagnostic {
            file: self.file.to_owned(),
            position: Some(self.position(&span)),
            message: message.into(),
            hint: hint.into(),
        };
        self.found.push((span.start, diagnostic));
    }

    pub(super) const fn any(&self) -> bool {
        !self.found.is_empty()
    }

    /// All of them, in the order of the text, if there are any.
    pub(super) fn stop_if_any(&mut self) -> Result<(), Vec<Diagnostic>> {
        if self.found.is_empty() {
            return Ok(());
        }
        let mut found = std::mem::take(&mut self.found);
        found.sort_by_key(|(at, _)| *at);
        Err(found.into_iter().map(|(_, d)| d).collect())
    }

    /// Line of an offset, counted from 1.
    pub(super) fn line_of(&self, at: usize) -> usize {
        let ends = self.lines.get_or_init(|| {
            let ends = self.text.bytes().enumerate();
            ends.filter(|(_, byte)| *byte == b'\n')
                .map(|(at, _)| at)
                .collect()
        });
        ends.partition_point(|end| *end < at) + 1
    }

    fn position(&self, span: &Range<usize>) -> Position {
        let start = self.text.floor_char_boundary(span.start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |n| n + 1);
        let rest = &self.text[line_start..];
        let text = rest.lines().next().unwrap_or_default();
        let end = span.end.min(line_start + text.len()).max(start);
        let end = self.text.floor_char_boundary(end);
        Position {
            line: self.line_of(start),
            column: self.text[line_start..start].chars().count() + 1,
            text: text.to_owned(),
            width: self.text[start..end].chars().count(),
        }
    }
}
