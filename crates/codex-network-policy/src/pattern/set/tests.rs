use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::*;

#[test]
fn an_empty_set_finds_nothing() {
    for set in [PatternSet::default(), PatternSet::compile([])] {
        assert!(set.is_empty());
        assert_eq!(set.len(), 0);
        assert!(set.text(RuleId::at(0)).is_none());
        for host in ["example.com", "com", "127.0.0.1", "::1"] {
            let host = Host::parse(host).unwrap();
            assert_eq!((set.find(&host), set.find_exact(&host)), (None, None));
        }
    }
}

#[test]
fn every_entry_of_a_large_list_is_found_and_written_down_again() {
    let texts: Vec<_> = (0..20_000)
        .map(|number: u32| match number % 6 {
            0 => format!("host{number}.example{}.com", number % 97),
            1 => format!("*.zone{number}.example{}.net", number % 89),
            2 => format!("**.zone{number}.org"),
            3 => format!("10.{}.{}.1", number >> 8, number & 0xff),
            4 => format!("2001:db8::{number:x}"),
            _ => format!("a*.zone{number}.glob.example"),
        })
        .collect();
    let patterns: Vec<_> = texts
        .iter()
        .map(|text| HostPattern::parse(text).unwrap())
        .collect();
    let set = PatternSet::compile(&patterns);
    assert_eq!(set.len(), texts.len());
    for (index, text) in texts.iter().enumerate() {
        let rule = RuleId::at(index);
        assert_eq!(set.text(rule).unwrap().to_string(), *text);
        let host = Host::parse(&text.replace("**.", "x.y.").replace('*', "x")).unwrap();
        assert_eq!(set.find(&host), Some(rule), "{text}");
        let missed = Host::parse(&format!("missed.{host}"));
        let below = text.starts_with('*');
        assert_eq!(
            missed.ok().and_then(|host| set.find(&host)).is_some(),
            below,
            "{text}"
        );
    }
}

#[test]
fn a_rule_is_kept_in_few_bytes() {
    assert_eq!(size_of::<Option<RuleId>>(), 4);
    assert_eq!(size_of::<Place>(), 8);
}
