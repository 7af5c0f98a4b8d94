//! Addresses in the place of names, in every spelling, at every door.

use super::Expect::{self, Denied, Malformed, NotAllowed, NotAllowedLocal, Served};
use super::check;
use crate::report::{Case, case};
use crate::wire::Door;

const ROWS: &[(&str, Expect)] = &[
    ("1.2.3.4", Served("1.2.3.4")),
    ("[::ffff:1.2.3.4]", Served("1.2.3.4")),
    ("[2606:2800:220:1::1]", Served("2606:2800:220:1::1")),
    ("[2606:2800:220:0001:0:0:0:1]", Served("2606:2800:220:1::1")),
    ("1.2.3.4.", Served("1.2.3.4")),
    ("127.0.0.1.", NotAllowedLocal),
    ("151.101.1.1", NotAllowed),
    ("8.8.8.8", NotAllowed),
    ("[2606:2800:220:1::2]", NotAllowed),
    ("151.101.9.9", Denied),
    ("[::ffff:151.101.9.9]", Denied),
    ("[64:ff9b::151.101.9.9]", Denied),
    ("localhost", NotAllowedLocal),
    ("LOCALHOST.", NotAllowedLocal),
    ("127.0.0.1", NotAllowedLocal),
    ("127.0.0.53", NotAllowedLocal),
    ("0.0.0.0", NotAllowedLocal),
    ("10.1.2.3", NotAllowedLocal),
    ("169.254.169.254", NotAllowedLocal),
    ("metadata.google.internal", NotAllowedLocal),
    ("[::1]", NotAllowedLocal),
    ("[::]", NotAllowedLocal),
    ("[fd00::1]", NotAllowedLocal),
    ("[fe80::1]", NotAllowedLocal),
    ("[::ffff:10.1.2.3]", NotAllowedLocal),
    ("[::ffff:169.254.169.254]", NotAllowedLocal),
    ("[::10.1.2.3]", NotAllowedLocal),
    ("[64:ff9b::10.1.2.3]", NotAllowedLocal),
    ("[64:ff9b::169.254.169.254]", NotAllowedLocal),
    ("[2002:a01:203::1]", NotAllowedLocal),
    ("[2001:0:a01:203::1]", NotAllowedLocal),
    ("[2606:2800:220:1:0:5efe:127.0.0.1]", NotAllowedLocal),
    ("127.1", Malformed),
    ("0x7f.1", Malformed),
    ("0x7f000001", Malformed),
    ("2130706433", Malformed),
    ("0177.0.0.1", Malformed),
];

pub(super) fn cases() -> Vec<Case> {
    let rows = ROWS.iter().map(|(host, expect)| {
        case(format!("literal_{host}"), async move |world| {
            for door in Door::ALL {
                check(&world, &world.proxy, door, host, 80, *expect)
                    .await
                    .map_err(|error| error.context(door.as_str()))?;
            }
            Ok(())
        })
    });
    rows.collect()
}
