//! How a value is written so that a shell reads back exactly that value.
//!
//! Main type: [`Shell`]. Comes in: a variable's name and any text. Goes out: a line for that shell. Names are ours and
//! are not quoted.

use clap::ValueEnum;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Shell {
    /// bash, zsh, dash and all others of the POSIX kind
    Sh,
    Fish,
    #[value(name = "powershell")]
    Pwsh,
}

impl Shell {
    /// What a person most likely types into.
    pub(super) fn of_platform() -> Self {
        if cfg!(windows) { Self::Pwsh } else { Self::Sh }
    }

    /// The line that sets a variable for everything that is started from this shell.
    pub(super) fn export(self, name: &str, value: &str) -> String {
        let value = self.quote(value);
        match self {
            Self::Sh => format!("export {name}={value}"),
            Self::Fish => format!("set -gx {name} {value}"),
            Self::Pwsh => format!("$env:{name} = {value}"),
        }
    }

    /// One word, whatever is in it.
    pub(super) fn quote(self, value: &str) -> String {
        let quoted = |escape: &dyn Fn(char) -> Option<&'static str>| {
            let mut text = String::from("'");
            for char in value.chars() {
                text.extend(escape(char));
                text.push(char);
            }
            text + "'"
        };
        match self {
            // Nothing to export is written as nothing.
            Self::Sh if value.chars().all(is_plain) => value.to_owned(),
            // The quotes end, a quote of its own follows, and they begin again.
            Self::Sh => format!("'{}'", value.replace('\'', r"'\''")),
            Self::Fish => quoted(&|char| matches!(char, '\'' | '\\').then_some(r"\")),
            // Typographic quotes count as quotes there, and two of them in a row as the character itself.
            Self::Pwsh => quoted(&|char| match char {
                '\'' => Some("'"),
                '\u{2018}' => Some("\u{2018}"),
                '\u{2019}' => Some("\u{2019}"),
                '\u{201a}' => Some("\u{201a}"),
                '\u{201b}' => Some("\u{201b}"),
                _ => None,
            }),
        }
    }
}

/// Characters that no shell of the POSIX kind gives a meaning to.
fn is_plain(char: char) -> bool {
    char.is_ascii_alphanumeric() || "_-./:,=+@%".contains(char)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_quoted_as_each_shell_reads_it() {
        for (value, sh, fish, power_shell) in [
            ("", "", "''", "''"),
            (
                "/a-b/c_d.pem",
                "/a-b/c_d.pem",
                "'/a-b/c_d.pem'",
                "'/a-b/c_d.pem'",
            ),
            ("a b", "'a b'", "'a b'", "'a b'"),
            ("it's", r"'it'\''s'", r"'it\'s'", "'it''s'"),
            (r"C:\a b", r"'C:\a b'", r"'C:\\a b'", r"'C:\a b'"),
            ("$(x)`y`", "'$(x)`y`'", "'$(x)`y`'", "'$(x)`y`'"),
            ("\u{2019}", "'\u{2019}'", "'\u{2019}'", "'\u{2019}\u{2019}'"),
            ("*.local", "'*.local'", "'*.local'", "'*.local'"),
        ] {
            assert_eq!(Shell::Sh.quote(value), sh);
            assert_eq!(Shell::Fish.quote(value), fish);
            assert_eq!(Shell::Pwsh.quote(value), power_shell);
        }
    }

    #[test]
    fn a_variable_is_exported_as_each_shell_does_it() {
        assert_eq!(Shell::Sh.export("A", "b c"), "export A='b c'");
        assert_eq!(Shell::Fish.export("A", "b"), "set -gx A 'b'");
        assert_eq!(Shell::Pwsh.export("A", "b"), "$env:A = 'b'");
    }
}
