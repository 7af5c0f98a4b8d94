//! One key of a TOML table with its value, its place and its full name, and the types that a value may have.
//!
//! Main type: [`Entry`]. Comes in: a parsed table. Goes out: booleans, strings and tables, or an error that names the key,
//! what was found and what was expected. It does not know any key by name.

use std::ops::Range;
use std::sync::Arc;

use codex_network_policy::Origin;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::error::{ConfigError, clip};
use super::file::SourceFile;

/// A table of a config file with the path that leads to it, such as `permissions.web.network`.
#[derive(Clone, Debug)]
pub(super) struct Table<'a> {
    file: &'a SourceFile,
    path: Arc<str>,
    entries: &'a DeTable<'a>,
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry<'a> {
    file: &'a SourceFile,
    table_path: Arc<str>,
    key: &'a Spanned<DeString<'a>>,
    value: &'a Spanned<DeValue<'a>>,
}

/// A string of a config file with its place.
#[derive(Clone, Debug)]
pub(super) struct Text<'a> {
    file: &'a SourceFile,
    span: Range<usize>,
    text: &'a str,
}

impl<'a> Table<'a> {
    pub(super) fn root(file: &'a SourceFile, entries: &'a DeTable<'a>) -> Self {
        Self {
            file,
            path: Arc::from(""),
            entries,
        }
    }

    pub(super) fn file(&self) -> &'a SourceFile {
        self.file
    }

    /// Where the table stands in the file: `[permissions.web.network]` without the brackets; empty for the root.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.entries.keys().map(|key| key.get_ref().as_ref())
    }

    pub(super) fn entry(&self, key: &str) -> Option<Entry<'a>> {
        self.entries
            .get_key_value(key)
            .map(|(key, value)| self.with(key, value))
    }

    /// All entries in the order of the file, so that the first mistake is the one that is told.
    pub(super) fn entries(&self) -> Vec<Entry<'a>> {
        let mut entries: Vec<_> = self
            .entries
            .iter()
            .map(|(key, value)| self.with(key, value))
            .collect();
        entries.sort_by_key(|entry| entry.key.span().start);
        entries
    }

    fn with(&self, key: &'a Spanned<DeString<'a>>, value: &'a Spanned<DeValue<'a>>) -> Entry<'a> {
        Entry {
            file: self.file,
            table_path: Arc::clone(&self.path),
            key,
            value,
        }
    }
}

impl<'a> Entry<'a> {
    pub(super) fn key(&self) -> &'a str {
        self.key.get_ref()
    }

    /// The key with all that leads to it: `permissions.web.network.mode`.
    pub(super) fn path(&self) -> String {
        let name = quoted(self.key());
        if self.table_path.is_empty() {
            name
        } else {
            format!("{}.{name}", self.table_path)
        }
    }

    pub(super) fn table_path(&self) -> &str {
        &self.table_path
    }

    /// The key itself as a text with a place: in a table of patterns the keys are what the user wrote.
    pub(super) fn key_text(&self) -> Text<'a> {
        Text {
            file: self.file,
            span: self.key.span(),
            text: self.key(),
        }
    }

    pub(super) fn origin(&self) -> Origin {
        self.file.origin(self.key.span().start)
    }

    /// A mistake in the key.
    pub(super) fn key_error(&self, message: impl AsRef<str>) -> ConfigError {
        self.file
            .error(self.key.span(), message)
            .key_path(self.path())
    }

    /// A mistake in the value.
    pub(super) fn value_error(&self, message: impl AsRef<str>) -> ConfigError {
        self.file
            .error(self.value.span(), message)
            .key_path(self.path())
    }

    pub(super) fn boolean(&self) -> Result<bool, ConfigError> {
        match self.value.get_ref() {
            DeValue::Boolean(value) => Ok(*value),
            other => Err(self.wrong_type(self.value.span(), other, "`true` or `false`")),
        }
    }

    pub(super) fn text(&self) -> Result<Text<'a>, ConfigError> {
        self.text_of(self.value, "a string")
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, ConfigError> {
        let text = self.text()?.text;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        let known: Vec<String> = words
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect();
        Err(self
            .value_error(format!(
                "invalid value for `{}`: \"{}\"",
                clip(&self.path()),
                clip(text)
            ))
            .found(text)
            .expecting(format!("expected {}", known.join(" or ")))
            .nearest(text, words.iter().map(|(word, _)| *word)))
    }

    pub(super) fn texts(&self) -> Result<Vec<Text<'a>>, ConfigError> {
        match self.value.get_ref() {
            DeValue::Array(items) => items
                .iter()
                .map(|item| self.text_of(item, "an array of strings"))
                .collect(),
            other => Err(self.wrong_type(self.value.span(), other, "an array of strings")),
        }
    }

    pub(super) fn table(&self) -> Result<Table<'a>, ConfigError> {
        match self.value.get_ref() {
            DeValue::Table(entries) => Ok(Table {
                file: self.file,
                path: Arc::from(self.path()),
                entries,
            }),
            other => Err(self.wrong_type(self.value.span(), other, "a table")),
        }
    }

    pub(super) fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    fn text_of(
        &self,
        value: &'a Spanned<DeValue<'a>>,
        expected: &str,
    ) -> Result<Text<'a>, ConfigError> {
        match value.get_ref() {
            DeValue::String(text) => Ok(Text {
                file: self.file,
                span: value.span(),
                text,
            }),
            other => Err(self.wrong_type(value.span(), other, expected)),
        }
    }

    fn wrong_type(&self, span: Range<usize>, value: &DeValue<'_>, expected: &str) -> ConfigError {
        let (found, shown) = described(value);
        self.file
            .error(
                span,
                format!("invalid type for `{}`: {found}", clip(&self.path())),
            )
            .key_path(self.path())
            .found(shown)
            .expecting(format!("expected {expected}"))
    }
}

impl<'a> Text<'a> {
    pub(super) fn as_str(&self) -> &'a str {
        self.text
    }

    pub(super) fn origin(&self) -> Origin {
        self.file.origin(self.span.start)
    }

    pub(super) fn error(&self, message: impl AsRef<str>) -> ConfigError {
        self.file.error(self.span.clone(), message).found(self.text)
    }
}

fn described(value: &DeValue<'_>) -> (String, String) {
    let (kind, shown) = match value {
        DeValue::String(text) => ("the string", format!("\"{}\"", clip(text))),
        DeValue::Integer(number) => ("the integer", clip(&number.to_string())),
        DeValue::Float(number) => ("the number", clip(&number.to_string())),
        DeValue::Boolean(value) => ("the boolean", value.to_string()),
        DeValue::Datetime(time) => ("the time", time.to_string()),
        DeValue::Array(_) => return ("an array".to_owned(), "an array".to_owned()),
        DeValue::Table(_) => return ("a table".to_owned(), "a table".to_owned()),
    };
    (format!("{kind} {shown}"), shown)
}

/// A key as it must be written in a dotted path.
pub(super) fn quoted(key: &str) -> String {
    let bare = !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if bare {
        key.to_owned()
    } else {
        format!("{key:?}")
    }
}
