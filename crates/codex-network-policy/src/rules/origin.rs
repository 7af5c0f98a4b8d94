//! The place where a rule is written.
//!
//! [`Origin`] is put into every entry by whoever reads it, and shown wherever an entry decides. It is a name for people:
//! nothing is opened by it.

use alloc::sync::Arc;
use core::fmt;
use core::num::NonZeroU32;

/// Where a rule is written: a file and a line, or a flag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The file, the flag, or whatever else the user would recognise. Rules of one file share one text.
    pub source: Arc<str>,
    /// The line in the file, counted from one.
    pub line: Option<NonZeroU32>,
}

impl Origin {
    /// The origin of a rule that was not read from a file, such as `--allow`.
    pub fn flag(name: &str) -> Origin {
        Origin {
            source: name.into(),
            line: None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(formatter, "{}:{line}", self.source),
            None => formatter.write_str(&self.source),
        }
    }
}
