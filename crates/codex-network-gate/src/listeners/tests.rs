use super::*;

#[test]
fn a_listener_is_found_in_every_spelling() {
    let check = |listener: &str, target: &str, expected: bool| {
        let leads = leads_to(listener.parse().unwrap(), target.parse().unwrap());
        assert_eq!(leads, expected, "{listener} by {target}");
    };
    for listener in [
        "127.0.0.1:3128",
        "[::1]:3128",
        "0.0.0.0:3128",
        "[::]:3128",
        "127.8.8.8:3128",
    ] {
        check(listener, "127.0.0.1:3128", true);
        check(listener, "127.255.255.254:3128", true);
        check(listener, "[::1]:3128", true);
        check(listener, "[::ffff:127.0.0.1]:3128", true);
        check(listener, "[::ffff:127.9.9.9]:3128", true);
        check(listener, "0.0.0.0:3128", true);
        check(listener, "0.0.0.1:3128", false);
        check(listener, "[::]:3128", true);
        check(listener, "[::ffff:0.0.0.0]:3128", true);
        check(listener, "127.0.0.1:3129", false);
        check(listener, "[::1]:80", false);
        check(listener, "8.8.8.8:3128", false);
        check(listener, "[2606:4700::1]:3128", false);
    }
    // An address of another interface that is listened on.
    check("192.0.2.7:8081", "192.0.2.7:8081", true);
    check("192.0.2.7:8081", "[::ffff:192.0.2.7]:8081", true);
    check("192.0.2.7:8081", "192.0.2.8:8081", false);
    check("[2001:db8::7]:8081", "[2001:db8::7]:8081", true);
}

#[test]
fn listeners_are_added_as_they_are_bound() {
    let listeners = Listeners::default();
    let (http, socks) = (
        "127.0.0.1:3128".parse().unwrap(),
        "127.0.0.1:8081".parse().unwrap(),
    );
    assert!(!listeners.contain(http));
    listeners.add(http);
    assert!(listeners.contain(http) && !listeners.contain(socks));
    listeners.add(socks);
    assert!(listeners.contain(http) && listeners.contain(socks));
}
