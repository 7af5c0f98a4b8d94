//! Changes that a program makes to the configuration in force, besides the files.
//!
//! Main type: [`Edit`]. Comes in: an edit; goes out: the configuration that follows from it, or an [`EditError`] where the
//! edit is malformed or beyond a managed limit. It is checked as a loaded configuration is, on the whole. Nothing is
//! written to a file, so the next reload reads what stands there.

use codex_network_policy::{ConstraintError, HostPattern, Mode, Origin, PatternError, Rule};
use thiserror::Error;

use super::loaded::LoadedConfig;
use super::written::List;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    /// This host, or pattern, in the allowlist and not in the denylist.
    Allow(String),
    /// The other way round.
    Deny(String),
    /// This mode.
    Mode(Mode),
}

/// Why a change is not made.
#[derive(Debug, Error)]
pub(crate) enum EditError {
    #[error("invalid network host")]
    InvalidHost(#[source] PatternError),
    #[error("{field} constrained by managed config")]
    Limited {
        field: &'static str,
        source: Box<ConstraintError>,
    },
}

/// A configuration after an edit.
#[derive(Debug)]
pub(crate) struct Edited {
    pub(crate) config: LoadedConfig,
    /// For the log.
    pub(crate) sentence: String,
}

impl LoadedConfig {
    /// This configuration after `edit`; `None` where that changes nothing.
    pub(crate) fn edited(&self, edit: &Edit) -> Result<Option<Edited>, EditError> {
        match edit {
            Edit::Allow(host) => self.with_allowed(host),
            Edit::Deny(host) => self.with_denied(host),
            Edit::Mode(mode) => self.within_limits("network.mode", self.with_mode(*mode)),
        }
    }

    fn with_allowed(&self, host: &str) -> Result<Option<Edited>, EditError> {
        let pattern = parse(host)?;
        let (allowed, denied) = (&self.rules.allowed, &self.rules.denied);
        if holds(allowed, &pattern) && !holds(denied, &pattern) {
            return Ok(None);
        }
        let rule = Rule {
            pattern: pattern.clone(),
            origin: Origin::flag("add_allowed_domain"),
        };
        let allowed = without(allowed, &pattern).chain([rule]).collect();
        let edited = Edited {
            config: self.with_lists(allowed, without(denied, &pattern).collect()),
            sentence: format!("updated network allowlist with {pattern}"),
        };
        self.within_limits(List::Allowed.field(), edited)
    }

    fn with_denied(&self, host: &str) -> Result<Option<Edited>, EditError> {
        let pattern = parse(host)?;
        let (allowed, denied) = (&self.rules.allowed, &self.rules.denied);
        let is_denied = holds(denied, &pattern);
        if is_denied && !holds(allowed, &pattern) {
            return Ok(None);
        }
        let rule = Rule {
            pattern: pattern.clone(),
            origin: Origin::flag("add_denied_domain"),
        };
        let denied: Vec<Rule> = without(denied, &pattern).chain([rule]).collect();
        let edited = |allowed, denied| Edited {
            config: self.with_lists(allowed, denied),
            sentence: format!("updated network denylist with {pattern}"),
        };
        let moved = edited(without(allowed, &pattern).collect(), denied.clone());
        let field = List::Denied.field();
        match self.within_limits(field, moved) {
            // A managed allowlist may have to stay as it is. The denial wins all the same, and narrows what it allows.
            Err(_) if is_denied => Ok(None),
            Err(_) => self.within_limits(field, edited(allowed.clone(), denied)),
            edited => edited,
        }
    }

    fn within_limits(
        &self,
        field: &'static str,
        edited: Edited,
    ) -> Result<Option<Edited>, EditError> {
        let Edited { config, .. } = &edited;
        match self.check_limits(&config.settings, &config.rules) {
            Ok(()) => Ok(Some(edited)),
            Err(error) => Err(EditError::Limited {
                field,
                source: Box::new(error),
            }),
        }
    }

    fn with_lists(&self, allowed: Vec<Rule>, denied: Vec<Rule>) -> Self {
        let texts = |rules: &[Rule]| rules.iter().map(|rule| rule.pattern.to_string()).collect();
        let mut config = self.clone();
        config.settings.allowed_domains = texts(&allowed);
        config.settings.denied_domains = texts(&denied);
        config.rules.allowed = allowed;
        config.rules.denied = denied;
        config
    }

