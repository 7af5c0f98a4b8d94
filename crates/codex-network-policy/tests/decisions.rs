//! The decision table: `data/decisions/*.txt`, one judgement a row.
//!
//! `== title` begins a policy, which the following directives (`allow`, `deny`, `mode`, ...) fill. A row is
//! `question => answer`; the answer is verdict, reason and rule. Run the tests with `UPDATE_DECISIONS=1` to write the
//! answers afresh, and read the difference before you commit it.

use std::error::Error;
use std::fs;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use codex_network_policy::{
    AccessRequest, Authority, Host, HostPattern, Interception, Mode, Origin, Outcome, Policy,
    Protocol, Rule, Rules, SocketPath, SocketRule, Target, Trace,
};

type Anything<T> = Result<T, Box<dyn Error>>;

#[test]
fn the_decision_table_holds() -> Anything<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/decisions");
    let mut files: Vec<PathBuf> = fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Anything<_>>()?;
    files.sort();
    let mut wrong = Vec::new();
    let mut rows = 0;
    for path in files {
        let text = fs::read_to_string(&path)?;
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or("a file name")?;
        let answered = answer_file(name, &text)?;
        rows += text.lines().filter(|line| line.contains(" => ")).count();
        if option_env!("UPDATE_DECISIONS").is_some() {
            fs::write(&path, &answered)?;
        }
        for (number, (line, answer)) in (1..).zip(text.lines().zip(answered.lines())) {
            if line != answer {
                wrong.push(format!(
                    "{name}:{number}\n   written: {line}\n  answered: {answer}"
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} rows differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(rows > 300, "only {rows} rows were found");
    Ok(())
}

/// The same file with the answers that the code gives.
fn answer_file(name: &str, text: &str) -> Anything<String> {
    let mut rules = Rules::default();
    let mut answered = String::new();
    for (number, line) in (1..).zip(text.lines()) {
        let origin = || Origin {
            source: name.into(),
            line: NonZeroU32::new(number),
        };
        if let Some((question, _)) = line.split_once(" =>") {
            let answer = answer(&Policy::compile(rules.clone()), question)
                .map_err(|error| format!("{name}:{number}: {error}"))?;
            answered.push_str(&format!("{question} => {answer}"));
        } else {
            let directive: Vec<&str> = line.split_whitespace().collect();
            match directive[..] {
                [] | ["#", ..] => {}
                ["==", ..] => {
                    rules = Rules {
                        enabled: true,
                        ..Rules::default()
                    }
                }
                ["disabled"] => rules.enabled = false,
                ["pinned"] => rules.pinned = true,
                ["mode", "limited"] => rules.mode = Mode::Limited,
                ["intercept", "when-limited"] => {
                    rules.tls.interception = Interception::WhenLimited;
                }
                ["intercept", "always"] => rules.tls.interception = Interception::Always,
                ["allow-local-binding"] => rules.allow_local_binding = true,
                ["allow", pattern] => rules.allowed.push(Rule {
                    pattern: HostPattern::parse(&unescape(pattern)?)?,
                    origin: origin(),
                }),
                ["deny", pattern] => rules.denied.push(Rule {
                    pattern: HostPattern::parse(&unescape(pattern)?)?,
                    origin: origin(),
                }),
                ["sockets", "supported"] => rules.sockets.supported = true,
                ["sockets", "all"] => rules.sockets.allow_all = true,
                ["socket", path] => rules.sockets.allowed.push(SocketRule {
                    path: SocketPath::requested(path)?,
                    origin: origin(),
                }),
                _ => return Err(format!("{name}:{number}: `{line}` is no directive").into()),
            }
            answered.push_str(line);
        }
        answered.push('\n');
    }
    Ok(answered)
}

fn answer(policy: &Policy, question: &str) -> Anything<String> {
    let words: Vec<&str> = question.split_whitespace().collect();
    Ok(match words[..] {
        ["host", text] => match Host::parse(&unescape(text)?) {
            Ok(host) => host.to_string(),
            Err(error) => format!("malformed: {error}"),
        },
        ["pattern", text] => match HostPattern::parse(&unescape(text)?) {
            Ok(pattern) => pattern.to_string(),
            Err(error) => {
                let message = error.to_string();
                let (problem, advice) = message.split_once("; ").ok_or("advice")?;
                assert_eq!(
                    advice,
                    "use exact hosts or scoped wildcards like *.example.com or **.example.com"
                );
                format!("error: {problem}")
            }
        },
        ["admit", host, ref addresses @ ..] => {
            let addresses: Vec<IpAddr> = addresses
                .iter()
                .map(|address| address.parse())
                .collect::<Result<_, _>>()?;
            match policy.admit(&Host::parse(host)?, &addresses) {
                Ok(()) => "admitted".into(),
                Err(class) => format!("refused {class}"),
            }
        }
        ["intercepts"] => policy.intercepts(Protocol::HttpsConnect).to_string(),
        ["server-name", name, "in", target] => {
            match policy.admit_server_name(&Host::parse(target)?, &Host::parse(name)?) {
                Ok(()) => "admitted".into(),
                Err((reason, rule)) => match rule {
                    Some(rule) => format!("refused {reason} {}", policy.rule(rule)),
                    None => format!("refused {reason}"),
                },
            }
        }
        ["approved", ref request @ ..] => answer_request(policy, request, true)?,
        ref request => answer_request(policy, request, false)?,
    })
}

fn answer_request(policy: &Policy, words: &[&str], approved: bool) -> Anything<String> {
    let (protocol, method, upgrade, target) = match *words {
        ["http", method, "upgrade", target] => (Protocol::Http, Some(method), true, target),
        ["http", method, target] => (Protocol::Http, Some(method), false, target),
        ["https", method, "upgrade", target] => (Protocol::Https, Some(method), true, target),
        ["https", method, target] => (Protocol::Https, Some(method), false, target),
        ["connect", target] => (Protocol::HttpsConnect, Some("CONNECT"), false, target),
        ["socks", target] => (Protocol::Socks5Tcp, None, false, target),
        ["udp", target] => (Protocol::Socks5Udp, None, false, target),
        _ => return Err(format!("{words:?} is no question").into()),
    };
    let target = match target.strip_prefix("unix:") {
        Some(path) => match SocketPath::requested(path) {
            Ok(path) => Target::Unix(path),
            Err(error) => return Ok(format!("malformed: {error}")),
        },
        None => match Authority::parse(&unescape(target)?) {
            Ok(Authority { host, port }) => Target::Host {
                host,
                port: port.unwrap_or(443),
            },
            Err(error) => return Ok(format!("malformed: {error}")),
        },
    };
    let request = AccessRequest {
        protocol,
        target: &target,
        method,
        upgrade,
    };
    let evaluated = policy.evaluate(&request);
    let trace = Trace::of(policy, &request);
    assert_eq!(
        trace.verdict(),
        &evaluated,
        "the explanation of {words:?} differs"
    );
    let verdict = if approved {
        policy.evaluate_approved(&request)
    } else {
        evaluated
    };
    let (word, reason) = match &verdict.outcome {
        Outcome::Allow => ("allow", "-"),
        Outcome::Deny(reason) => ("deny", reason.as_str()),
        Outcome::Unlisted => ("unlisted", "-"),
    };
    let rule = verdict
        .rule
        .map_or("-".into(), |rule| policy.rule(rule).to_string());
    if !approved && verdict.rule.is_some() {
        assert!(
            trace.to_string().contains(&rule),
            "the explanation of {words:?} does not name {rule}"
        );
    }
    Ok(format!("{word} {reason} {rule}"))
}

/// `\0`, `\n`, `\r`, `\t`, `\s` (a space), `\\` and `\xNN` as the characters they stand for.
fn unescape(text: &str) -> Anything<String> {
    let mut plain = String::new();
    let mut rest = text.chars();
    while let Some(char) = rest.next() {
        plain.push(match char {
            '\\' => match rest.next() {
                Some('0') => '\0',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('s') => ' ',
                Some('\\') => '\\',
                Some('x') => {
                    let digits: String = rest.by_ref().take(2).collect();
                    char::from(u8::from_str_radix(&digits, 16)?)
                }
                other => return Err(format!("`\\{other:?}` is no escape").into()),
            },
            char => char,
        });
    }
    Ok(plain)
}
