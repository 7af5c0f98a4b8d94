//! Changes one entry in the text of a config file, and leaves everything else as its author wrote it.
//!
//! Main type: [`Edit`]. Comes in: the text. Goes out: the text with an entry more or less; comments, order, blank lines and
//! the style of lists stay. It reads and writes no file, and does not judge what an entry means.

use std::fmt;

use codex_network_policy::{HostPattern, SocketPath};
use toml_edit::{Array, DocumentMut, Item, Key, Table, TableLike, Value, value};

/// What is added or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Host(HostPattern),
    Socket(SocketPath),
}

/// Where a host goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Allowed,
    Denied,
}

impl List {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
        }
    }

    fn permission(self) -> &'static str {
        match self {
            Self::Allowed => "allow",
            Self::Denied => "deny",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Allowed => "allowed_domains",
            Self::Denied => "denied_domains",
        }
    }
}

impl Entry {
    fn text(&self) -> String {
        match self {
            Self::Host(pattern) => pattern.to_string(),
            Self::Socket(path) => path.to_string(),
        }
    }

    /// Whether a text of the file means the same.
    fn is(&self, text: &str) -> bool {
        match self {
            Self::Host(pattern) => HostPattern::parse(text.trim()).as_ref() == Ok(pattern),
            Self::Socket(path) => SocketPath::parse(text).as_ref() == Ok(path),
        }
    }

    /// The array and the table that can hold it, and the word in the table.
    fn places(&self, list: List) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Host(_) => (list.key(), "domains", list.permission()),
            Self::Socket(_) => ("allow_unix_sockets", "unix_sockets", "allow"),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(pattern) => write!(formatter, "{pattern}"),
            Self::Socket(path) => write!(formatter, "unix:{path}"),
        }
    }
}

/// The text of a config file, about to be changed.
#[derive(Debug)]
pub(super) struct Edit {
    document: DocumentMut,
}

/// The name of the profile that is made where there is none.
const FIRST_PROFILE: &str = "web";

impl Edit {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let document = text
            .parse()
            .map_err(|error: toml_edit::TomlError| error.to_string())?;
        Ok(Self { document })
    }

    pub(super) fn text(&self) -> String {
        self.document.to_string()
    }

    /// The profile that is meant. In a file without any the first one is made, and selected.
    pub(super) fn profile(&mut self, wanted: Option<&str>) -> Result<String, String> {
        let selected = self.document.get("default_permissions");
        let selected = selected.and_then(Item::as_str).map(str::to_owned);
        let profiles = self.document.contains_key("permissions");
        match (wanted.map(str::to_owned), selected) {
            (Some(name), _) | (None, Some(name)) if name.starts_with(':') => Err(format!(
                "the profile `{name}` is Codex's own and has no entries; name one of yours with --profile"
            )),
            (Some(name), _) | (None, Some(name)) if profiles => self.defined(name),
            (Some(name), _) | (None, Some(name)) => {
                self.make(&name);
                Ok(name)
            }
            (None, None) if profiles => Err(
                "the file has profiles and `default_permissions` names none; name one with --profile".to_owned(),
            ),
            (None, None) => {
                self.select_first();
                self.make(FIRST_PROFILE);
                Ok(FIRST_PROFILE.to_owned())
            }
        }
    }

    /// Adds the entry, and takes it from the opposite list. Says whether anything changed.
    pub(super) fn add(&mut self, profile: &str, entry: &Entry, list: List) -> Result<bool, String> {
        let (array, table, word) = entry.places(list);
        let network = self.network(profile)?;
        let in_array = network.get(array).and_then(Item::as_array);
        let listed = in_array.is_some_and(|array| position(array, entry).is_some());
        let in_table = network.get(table).and_then(Item::as_table_like);
        let tabled = in_table.is_some_and(|table| {
            table
                .iter()
                .any(|(key, item)| entry.is(key) && item.as_str() == Some(word))
        });
        if listed || tabled {
            return Ok(false);
        }
        remove_from(network, entry);
        let tables = network.get(table).is_some_and(Item::is_table_like);
        if network.get(array).is_none() && tables {
            let item = network.get_mut(table).and_then(Item::as_table_like_mut);
            let table = item.ok_or_else(|| format!("`{table}` is no table"))?;
            table.insert(&entry.text(), value(word));
            return Ok(true);
        }
        if network.get(array).is_none() {
            network.insert(array, value(Array::new()));
        }
        let array = network
            .get_mut(array)
            .and_then(Item::as_array_mut)
            .ok_or_else(|| format!("`{array}` is no array"))?;
        push(array, &entry.text());
        Ok(true)
    }

    /// Removes the entry from every list. Says whether it was there.
    pub(super) fn remove(&mut self, profile: &str, entry: &Entry) -> Result<bool, String> {
        Ok(remove_from(self.network(profile)?, entry))
    }

    fn select_first(&mut self) {
        let mut key = Key::new("default_permissions");
        if !self.document.is_empty() {
            key.leaf_decor_mut().set_suffix(" ");
        }
        // Above the first table: below it the key would belong to that.
        self.document.insert_formatted(&key, value(FIRST_PROFILE));
    }

    fn make(&mut self, profile: &str) {
        if let Ok(network) = self.network(profile) {
            network.insert("enabled", value(true));
        }
    }

    /// A mistyped name must not become a profile of its own.
    fn defined(&self, name: String) -> Result<String, String> {
        let permissions = self
            .document
            .get("permissions")
            .and_then(Item::as_table_like);
        let known: Vec<&str> = permissions
            .map(|table| table.iter().map(|(key, _)| key).collect())
            .unwrap_or_default();
        if known.contains(&name.as_str()) || permissions.is_none() {
            return Ok(name);
        }
        Err(format!(
            "the file has no profile `{}`: expected one of {}",
            name.escape_debug(),
            known.join(", ")
        ))
    }

    fn network(&mut self, profile: &str) -> Result<&mut dyn TableLike, String> {
        let mut item = self.document.as_item_mut();
        for key in ["permissions", profile, "network"] {
            let table = item.as_table_like_mut().ok_or_else(|| {
                format!("`{key}` cannot be found: what should hold it is no table")
            })?;
            if table.get(key).is_none() {
                let mut new = Table::new();
                // Only the last one has lines of its own.
                new.set_implicit(key != "network");
                table.insert(key, Item::Table(new));
            }
            item = table
                .get_mut(key)
                .ok_or_else(|| format!("`{key}` cannot be made"))?;
        }
        item.as_table_like_mut()
            .ok_or_else(|| "`network` is no table".to_owned())
    }
}

