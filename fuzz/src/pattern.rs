//! Patterns: what a list matches, and what covers what.

use codex_network_policy::{Host, HostPattern, PatternSet};

/// Lines of the input are patterns, the last one is a host.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let (patterns, host) = text.rsplit_once('\n').unwrap_or((text, "a.example.com"));
    let patterns: Vec<HostPattern> = patterns
        .split('\n')
        .take(16)
        .filter_map(|line| HostPattern::parse(line).ok())
        .collect();
    for pattern in &patterns {
        let shown = pattern.to_string();
        assert_eq!(
            HostPattern::parse(&shown).as_ref(),
            Ok(pattern),
            "{shown:?}"
        );
        assert!(pattern.covers(pattern) || shown.contains('*'), "{shown:?}");
    }
    let Ok(host) = Host::parse(host) else {
        return;
    };
    // The set that is searched in one step says what the patterns say one by one.
    let set = PatternSet::compile(&patterns);
    let any = patterns.iter().any(|pattern| pattern.matches(&host));
    assert_eq!(set.find(&host).is_some(), any, "{patterns:?} and {host}");
    for pattern in patterns.iter().filter(|pattern| pattern.matches(&host)) {
        bounded(&pattern.to_string(), &host);
        for wider in patterns.iter().filter(|wider| wider.covers(pattern)) {
            assert!(
                wider.matches(&host),
                "{wider} covers {pattern} and does not match {host}"
            );
        }
    }
}

/// What a pattern matches ends where the pattern ends, at a dot.
fn bounded(pattern: &str, host: &Host) {
    let Host::Name(name) = host else {
        assert!(!pattern.contains('*'), "{pattern} matches {host}");
        return;
    };
    let Some(last) = pattern
        .rsplit(['.', '*'])
        .next()
        .filter(|last| !last.is_empty())
    else {
        return;
    };
    if pattern.rsplit('.').next() == Some(last) {
        assert_eq!(
            name.labels().next_back(),
            Some(last),
            "{pattern} matches {host}"
        );
    }
    if let Some(below) = pattern
        .strip_prefix("*.")
        .filter(|rest| !rest.contains('*'))
    {
        assert!(
            name.as_str().ends_with(&format!(".{below}")),
            "{pattern} matches {host}"
        );
    }
}
