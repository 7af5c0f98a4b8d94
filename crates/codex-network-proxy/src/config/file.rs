//! Reads one TOML file and knows its lines, so that every rule and every mistake can name its place.
//!
//! Main type: [`SourceFile`]. Comes in: a path. Goes out: the parsed table with spans, origins for rules and errors with
//! line and column. It does not know which keys mean something; `profile` and `network` do.

use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use codex_network_policy::Origin;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Place, clip, printable};
use super::stamp::{SIZE_LIMIT, Stamp, content};

/// One config file, or one flag, as text with the offsets of its lines.
#[derive(Debug)]
pub(super) struct SourceFile {
    path: PathBuf,
    label: Arc<str>,
    text: String,
    line_starts: Vec<usize>,
    /// Lines are told of files only.
    flag: bool,
}

impl SourceFile {
    /// Reads the file; `None` if there is none. `stamp` is set whatever comes of it.
    pub(super) fn read(path: &Path, stamp: &mut Stamp) -> Result<Option<Self>, ConfigError> {
        let label = label(path);
        let unreadable = |error: std::io::Error| {
            ConfigError::new(format!("cannot read the config file: {error}"))
                .in_file(Arc::clone(&label))
                .caused_by(error)
        };
        *stamp = Stamp::of(path);
        // Looked at before it is opened: opening a named pipe would wait for a writer for ever.
        let metadata = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        if !metadata.is_file() {
            let found = if metadata.is_dir() {
                "a directory"
            } else {
                "something else"
            };
            return Err(ConfigError::new(format!(
                "the config must be a regular file, and this is {found}"
            ))
            .in_file(label));
        }
        let bytes = content(path).map_err(unreadable)?;
        // With the facts from before the read: a change meanwhile is seen as one afterwards.
        *stamp = Stamp::read(&metadata, &bytes);
        if bytes.len() as u64 > SIZE_LIMIT {
            let limit = SIZE_LIMIT / (1024 * 1024);
            return Err(
                ConfigError::new(format!("the config file is larger than {limit} MiB"))
                    .in_file(label),
            );
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
            ConfigError::new(format!("line {line} is not UTF-8; a TOML file must be"))
                .in_file(Arc::clone(&label))
                .caused_by(error)
        })?;
        Ok(Some(Self::from_text(path.to_owned(), text)))
    }

    /// What is said of a file that was asked for by name and is not there.
    pub(super) fn missing(path: &Path) -> ConfigError {
        ConfigError::new("there is no such config file").in_file(label(path))
    }

    pub(super) fn from_text(path: PathBuf, text: String) -> Self {
        let ends = text
            .bytes()
            .enumerate()
            .filter(|(_, byte)| *byte == b'\n')
            .map(|(index, _)| index + 1);
        let line_starts = std::iter::once(0).chain(ends).collect();
        Self {
            label: label(&path),
            path,
            text,
            line_starts,
            flag: false,
        }
    }

    /// `-c key=value`: the value is TOML, or else a string.
    pub(super) fn from_flag(written: &str) -> Result<Self, ConfigError> {
        let refused = |what: &str| {
            ConfigError::new(format!("invalid `-c {}`: {what}", clip(written)))
                .key_path("-c")
                .found(written)
                .expecting(
                    "expected `-c key=value`, such as `-c permissions.web.network.mode=limited`",
                )
        };
        let (key, value) = written
            .split_once('=')
            .ok_or_else(|| refused("there is no `=`"))?;
        let key = key.trim();
        // The key alone must be one key: what follows it could be anything else.
        let probe = format!("{key} = 0");
        let one_key = !key.contains(['\n', '\r', '#'])
            && DeTable::parse(&probe).is_ok_and(|table| table.get_ref().len() == 1);
        if !one_key {
            return Err(refused(&format!("`{}` is no key", clip(key))));
        }
        let value = value.trim();
        let value = match DeValue::parse(value) {
            Ok(_) => value.to_owned(),
            // TOML's basic strings have the escapes of JSON.
            Err(_) => serde_json::Value::from(value).to_string(),
        };
        Ok(Self {
            label: Arc::from("-c"),
            flag: true,
            ..Self::from_text(PathBuf::new(), format!("{key} = {value}"))
        })
    }

    /// A mistake in a line that only its number is known of: under `needle`, if it is there, or under all of it.
    pub(super) fn error_in_line(
        &self,
        line: u32,
        needle: Option<&str>,
        message: impl AsRef<str>,
    ) -> ConfigError {
        let index = usize::try_from(line)
            .unwrap_or(usize::MAX)
            .saturating_sub(1);
        let start = self.line_starts.get(index).copied().unwrap_or_default();
        let text = self.text[start..].split('\n').next().unwrap_or_default();
        let found = needle.and_then(|needle| {
            let at = text
                .to_ascii_lowercase()
                .find(&needle.to_ascii_lowercase())?;
            Some(at..at + needle.len())
        });
        let whole = text.len() - text.trim_start().len()..text.trim_end().len();
        let span = found.unwrap_or(whole);
        self.error(start + span.start..start + span.end, message)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path as it stands in messages.
    pub(super) fn label(&self) -> Arc<str> {
        Arc::clone(&self.label)
    }

    pub(super) fn parse(&self) -> Result<DeTable<'_>, ConfigError> {
        match DeTable::parse(&self.text) {
            Ok(table) => Ok(table.into_inner()),
            Err(error) => {
                let message = format!("not valid TOML: {}", error.message());
                let end = self.text.len();
                Err(self
                    .error(error.span().unwrap_or(end..end), message)
                    .caused_by(error))
            }
        }
    }

    /// Where a rule came from.
    pub(super) fn origin(&self, offset: usize) -> Origin {
        let (line, _) = self.line_of(offset);
        Origin {
            source: Arc::clone(&self.label),
            line: NonZeroU32::new(line).filter(|_| !self.flag),
        }
    }

    /// A mistake at this span.
    pub(super) fn error(&self, span: Range<usize>, message: impl AsRef<str>) -> ConfigError {
        ConfigError::new(message)
            .in_file(Arc::clone(&self.label))
            .at(self.place(span))
    }

    /// The number of the line, from 1, and the offset where it begins.
    fn line_of(&self, offset: usize) -> (u32, usize) {
        let line = self
            .line_starts
            .partition_point(|start| *start <= offset)
            .max(1);
        (
            u32::try_from(line).unwrap_or(u32::MAX),
            self.line_starts[line - 1],
        )
    }

    fn place(&self, span: Range<usize>) -> Place {
        const CONTEXT: usize = 60;
        const WIDEST: usize = 120;
        let offset = self
            .text
            .floor_char_boundary(span.start.min(self.text.len()));
        let (line, start) = self.line_of(offset);
        let rest = &self.text[start..];
        let text = rest
            .split('\n')
            .next()
            .unwrap_or_default()
            .trim_end_matches('\r');
        let column = self.text[start..offset].chars().count();
        let length = self.text[offset
            ..self
                .text
                .floor_char_boundary(span.end.clamp(offset, self.text.len()))]
            .chars()
            .take_while(|character| *character != '\n' && *character != '\r')
            .take(WIDEST)
            .count();
        // A line of a megabyte is legal TOML; only the part around the mistake is shown.
        let cut = column.saturating_sub(CONTEXT);
        // A tab is as wide as the terminal likes; a space keeps the caret under its column.
        let spaced = |character| if character == '\t' { ' ' } else { character };
        let shown: String = text.chars().skip(cut).take(WIDEST).map(spaced).collect();
        let caret = column - cut;
        let caret_length = length.min(shown.chars().count().saturating_sub(caret));
        Place {
            line: if self.flag { 0 } else { line },
            column: u32::try_from(column + 1).unwrap_or(u32::MAX),
            excerpt: printable(&shown),
            caret,
            caret_length,
        }
    }
}

fn label(path: &Path) -> Arc<str> {
    Arc::from(printable(&path.to_string_lossy()))
}
