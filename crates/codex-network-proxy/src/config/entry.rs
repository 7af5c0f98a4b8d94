//! The layers merged as TOML: one key with its value, its place and its full name, and the types that a value may have.
//!
//! Main types: [`Table`] and [`Entry`]. Comes in: the parsed tables of all layers. Goes out: booleans, strings and tables, or an error that names the key,
//! what was found and what was expected. It does not know any key by name.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use codex_network_policy::Origin;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::error::{ConfigError, clip};
use super::file::SourceFile;

/// A table with the path that leads to it, such as `permissions.web.network`, merged from all layers that have it.
///
/// Nothing is copied: a key is looked for from the highest layer down, and a table is merged with the tables below it key
/// by key when it is entered. So every value keeps its place in its file.
#[derive(Clone, Debug)]
pub(super) struct Table<'a> {
    path: Arc<str>,
    /// The highest layer first.
    strata: Vec<Stratum<'a>>,
}

/// The part of a table that one layer wrote.
#[derive(Clone, Copy, Debug)]
struct Stratum<'a> {
    file: &'a SourceFile,
    entries: &'a DeTable<'a>,
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry<'a> {
    file: &'a SourceFile,
    table_path: Arc<str>,
    key: &'a Spanned<DeString<'a>>,
    value: &'a Spanned<DeValue<'a>>,
    /// The tables of lower layers that the value, a table, is merged with.
    below: Vec<Stratum<'a>>,
}

/// A string of a config file with its place.
#[derive(Clone, Debug)]
pub(super) struct Text<'a> {
    file: &'a SourceFile,
    span: Range<usize>,
    text: &'a str,
}

impl<'a> Table<'a> {
    /// The root of all layers, the highest first.
    pub(super) fn root(layers: impl Iterator<Item = (&'a SourceFile, &'a DeTable<'a>)>) -> Self {
        Self {
            path: Arc::from(""),
            strata: layers
                .map(|(file, entries)| Stratum { file, entries })
                .collect(),
        }
    }

    /// The parts that the layers wrote, each as a table of its own, the highest first.
    pub(super) fn parts(&self) -> impl Iterator<Item = Self> + '_ {
        self.strata.iter().map(|stratum| Self {
            path: Arc::clone(&self.path),
            strata: vec![*stratum],
        })
    }

    /// The part that one layer wrote.
    pub(super) fn part_of(&self, file: &SourceFile) -> Option<Self> {
        let own = |part: &Self| part.strata.iter().any(|it| std::ptr::eq(it.file, file));
        self.parts().find(own)
    }

    /// The file of the highest layer.
    pub(super) fn file(&self) -> Option<&'a SourceFile> {
        self.strata.first().map(|stratum| stratum.file)
    }

    /// Where the table stands in its files: `[permissions.web.network]` without the brackets; empty for the root.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let tables: Vec<&'a DeTable<'a>> = self.strata.iter().map(|it| it.entries).collect();
        tables
            .into_iter()
            .flat_map(|entries| entries.keys().map(|key| key.get_ref().as_ref()))
    }

    pub(super) fn entry(&self, key: &str) -> Option<Entry<'a>> {
        let holds = |stratum: &Stratum<'a>| stratum.entries.get_key_value(key);
        let (at, (found, value)) = self
            .strata
            .iter()
            .enumerate()
            .find_map(|(at, stratum)| Some((at, holds(stratum)?)))?;
        Some(self.with(at, found, value))
    }

    /// All entries in the order of the layers and the files, so that the first mistake is the one that is told. Of equal
    /// keys the highest layer's counts.
    pub(super) fn entries(&self) -> Vec<Entry<'a>> {
        let mut merged: Vec<Entry<'a>> = Vec::new();
        let mut seen = BTreeSet::new();
        for (at, stratum) in self.strata.iter().enumerate() {
            let mut entries: Vec<_> = stratum
                .entries
                .iter()
                .filter(|(key, _)| self.strata.len() == 1 || seen.insert(key.get_ref().as_ref()))
                .map(|(key, value)| self.with(at, key, value))
                .collect();
            entries.sort_by_key(|entry| entry.key.span().start);
            merged.append(&mut entries);
        }
        merged
    }

    fn with(
        &self,
        at: usize,
        key: &'a Spanned<DeString<'a>>,
        value: &'a Spanned<DeValue<'a>>,
    ) -> Entry<'a> {
        let mut below = Vec::new();
        if value.get_ref().is_table() {
            for stratum in self.strata.iter().skip(at + 1) {
                match stratum.entries.get(key.get_ref().as_ref()) {
                    None => {}
                    Some(lower) => match lower.get_ref() {
                        DeValue::Table(entries) => below.push(Stratum {
                            file: stratum.file,
                            entries,
                        }),
                        // What is no table hides all that lies below it.
                        _ => break,
                    },
                }
            }
        }
        Entry {
            file: self.strata[at].file,
            table_path: Arc::clone(&self.path),
            key,
            value,
            below,
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

    /// A port that something can listen on.
    pub(super) fn port(&self) -> Result<u16, ConfigError> {
        const EXPECTED: &str = "a port from 1 to 65535";
        let DeValue::Integer(number) = self.value.get_ref() else {
            return Err(self.wrong_type(self.value.span(), self.value.get_ref(), EXPECTED));
        };
        match u16::from_str_radix(number.as_str(), number.radix()) {
            Ok(port) if port != 0 => Ok(port),
            Ok(_) | Err(_) => {
                let path = self.path();
                let shown = clip(&number.to_string());
                Err(self
                    .value_error(format!("invalid value for `{}`: {shown}", clip(&path)))
                    .found(shown)
                    .expecting(format!("expected {EXPECTED}")))
            }
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

    /// The strings of an array one by one, for it can have a million of them.
    pub(super) fn texts(
        &self,
    ) -> Result<impl ExactSizeIterator<Item = Result<Text<'a>, ConfigError>>, ConfigError> {
        match self.value.get_ref() {
            DeValue::Array(items) => Ok(items
                .iter()
                .map(|item| self.text_of(item, "an array of strings"))),
            other => Err(self.wrong_type(self.value.span(), other, "an array of strings")),
        }
    }

    pub(super) fn table(&self) -> Result<Table<'a>, ConfigError> {
        match self.value.get_ref() {
            DeValue::Table(entries) => {
                let own = Stratum {
                    file: self.file,
                    entries,
                };
                Ok(Table {
                    path: Arc::from(self.path()),
                    strata: std::iter::once(own)
                        .chain(self.below.iter().copied())
                        .collect(),
                })
            }
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
