//! What a command that ends has to say, before any of it is written.
//!
//! Main type: [`Output`]. Commands return it, so that tests compare it whole; one place writes it, and a reader that goes
//! away early, such as `head`, is no failure.

use std::io::{self, Write};

use serde_json::Value;

/// The end of a command.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Output {
    /// For scripts and people.
    pub(super) stdout: String,
    /// For people: one line each.
    pub(super) notes: Vec<String>,
    /// The exit code: 0, or 1 for "no" and for what failed.
    pub(super) code: u8,
}

impl Output {
    /// Text and nothing else.
    pub(super) fn text(stdout: impl Into<String>) -> Self {
        Self {
            stdout: stdout.into(),
            ..Self::default()
        }
    }

    /// One JSON value, indented for people and read by programs all the same.
    pub(super) fn json(value: &Value) -> Self {
        Self::text(format!("{value:#}\n"))
    }

    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    pub(super) fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Writes everything.
    pub(super) fn write(&self) -> io::Result<()> {
        let mut stdout = anstream::stdout();
        let written = stdout
            .write_all(self.stdout.as_bytes())
            .and_then(|()| stdout.flush());
        for note in &self.notes {
            let _ = writeln!(anstream::stderr(), "codex-network-proxy: {note}");
        }
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written,
        }
    }
}
