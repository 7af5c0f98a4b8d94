//! Reads what is asked of `explain`: a URL, a host with or without a port, or the path of a socket.
//!
//! Main type: [`Question`]. Comes in: text of the command line. Goes out: the access that a door would bring to the gate,
//! or a sentence that says what was expected.

use clap::ValueEnum;
use codex_network_gate::Access;
use codex_network_policy::{Authority, Protocol, SocketPath, Target};

/// The ways in, as people name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Door {
    /// A request in absolute form to the HTTP listener
    Http,
    /// CONNECT at the HTTP listener
    Connect,
    /// A request inside of a tunnel that the proxy opens
    Https,
    Socks5,
    /// A datagram of a SOCKS5 association
    Socks5Udp,
    /// A request with `x-unix-socket` to the HTTP listener
    Unix,
}

/// What is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Question {
    protocol: Protocol,
    target: Target,
    method: Option<String>,
    tls: bool,
}

const EXPECTED: &str = "expected http://host, https://host, host, host:port, [v6]:port, socks5://host:port or unix:/path";

impl Question {
    pub(super) fn parse(
        text: &str,
        door: Option<Door>,
        method: Option<&str>,
    ) -> Result<Self, String> {
        let refused = |what: &str| format!("invalid target `{}`: {what}", text.escape_debug());
        if let Some(method) = method.filter(|method| !is_token(method)) {
            return Err(format!(
                "invalid method `{}`: expected a word such as GET",
                method.escape_debug()
            ));
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return match door {
                None | Some(Door::Unix) => socket(path, method).map_err(|what| refused(&what)),
                Some(_) => Err(refused("a socket is asked for at the door `unix`")),
            };
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
            None => (None, text),
        };
        let usual = match scheme.as_deref() {
            None => None,
            Some("http" | "ws") => Some((Door::Http, Some(80))),
            Some("https" | "wss") => Some((Door::Connect, Some(443))),
            Some("socks5" | "socks5h") => Some((Door::Socks5, None)),
            Some(other) => {
                return Err(refused(&format!(
                    "`{}` is no scheme that the proxy knows; {EXPECTED}",
                    other.escape_debug()
                )));
            }
        };
        // A path has no say, and without a scheme it cannot be one.
        let authority = match scheme {
            Some(_) => rest.split(['/', '?', '#']).next().unwrap_or_default(),
            None => rest,
        };
        let authority = Authority::parse(authority)
            .map_err(|error| refused(&format!("{error}; {EXPECTED}")))?;
        let (usual_door, usual_port) = match usual {
            Some((door, port)) => (door, port),
            None => match authority.port {
                Some(80) => (Door::Http, Some(80)),
                Some(_) | None => (Door::Connect, Some(443)),
            },
        };
        let port = authority
            .port
            .or(usual_port)
            .ok_or_else(|| refused("a SOCKS5 target needs a port, such as socks5://host:443"))?;
        let door = door.unwrap_or(usual_door);
        let target = Target::Host {
            host: authority.host,
            port,
        };
        let (protocol, usual_method) = match door {
            Door::Http => (Protocol::Http, Some("GET")),
            Door::Connect => (Protocol::HttpsConnect, Some("CONNECT")),
            Door::Https => (Protocol::Https, Some("GET")),
            Door::Socks5 => (Protocol::Socks5Tcp, None),
            Door::Socks5Udp => (Protocol::Socks5Udp, None),
            Door::Unix => return Err(refused("the door `unix` leads to sockets: unix:/path")),
        };
        if let (Some(method), None) = (method, usual_method) {
            return Err(refused(&format!(
                "SOCKS5 has no method, and `{method}` was given"
            )));
        }
        if let (Some(method), Door::Connect) = (method, door)
            && method != "CONNECT"
        {
            return Err(refused(&format!(
                "at the door `connect` the method is CONNECT, not `{method}`; add --door http or --door https"
            )));
        }
        Ok(Self {
            protocol,
            tls: door == Door::Http && usual_port == Some(443) && scheme.is_some(),
            target,
            method: method.or(usual_method).map(str::to_owned),
        })
    }

