//! Turns what a user wrote, a pattern, a socket path or an address, into what the program uses.
//!
//! Main types: [`Written`], a text and where it was written, and [`List`], which of the two lists a pattern stands in. Goes
//! out: a rule of the policy with its origin, or an error that names the key, the text and the forms that are supported.
//! What a rule means is the policy's business.

use std::sync::Arc;

use codex_network_policy::{
    HostPattern, Origin, PatternError, Rule, SocketPath, SocketPathError, SocketRule,
};

use super::entry::Text;
use super::error::{ConfigError, clip};
use super::listen::{Address, Listener};

/// One of the two lists of host patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Allowed,
    Denied,
}

/// A pattern or a path, and where it was written.
#[derive(Clone, Debug)]
pub(super) enum Written<'a> {
    InFile(Text<'a>),
    /// A flag, or the field of a config that was given as data.
    Given {
        by: &'a Arc<str>,
        text: &'a str,
    },
}

impl List {
    pub(super) fn field(self) -> &'static str {
        match self {
            Self::Allowed => "network.allowed_domains",
            Self::Denied => "network.denied_domains",
        }
    }
}

impl<'a> Written<'a> {
    pub(super) fn rule(&self, list: List) -> Result<Rule, ConfigError> {
        // One text for every refused pattern: what is allowed is the same whatever was wrong.
        let error = |cause| {
            let field = self.field(list.field());
            let text = clip(self.text());
            self.error(format!(
                "invalid value for {field}: {text} (allowed exact hosts or scoped wildcards like *.example.com or **.example.com)"
            ))
            .key_path(field)
            .expecting(problem(&cause))
            .caused_by(cause)
        };
        let pattern = HostPattern::parse(self.text().trim()).map_err(error)?;
        Ok(Rule {
            pattern,
            origin: self.origin(),
        })
    }

    /// `field` is the key, with the index where it is an array.
    pub(super) fn socket_rule(&self, field: &str) -> Result<SocketRule, ConfigError> {
        let error = |cause: SocketPathError| {
            let message = format!("invalid {field}: {}", clip(self.text()));
            self.error(message)
                .key_path(field)
                .expecting(cause.to_string())
                .caused_by(cause)
        };
        let path = SocketPath::parse(self.text()).map_err(error)?;
        Ok(SocketRule {
            path,
            origin: self.origin(),
        })
    }

    pub(super) fn address(&self, listener: Listener) -> Result<Address, ConfigError> {
        listener.address(self.text()).map_err(|cause| {
            let field = format!("network.{}", listener.key());
            let message = format!("invalid {field}: {}", clip(self.text()));
            self.error(message)
                .key_path(field)
                .expecting(cause.to_string())
                .caused_by(cause)
        })
    }

    fn text(&self) -> &'a str {
        match self {
            Self::InFile(text) => text.as_str(),
            Self::Given { text, .. } => text,
        }
    }

    /// A flag is called by its own name, for the user who gave it may have no file.
    fn field(&self, field: &'static str) -> &'a str {
        match self {
            Self::InFile(_) => field,
            Self::Given { by, .. } => by,
        }
    }

    fn origin(&self) -> Origin {
        match self {
            Self::InFile(text) => text.origin(),
            Self::Given { by, .. } => Origin {
                source: Arc::clone(by),
                line: None,
            },
        }
    }

    fn error(&self, message: String) -> ConfigError {
        match self {
            Self::InFile(text) => text.error(message),
            Self::Given { text, .. } => ConfigError::new(message).found(*text),
        }
    }
}

/// What is wrong with a pattern, without the text and the supported forms, which the message holds already.
fn problem(error: &PatternError) -> String {
    match error {
        PatternError::GlobalWildcard { .. } => "it would match every host".to_owned(),
        PatternError::Unsupported { problem, .. } => (*problem).to_owned(),
        PatternError::Host { error, .. } => error.to_string(),
    }
}
