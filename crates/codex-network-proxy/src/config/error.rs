//! What is wrong with the configuration, told the way `cargo` and `rustc` tell it: the place, the line, a caret.
//!
//! Main type: [`ConfigError`]. Comes in: a message and, where the mistake is in a file, the place of it. Goes out: text
//! for a person. It does not judge anything, and it never prints bytes of a file that a terminal would obey.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// A mistake in a config file, in a value given on the command line, or in where the config is looked for.
///
/// `Display` renders all of it, over several lines where there is a line of a file to show.
#[derive(Debug)]
pub struct ConfigError {
    details: Box<Details>,
}

#[derive(Debug)]
struct Details {
    message: String,
    file: Option<Arc<str>>,
    place: Option<Place>,
    key: Option<String>,
    value: Option<String>,
    expected: Option<String>,
    suggestion: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// Where in a file, with the part of the line that is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Both counted from 1; the column counts characters. A flag's line is 0.
    pub(super) line: u32,
    pub(super) column: u32,
    /// One line, cut to a width that fits a terminal.
    pub(super) excerpt: String,
    /// In characters of `excerpt`.
    pub(super) caret: usize,
    pub(super) caret_length: usize,
}

impl ConfigError {
    /// The file, as the user named it or as the proxy found it.
    pub fn file(&self) -> Option<&str> {
        self.details.file.as_deref()
    }

    /// The line of the mistake, counted from 1.
    pub fn line(&self) -> Option<u32> {
        let line = self.details.place.as_ref().map(|place| place.line);
        line.filter(|line| *line != 0)
    }

    /// The column of the mistake in characters, counted from 1.
    pub fn column(&self) -> Option<u32> {
        self.details.place.as_ref().map(|place| place.column)
    }

    /// The full path of the key, such as `permissions.web.network.mode`.
    pub fn key(&self) -> Option<&str> {
        self.details.key.as_deref()
    }

    /// The value that was refused.
    pub fn value(&self) -> Option<&str> {
        self.details.value.as_deref()
    }

    /// What would have been right.
    pub fn expected(&self) -> Option<&str> {
        self.details.expected.as_deref()
    }

    /// The known word that is nearest to the one that was found.
    pub fn suggestion(&self) -> Option<&str> {
        self.details.suggestion.as_deref()
    }

    /// What is wrong, in one sentence without place and advice.
    pub fn message(&self) -> &str {
        &self.details.message
    }

    /// The whole on one line, for a log: place, message, advice.
    pub fn summary(&self) -> String {
        let file = self.file().unwrap_or_default();
        let place = match (file, self.line(), self.column()) {
            ("", _, _) => String::new(),
            (file, Some(line), Some(column)) => format!("{file}:{line}:{column}: "),
            (file, _, _) => format!("{file}: "),
        };
        match self.advice() {
            Some(advice) => format!("{place}{}: {advice}", self.message()),
            None => format!("{place}{}", self.message()),
        }
    }

    /// Whether a file could not be read, which may pass without the file being changed.
    pub(crate) fn is_unreadable(&self) -> bool {
        let source = self.details.source.as_deref();
        source.is_some_and(|source| source.is::<std::io::Error>())
    }

    pub(super) fn new(message: impl AsRef<str>) -> Self {
        Self {
            details: Box::new(Details {
                message: printable(message.as_ref()),
                file: None,
                place: None,
                key: None,
                value: None,
                expected: None,
                suggestion: None,
                source: None,
            }),
        }
    }

    pub(super) fn in_file(mut self, file: Arc<str>) -> Self {
        self.details.file = Some(file);
        self
    }

    pub(super) fn at(mut self, place: Place) -> Self {
        self.details.place = Some(place);
        self
    }

    pub(super) fn key_path(mut self, key: impl Into<String>) -> Self {
        self.details.key = Some(key.into());
        self
    }

    pub(super) fn found(mut self, value: impl Into<String>) -> Self {
        self.details.value = Some(value.into());
        self
    }

    pub(super) fn expecting(mut self, expected: impl AsRef<str>) -> Self {
        self.details.expected = Some(printable(expected.as_ref()));
        self
    }

    /// Suggests the known word nearest to `word`, if one is near enough to be what was meant.
    pub(super) fn nearest<'a>(
        mut self,
        word: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        self.details.suggestion = nearest(word, known).map(str::to_owned);
        self
    }

    pub(super) fn caused_by(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.details.source = Some(Box::new(source));
        self
    }

    fn advice(&self) -> Option<String> {
        let suggestion = self
            .suggestion()
            .map(|word| format!("did you mean `{}`?", clip(word)));
        match (self.expected(), suggestion) {
            (Some(expected), Some(suggestion)) => Some(format!("{expected}; {suggestion}")),
            (Some(expected), None) => Some(expected.to_owned()),
            (None, suggestion) => suggestion,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let advice = self.advice();
        let Some(place) = &self.details.place else {
            if let Some(file) = self.file() {
                write!(formatter, "{file}: ")?;
            }
            formatter.write_str(self.message())?;
            return match advice {
                Some(advice) => write!(formatter, ": {advice}"),
                None => Ok(()),
            };
        };
        let file = self.file().unwrap_or("config");
        // A flag has one line, and nobody counts it.
        let number = match place.line {
            0 => {
                writeln!(formatter, "{file}: {}", self.message())?;
                String::new()
            }
            line => {
                writeln!(
                    formatter,
                    "{file}:{line}:{}: {}",
                    place.column,
                    self.message()
                )?;
                line.to_string()
            }
        };
        let gutter = " ".repeat(number.len());
        writeln!(formatter, "{gutter} |")?;
        writeln!(formatter, "{number} | {}", place.excerpt)?;
        let indent = " ".repeat(place.caret);
        let carets = "^".repeat(place.caret_length.max(1));
        write!(formatter, "{gutter} | {indent}{carets}")?;
        match advice {
            Some(advice) => write!(formatter, " {advice}"),
            None => Ok(()),
        }
    }
}

impl Error for ConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.details.source.as_deref()?;
        Some(source)
    }
}

/// A piece of a user's text, short and harmless enough to stand in a message.
pub(super) fn clip(text: &str) -> String {
    const LONGEST: usize = 100;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", printable(&text[..end])),
        None => printable(text),
    }
}

/// Control characters could move the cursor or hide text in a terminal, so they are shown as one mark each.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|character| {
            if character.is_control() {
                '\u{fffd}'
            } else {
                character
            }
        })
        .collect()
}

fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Nobody mistypes a word this long, and the comparison costs by the product of the lengths.
    if word.len() > 64 {
        return None;
    }
    let word = word.to_ascii_lowercase().replace('-', "_");
    let most = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .filter(|candidate| candidate.len() <= 64)
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&word, &candidate.to_ascii_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
