//! What the SPEC says about hosts, sentence by sentence and without a thought for speed.

use std::net::{IpAddr, Ipv4Addr};

use super::{Config, Question};
use codex_network_policy::AddressClass;

pub(super) fn judge(config: &Config, question: &Question) -> &'static str {
    let host = question.host.as_str();
    let reads = matches!(question.method, Some("GET" | "HEAD" | "OPTIONS"));
    let listed_exactly = config.allowed.iter().any(|entry| same_host(entry, host));
    let listed = config.allowed.iter().any(|entry| matches(entry, host));
    match question.door {
        _ if !config.enabled => "proxy_disabled",
        "socks5_tcp" | "socks5_udp" if config.limited => "method_not_allowed",
        _ if is_denied(config, host) => "denied",
        _ if !config.local && is_local(host) && !listed_exactly => "not_allowed_local",
        _ if !listed && !question.approved => "unlisted",
        "https_connect" if config.limited && !config.opens_tls => "mitm_required",
        "https_connect" => "allow",
        _ if config.limited && (!reads || question.upgrade) => "method_not_allowed",
        _ => "allow",
    }
}

pub(super) fn is_denied(config: &Config, host: &str) -> bool {
    let mut spellings = vec![host.to_string()];
    if let Some(IpAddr::V6(v6)) = address(host) {
        // NAT64 and compatible; `::` and `::1` carry nothing.
        let carries = [0x64_ff9b << 64, 0].contains(&(v6.to_bits() >> 32)) && v6.to_bits() > 1;
        let embedded = carries.then(|| Ipv4Addr::from_bits(v6.to_bits() as u32).to_string());
        spellings.extend([v6.to_string()].into_iter().chain(embedded));
    }
    let denies = |entry: &String| spellings.iter().any(|host| matches(entry, host));
    config.denied.iter().any(denies)
}

/// The address, with IPv4-mapped ones as IPv4 and without the zone.
fn address(host: &str) -> Option<IpAddr> {
    let address: IpAddr = host.split('%').next()?.parse().ok()?;
    Some(address.to_canonical())
}

fn is_local(host: &str) -> bool {
    let public = |address| AddressClass::of(address).is_public();
    ["localhost", "metadata.goog"].contains(&host)
        || address(host).is_some_and(|address| !public(address))
}

fn same_host(entry: &str, host: &str) -> bool {
    let zone = |text: &str| text.split_once('%').map(|(_, zone)| zone.to_string());
    entry == host
        || (address(host).is_some() && address(entry) == address(host) && zone(entry) == zone(host))
}

fn matches(entry: &str, host: &str) -> bool {
    let names: Vec<&str> = host.split('.').collect();
    let fits = |labels: &str, skip: usize| {
        let pairs = labels.split('.').zip(&names[skip..]);
        labels.split('.').count() == names.len() - skip
            && pairs
                .into_iter()
                .all(|(label, name)| label_fits(label, name))
    };
    match entry.split_once('.') {
        _ if address(host).is_some() => same_host(entry, host),
        Some(("**", rest)) => (0..names.len()).any(|skip| fits(rest, skip)),
        Some(("*", rest)) => (1..names.len()).any(|skip| fits(rest, skip)),
        _ => fits(entry, 0),
    }
}

fn label_fits(label: &str, name: &str) -> bool {
    let Some((start, rest)) = label.split_once('*') else {
        return label == name;
    };
    let fits = |name: &str| (0..=name.len()).any(|skip| label_fits(rest, &name[skip..]));
    name.strip_prefix(start).is_some_and(fits)
}