    /// As a door would bring it.
    pub(super) fn access(&self) -> Access<'_> {
        Access {
            protocol: self.protocol,
            target: self.target.clone(),
            method: self.method.as_deref(),
            upgrade: false,
            tls: self.tls,
            client: None,
        }
    }
}

fn socket(path: &str, method: Option<&str>) -> Result<Question, String> {
    let path = SocketPath::requested(path).map_err(|error| error.to_string())?;
    if !path.is_absolute() {
        return Err("expected an absolute path, such as unix:/run/docker.sock".to_owned());
    }
    Ok(Question {
        protocol: Protocol::Http,
        target: Target::Unix(path),
        method: Some(method.unwrap_or("GET").to_owned()),
        tls: false,
    })
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, door: Option<Door>, method: Option<&str>, expected: &str) {
        let found = match Question::parse(text, door, method) {
            Ok(Question {
                protocol,
                target,
                method,
                tls,
            }) => {
                let target = match target {
                    Target::Host { host, port } => format!("{host} {port}"),
                    Target::Unix(path) => path.to_string(),
                };
                let method = method.unwrap_or_else(|| "-".to_owned());
                format!(
                    "{protocol} {target} {method}{}",
                    if tls { " tls" } else { "" }
                )
            }
            Err(error) => error,
        };
        assert!(found.starts_with(expected), "{text}: {found}");
    }

    #[test]
    fn targets_are_read_as_the_doors_read_them() {
        check(
            "http://Example.com/a?b",
            None,
            None,
            "http example.com 80 GET",
        );
        check(
            "https://example.com:8443/",
            None,
            None,
            "https_connect example.com 8443 CONNECT",
        );
        check(
            "https://example.com/",
            Some(Door::Http),
            None,
            "http example.com 443 GET tls",
        );
        check(
            "https://example.com/",
            Some(Door::Https),
            Some("POST"),
            "https example.com 443 POST",
        );
        check(
            "example.com",
            None,
            None,
            "https_connect example.com 443 CONNECT",
        );
        check("example.com:80", None, None, "http example.com 80 GET");
        check(
            "example.com:22",
            Some(Door::Socks5),
            None,
            "socks5_tcp example.com 22 -",
        );
        check("[::1]:80", None, None, "http ::1 80 GET");
        check("::1", None, None, "https_connect ::1 443");
        check(
            "socks5h://a.b:53",
            Some(Door::Socks5Udp),
            None,
            "socks5_udp a.b 53 -",
        );
        check("unix:/run/./a", None, Some("POST"), "http /run/a POST");
    }

    #[test]
    fn what_is_no_target_says_what_was_expected() {
        check(
            "socks5://host",
            None,
            None,
            "invalid target `socks5://host`: a SOCKS5 target needs a port",
        );
        check(
            "ftp://host",
            None,
            None,
            "invalid target `ftp://host`: `ftp` is no scheme",
        );
        check(
            "http://u:p@host/",
            None,
            None,
            "invalid target `http://u:p@host/`: ",
        );
        check("host/path", None, None, "invalid target `host/path`: ");
        check("host:99999", None, None, "invalid target `host:99999`: ");
        check("", None, None, "invalid target ``: ");
        check("a\u{1b}b", None, None, "invalid target `a\\u{1b}b`: ");
        check(
            "unix:run/a",
            None,
            None,
            "invalid target `unix:run/a`: expected an absolute path",
        );
        check(
            "unix:/a",
            Some(Door::Http),
            None,
            "invalid target `unix:/a`: a socket",
        );
        check(
            "a.b",
            Some(Door::Unix),
            None,
            "invalid target `a.b`: the door",
        );
        check(
            "a.b",
            Some(Door::Socks5),
            Some("GET"),
            "invalid target `a.b`: SOCKS5 has no method",
        );
        check(
            "a.b",
            None,
            Some("POST"),
            "invalid target `a.b`: at the door `connect`",
        );
        check("a.b", None, Some("G T"), "invalid method `G T`");
    }
}
