//! curl: every way in which it can use a proxy.

use anyhow::{Result, ensure};

use crate::cases::zone::full;
use crate::command::output;
use crate::report::{Case, Outcome, skippable};
use crate::world::World;

/// Title, arguments, and what the output must hold.
const ROWS: &[(&str, &str, &[&str])] = &[
    (
        "http",
        "http://shop.allowed.example/",
        &["\"server\":\"151.101.1.1\"", "status=200"],
    ),
    (
        "https",
        "https://shop.allowed.example/",
        &["\"tls\":true", "status=200"],
    ),
    (
        "post",
        "-d text http://shop.allowed.example/",
        &["\"bytes\":4", "status=200"],
    ),
    ("head", "-I http://shop.allowed.example/", &["status=200"]),
    (
        "http_1_0",
        "-0 http://shop.allowed.example/",
        &["status=200"],
    ),
    (
        "proxytunnel",
        "--proxytunnel http://shop.allowed.example/",
        &["\"server\":", "status=200"],
    ),
    (
        "socks5h",
        "-x socks5h://SOCKS http://shop.allowed.example/",
        &["\"server\":", "status=200"],
    ),
    (
        "socks5h_https",
        "-x socks5h://SOCKS https://shop.allowed.example/",
        &["\"tls\":true", "status=200"],
    ),
    (
        "address",
        "http://1.2.3.4/",
        &["\"server\":\"1.2.3.4\"", "status=200"],
    ),
    (
        "ipv6_address",
        "-g http://[2606:2800:220:1::1]/",
        &["\"server\":\"2606:2800:220:1::1\"", "status=200"],
    ),
    (
        "continue",
        "-H Expect:100-continue -d text http://shop.allowed.example/",
        &["\"bytes\":4", "status=200"],
    ),
    (
        "websocket_in_a_tunnel",
        "--http1.1 -H Connection:Upgrade -H Upgrade:websocket https://shop.allowed.example/socket/curl",
        &["connect=200", "status=101"],
    ),
    (
        "refused_http",
        "-i http://unlisted.example/",
        &[
            "x-proxy-error: blocked-by-allowlist",
            "\"not_allowed\"",
            "status=403",
        ],
    ),
    (
        "refused_https",
        "https://unlisted.example/",
        &["connect=403", "CONNECT tunnel failed, response 403"],
    ),
    (
        "refused_socks5h",
        "-x socks5h://SOCKS http://unlisted.example/",
        &["(2)", "status=000"],
    ),
    (
        "refused_private",
        "-i http://private-10.allowed.example/",
        &["\"not_allowed_local\"", "status=403"],
    ),
    (
        "refused_localhost",
        "-i http://localhost/",
        &["\"not_allowed_local\"", "status=403"],
    ),
    (
        "refused_metadata",
        "-i http://169.254.169.254/",
        &["\"not_allowed_local\"", "status=403"],
    ),
    (
        "another_name_in_a_tunnel",
        "--connect-to unlisted.example:443:shop.allowed.example:443 https://unlisted.example/",
        &["connect=200", "alert access denied", "status=000"],
    ),
    (
        "another_name_in_a_socks_tunnel",
        "-x socks5h://SOCKS --connect-to unlisted.example:443:shop.allowed.example:443 https://unlisted.example/",
        &["alert access denied", "status=000"],
    ),
    (
        "unknown_name",
        "-i http://unknown.allowed.example/",
        &["could not resolve unknown.allowed.example", "status=502"],
    ),
];

pub(super) fn cases() -> Vec<Case> {
    let rows = ROWS.iter().map(|(title, arguments, holds)| {
        skippable(format!("curl_{title}"), async move |world| {
            curl(&world, arguments, holds).await
        })
    });
    rows.collect()
}

async fn curl(world: &World, arguments: &str, holds: &[&str]) -> Result<Outcome> {
    let environment = world.client_environment(&world.room("curl")?);
    if output("curl", ["--version"], &environment).await.is_err() {
        return Ok(Outcome::Skipped("curl is not installed".to_owned()));
    }
    let arguments = arguments.replace("SOCKS", &world.proxy.socks.to_string());
    let fixed = [
        "-sS",
        "--max-time",
        "20",
        "-w",
        "\nconnect=%{http_connect} status=%{http_code}",
    ];
    let said = output(
        "curl",
        fixed.into_iter().chain(arguments.split(' ')),
        &environment,
    )
    .await?;
    for words in holds {
        let is_there = said.stdout.contains(words) || said.stderr.contains(words);
        ensure!(is_there, "no `{words}` in {said:?}");
    }
    // It left the resolving to the proxy, which asks for no refused name.
    ensure!(
        world.names.questions("unlisted.example") == 0,
        "asked for a refused name"
    );
    ensure!(
        world.origins.servers(&full("private-10")).is_empty(),
        "reached a private address"
    );
    Ok(Outcome::Passed)
}