    fn with_mode(&self, mode: Mode) -> Edited {
        let mut config = self.clone();
        config.settings.mode = mode;
        config.rules.mode = mode;
        let word = match mode {
            Mode::Full => "Full",
            Mode::Limited => "Limited",
        };
        let sentence = format!("updated network mode to {word}");
        Edited { config, sentence }
    }
}

fn parse(host: &str) -> Result<HostPattern, EditError> {
    HostPattern::parse(host.trim()).map_err(EditError::InvalidHost)
}

fn holds(rules: &[Rule], pattern: &HostPattern) -> bool {
    rules.iter().any(|rule| rule.pattern == *pattern)
}

fn without(rules: &[Rule], pattern: &HostPattern) -> impl Iterator<Item = Rule> {
    let others = rules.iter().filter(move |rule| rule.pattern != *pattern);
    others.cloned()
}

#[cfg(test)]
mod tests {
    use super::super::{NetworkProxyConfig, NetworkProxySettings, Overrides, UnixSockets};
    use super::*;

    fn config(allowed: &[&str], denied: &[&str]) -> LoadedConfig {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let network = NetworkProxySettings {
            enabled: true,
            allowed_domains: owned(allowed),
            denied_domains: owned(denied),
            ..NetworkProxySettings::default()
        };
        LoadedConfig::from_config(
            NetworkProxyConfig { network },
            &Overrides::default(),
            UnixSockets::Unsupported,
        )
        .unwrap()
    }

    /// Both lists after an edit, `unchanged`, or the error.
    fn outcome(config: &LoadedConfig, edit: &Edit) -> String {
        match config.edited(edit) {
            Ok(None) => "unchanged".to_owned(),
            Ok(Some(Edited { config, sentence })) => {
                let texts = |rules: &[Rule]| {
                    let rules = rules.iter();
                    let texts: Vec<_> = rules.map(|rule| rule.pattern.to_string()).collect();
                    texts
                };
                assert_eq!(
                    config.settings.allowed_domains,
                    texts(&config.rules.allowed)
                );
                assert_eq!(config.settings.denied_domains, texts(&config.rules.denied));
                let lists = &config.settings;
                format!(
                    "{} | {} | {sentence}",
                    lists.allowed_domains.join(" "),
                    lists.denied_domains.join(" ")
                )
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_host_goes_into_its_list_and_out_of_the_other() {
        let allow = |host: &str| Edit::Allow(host.to_owned());
        let deny = |host: &str| Edit::Deny(host.to_owned());
        let lists = config(&["a.test", "b.test"], &["c.test", "**.d.test"]);
        let rows = [
            (allow("a.test"), "unchanged"),
            (allow(" A.TEST.:443 "), "unchanged"),
            (deny("c.test"), "unchanged"),
            (
                allow("e.test"),
                "a.test b.test e.test | c.test **.d.test | updated network allowlist with e.test",
            ),
            (
                allow("C.test"),
                "a.test b.test c.test | **.d.test | updated network allowlist with c.test",
            ),
            (
                deny("a.test"),
                "b.test | c.test **.d.test a.test | updated network denylist with a.test",
            ),
            (
                deny("[::1]:80"),
                "a.test b.test | c.test **.d.test ::1 | updated network denylist with ::1",
            ),
            (
                allow("*.e.test"),
                "a.test b.test *.e.test | c.test **.d.test | updated network allowlist with *.e.test",
            ),
            // A wider denial stays, and wins.
            (
                allow("x.d.test"),
                "a.test b.test x.d.test | c.test **.d.test | updated network allowlist with x.d.test",
            ),
            (allow("*"), "invalid network host"),
            (allow(""), "invalid network host"),
            (allow("http://a.test"), "invalid network host"),
            (deny("0x7f.1"), "invalid network host"),
        ];
        for (edit, expected) in rows {
            assert_eq!(outcome(&lists, &edit), expected, "{edit:?}");
        }
    }

    #[test]
    fn a_host_in_both_lists_ends_in_one() {
        let lists = config(&["a.test"], &["a.test"]);
        let allow = Edit::Allow("a.test".to_owned());
        assert_eq!(
            outcome(&lists, &allow),
            "a.test |  | updated network allowlist with a.test"
        );
    }

    #[test]
    fn a_mode_is_set() {
        let edited = config(&[], &[]).edited(&Edit::Mode(Mode::Limited));
        let Edited { config, sentence } = edited.unwrap().unwrap();
        assert_eq!(sentence, "updated network mode to Limited");
        assert_eq!(config.settings.mode, Mode::Limited);
        assert_eq!(config.rules.mode, Mode::Limited);
    }
}
