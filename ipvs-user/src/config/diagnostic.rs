//! One mistake, as a person wants to read it.

use std::fmt;

/// A mistake in a configuration file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    pub file: String,
    /// `None`: the file as a whole.
    pub position: Option<Position>,
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

/// Where it is. Lines and columns count from 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Position {
    pub line: usize,
    pub column: usize,
    /// The line.
    pub text: String,
    /// Characters to underline.
    pub width: usize,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, message, .. } = self;
        match &self.position {
            None => writeln!(f, "{file}: error: {message}")?,
            Some(p) => {
                writeln!(f, "{file}:{}:{}: error: {message}", p.line, p.column)?;
                let number = p.line.to_string();
                let margin = " ".repeat(number.len());
                // Tabs stay tabs, so that the caret stands below what it means.
                let before = p.text.chars().take(p.column - 1);
                let blank: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
                writeln!(f, "{number} | {}", p.text)?;
                writeln!(f, "{margin} | {blank}{}", "^".repeat(p.width.max(1)))?;
            }
        }
        write!(f, "  hint: {}", self.hint)
    }
}
