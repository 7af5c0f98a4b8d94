//! Programs with one script for each language (`tests/data/clients`), which makes every visit that it is told to.
//!
//! Main type: [`Script`]. The same script runs where TLS is opened, in opaque tunnels, and without trust.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::visit::{Kind, Speaks, Told, Visit, Way};
use super::{go, java};
use crate::cases::clients::python;
use crate::command::{is_missing, output};
use crate::report::{Case, Outcome, skippable};
use crate::world::{World, told_environment};

/// How a script is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Python,
    Node,
    Java,
    Go,
}

/// A client of HTTP.
#[derive(Clone, Copy, Debug)]
pub(super) struct Script {
    pub(super) title: &'static str,
    language: Language,
    /// The script's first argument.
    client: &'static str,
    pub(super) offers: Speaks,
    /// Whether it shows trailers.
    trailers: bool,
}

const fn script(
    title: &'static str,
    language: Language,
    client: &'static str,
    offers: Speaks,
    trailers: bool,
) -> Script {
    Script {
        title,
        language,
        client,
        offers,
        trailers,
    }
}

/// Those that wait for a compiler come first.
pub(super) const SCRIPTS: [Script; 12] = {
    use Language::{Go, Java, Node, Python};
    use Speaks::{Both, Http1, Http2};
    [
        script("go_http1", Go, "1.1", Http1, true),
        script("go_http2", Go, "2", Both, true),
        script("java_http1", Java, "HTTP_1_1", Http1, false),
        script("java_http2", Java, "HTTP_2", Both, false),
        script("python_urllib", Python, "urllib", Http1, false),
        script("python_requests", Python, "requests", Http1, false),
        script("python_httpx", Python, "httpx", Http1, false),
        script("python_httpx_http2", Python, "httpx_http2", Both, false),
        script("python_aiohttp", Python, "aiohttp", Http1, false),
        script("node_https", Node, "https", Http1, true),
        script("node_http2", Node, "http2", Http2, true),
        script("node_fetch", Node, "fetch", Http1, false),
    ]
};

pub(super) fn cases() -> Vec<Case> {
    let opened = SCRIPTS.into_iter().map(|script| {
        let title = format!("inside_{}", script.title);
        let case = skippable(title.clone(), async move |world| {
            let environment = told_environment(&world.reading, &world.room(&title)?);
            let authority = world.reading.home.join("proxy/ca.pem");
            let visits = script.all_visits();
            script
                .visit(&world, Way::Opened, &authority, environment, &visits)
                .await
        });
        case.within(go::COMPILES_WITHIN)
    });
    // Python's are tried there by `clients/python.rs`, and Java's HTTP/2 falls back by itself.
    let opaque = SCRIPTS
        .into_iter()
        .filter(|script| script.language != Language::Python && script.title != "java_http1");
    let opaque = opaque.map(|script| {
        let title = format!("opaque_{}", script.title);
        let case = skippable(title.clone(), async move |world| {
            let environment = world.client_environment(&world.room(&title)?);
            let visits = [Kind::Echo, Kind::Head, Kind::Post].into_iter();
            let visits = visits
                .flat_map(Visit::everywhere)
                .filter(|visit| visit.is_possible(Way::Opaque, script.offers));
            let visits: Vec<Visit> = visits.collect();
            let authority = &world.origins.authority;
            script
                .visit(&world, Way::Opaque, authority, environment, &visits)
                .await
        });
        case.within(go::COMPILES_WITHIN)
    });
    opened.chain(opaque).collect()
}

/// Whom a program is to trust that reads no variable.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trust<'a> {
    /// The certificate in this file.
    In(&'a Path),
    Nobody,
}

impl Script {
    /// Everything that it can show where TLS is opened.
    fn all_visits(self) -> Vec<Visit> {
        let usual = Kind::USUAL.into_iter().flat_map(Visit::everywhere);
        // Slow languages need seconds for 100 MB, and curl takes it from all of them.
        let usual = usual.filter(|visit| visit.kind != Kind::Large || visit.origin == Speaks::Both);
        let mut visits: Vec<Visit> = usual.collect();
        visits.push(Visit::handmade(Kind::Early));
        if self.trailers {
            visits.push(Visit::handmade(Kind::Trailers));
            let trailers = Visit::everywhere(Kind::Trailers);
            visits.extend(trailers.filter(|visit| visit.origin == Speaks::Http2));
        }
        visits
    }

    /// Makes the visits, trusting this authority besides what the environment says, and holds each to what must come of it.
    async fn visit(
        self,
        world: &World,
        way: Way,
        authority: &Path,
        environment: BTreeMap<String, String>,
        visits: &[Visit],
    ) -> Result<Outcome> {
        // So that nobody's visits are taken for another's.
        let name = format!("{way:?}_{}", self.title).to_lowercase();
        let asked: Vec<(&str, String)> = visits
            .iter()
            .map(|visit| (visit.kind.method(), visit.url(&name)))
            .collect();
        let trust = Trust::In(authority);
        let told = match self.run(world, trust, environment, &asked).await? {
            Ok(told) => told,
            Err(skipped) => return Ok(skipped),
        };
        for (visit, told) in visits.iter().zip(&told) {
            visit.hold(world, way, (&name, self.offers), told)?;
        }
        ensure!(told.len() == visits.len(), "it ended before: {told:?}");
        Ok(Outcome::Passed)
    }

    /// What the program tells of each request, or why it cannot run here.
    pub(super) async fn run(
        self,
        world: &World,
        trust: Trust<'_>,
        mut environment: BTreeMap<String, String>,
        asked: &[(&str, String)],
    ) -> Result<Result<Vec<Told>, Outcome>> {
        let prepared = match self.language {
            Language::Python => {
                environment.extend(python::installation());
                Ok((python::interpreter(), vec![data("visits.py")]))
            }
            Language::Node => {
                let modules = std::env::var("CNP_NODE_PATH").ok();
                environment.extend(modules.map(|path| ("NODE_PATH".to_owned(), path)));
                // The others find their own way, and would be led astray.
                if self.client == "fetch" {
                    environment.insert("NODE_USE_ENV_PROXY".to_owned(), "1".to_owned());
                }
                Ok(("node".to_owned(), vec![data("visits.js")]))
            }
            Language::Java => java::command(world, trust).await?,
            Language::Go => go::command(world).await?,
        };
        let (program, mut arguments) = match prepared {
            Ok(prepared) => prepared,
            Err(skipped) => return Ok(Err(skipped)),
        };
        arguments.push(self.client.to_owned());
        for (method, url) in asked {
            arguments.extend([(*method).to_owned(), url.clone()]);
        }
        let said = match output(&program, &arguments, &environment).await {
            Ok(said) => said,
            Err(error) if is_missing(&error) => {
                let why = format!("{program} is not installed");
                return Ok(Err(Outcome::Skipped(why)));
            }
            Err(error) => return Err(error),
        };
        let lines = said.stdout.lines().map(serde_json::from_str);
        let told: Vec<Told> = lines
            .collect::<Result<_, _>>()
            .with_context(|| format!("{said:?}"))?;
        ensure!(!told.is_empty(), "{said:?}");
        match told.iter().find_map(|told| told.missing.clone()) {
            Some(missing) => Ok(Err(Outcome::Skipped(missing))),
            None => Ok(Ok(told)),
        }
    }
}

/// The path of a file with a client.
pub(super) fn data(name: &str) -> String {
    format!("{}/tests/data/clients/{name}", env!("CARGO_MANIFEST_DIR"))
}
