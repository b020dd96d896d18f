//! What a knob takes.

use std::fmt;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Range {
    /// Both ends included.
    Number { min: u32, max: u32 },
    /// A power of two.
    PowerOfTwo { max: u32 },
    /// Two numbers, the first less than the second.
    Pair,
    /// A word or a list.
    Words(&'static str),
}

impl Range {
    pub(super) const SWITCH: Self = Self::Number { min: 0, max: 1 };

    /// The value in the form in which it is shown; `None`: it is not in range.
    pub(super) fn read(self, text: &str) -> Option<String> {
        let words: Vec<_> = text.split_whitespace().collect();
        let numbers: Option<Vec<u32>> = words.iter().map(|w| w.parse().ok()).collect();
        let fits = match (self, numbers.as_deref()) {
            (Self::Number { min, max }, Some([n])) => (min..=max).contains(n),
            (Self::PowerOfTwo { max }, Some([n])) => n.is_power_of_two() && *n <= max,
            (Self::Pair, Some([first, second])) => first < second,
            (Self::Words(_), _) => !words.is_empty(),
            (Self::Number { .. } | Self::PowerOfTwo { .. } | Self::Pair, _) => false,
        };
        let shown = match numbers {
            Some(numbers) => numbers.iter().map(u32::to_string).collect(),
            None => words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>(),
        };
        fits.then(|| shown.join(" "))
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::SWITCH => f.write_str("0 or 1"),
            Self::Number { min, max } => write!(f, "{min} to {max}"),
            Self::PowerOfTwo { max } => write!(f, "a power of two up to {max}"),
            Self::Pair => f.write_str("two numbers, the first less than the second"),
            Self::Words(what) => f.write_str(what),
        }
    }
}