fn position(array: &Array, entry: &Entry) -> Option<usize> {
    array
        .iter()
        .position(|value| value.as_str().is_some_and(|text| entry.is(text)))
}

fn remove_from(network: &mut dyn TableLike, entry: &Entry) -> bool {
    let mut removed = false;
    for list in [List::Allowed, List::Denied] {
        let (array, table, _) = entry.places(list);
        if let Some(array) = network.get_mut(array).and_then(Item::as_array_mut) {
            while let Some(index) = position(array, entry) {
                take(array, index);
                removed = true;
            }
        }
        if let Some(table) = network.get_mut(table).and_then(Item::as_table_like_mut) {
            let keys: Vec<String> = table
                .iter()
                .filter(|(key, _)| entry.is(key))
                .map(|(key, _)| key.to_owned())
                .collect();
            for key in keys {
                removed |= table.remove(&key).is_some();
            }
        }
    }
    removed
}

fn prefix(value: &Value) -> String {
    let raw = value.decor().prefix().and_then(|raw| raw.as_str());
    raw.unwrap_or_default().to_owned()
}

/// Adds an element in the style of the last one. What stands behind the last one, a comment perhaps, stays with it.
fn push(array: &mut Array, text: &str) {
    let Some(last) = array.len().checked_sub(1) else {
        array.push(text);
        return;
    };
    let last_prefix = array.get(last).map(prefix).unwrap_or_default();
    let Some((_, indent)) = last_prefix.rsplit_once('\n') else {
        array.push(text);
        return;
    };
    let indent = indent.to_owned();
    let mut behind = String::new();
    if let Some(value) = array.get_mut(last) {
        let suffix = value.decor().suffix().and_then(|raw| raw.as_str());
        behind.push_str(suffix.unwrap_or_default());
        value.decor_mut().set_suffix("");
    }
    behind.push_str(array.trailing().as_str().unwrap_or_default());
    let closing = behind
        .rsplit_once('\n')
        .map_or("", |(_, closing)| closing)
        .to_owned();
    let mut added = Value::from(text);
    let kept = behind.trim_end();
    added.decor_mut().set_prefix(format!("{kept}\n{indent}"));
    array.push_formatted(added);
    array.set_trailing(format!("\n{closing}"));
    array.set_trailing_comma(true);
}

/// Takes an element out with the comment on its line; comments of other lines stay.
fn take(array: &mut Array, index: usize) {
    let own = array.get(index).map(prefix).unwrap_or_default();
    let after = match array.get(index + 1) {
        Some(next) => prefix(next),
        None => array.trailing().as_str().unwrap_or_default().to_owned(),
    };
    array.remove(index);
    let joined = match after.split_once('\n') {
        // The comment on the line of the element goes with it.
        Some((_, rest)) => format!("{}\n{rest}", own.trim_end()),
        None if index < array.len() => own,
        None => after,
    };
    match array.get_mut(index) {
        Some(next) => next.decor_mut().set_prefix(joined),
        None => array.set_trailing(joined),
    }
    if array.is_empty() && !array.trailing().as_str().unwrap_or_default().contains('#') {
        array.set_trailing("");
        array.set_trailing_comma(false);
    }
}

#[cfg(test)]
mod tests;
