//! What we are made of: `cargo xtask sbom` writes it down for others, `cargo xtask vet` holds it to what was looked at.
//!
//! Main type: [`Graph`], read from `cargo metadata`. The record is in `supply-chain/`, in the form of cargo-vet, which can go on
//! from it; here is only what needs no further tool: that every library has an entry, for the version in the lock file and for
//! what it is used for. Whether an entry is deserved is for people to say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use crate::step::cargo;

const BINARY: &str = "codex-network-proxy";

/// What a library must be good for: to be part of the binary, or to run on a developer's machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Criteria {
    Run,
    Deploy,
}

impl Criteria {
    fn as_str(self) -> &'static str {
        match self {
            Self::Run => "safe-to-run",
            Self::Deploy => "safe-to-deploy",
        }
    }

    fn read(text: &str) -> Option<Self> {
        [Self::Run, Self::Deploy]
            .into_iter()
            .find(|criteria| criteria.as_str() == text)
    }
}

/// All packages of the lock file, and what leads to what.
struct Graph {
    packages: BTreeMap<String, Value>,
    /// Without what only tests need.
    dependencies: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn read(root: &Path) -> Result<Self, String> {
        let output = cargo(root)
            .args(["metadata", "--format-version", "1", "--locked"])
            .output()
            .map_err(|error| format!("cannot run cargo metadata: {error}"))?;
        let metadata: Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("cannot read cargo metadata: {error}"))?;
        let mut graph = Self {
            packages: BTreeMap::new(),
            dependencies: BTreeMap::new(),
        };
        for package in list(&metadata["packages"]) {
            graph.packages.insert(text(&package["id"]), package.clone());
        }
        for node in list(&metadata["resolve"]["nodes"]) {
            let used = list(&node["deps"]).filter(|used| {
                list(&used["dep_kinds"]).any(|kind| kind["kind"].as_str() != Some("dev"))
            });
            let used = used.map(|used| text(&used["pkg"])).collect();
            graph.dependencies.insert(text(&node["id"]), used);
        }
        Ok(graph)
    }

    /// What the binary is made of, itself included.
    fn of_binary(&self) -> BTreeSet<String> {
        let start = self
            .packages
            .iter()
            .find(|(_, package)| package["name"] == BINARY);
        let mut open: Vec<String> = start.map(|(id, _)| id.clone()).into_iter().collect();
        let mut found = BTreeSet::new();
        while let Some(id) = open.pop() {
            if found.insert(id.clone()) {
                open.extend(self.dependencies.get(&id).into_iter().flatten().cloned());
            }
        }
        found
    }

    /// Libraries of others: name, version, and what they must be good for.
    fn needs(&self) -> BTreeMap<(String, String), Criteria> {
        let deployed = self.of_binary();
        let others = self
            .packages
            .iter()
            .filter(|(_, package)| !package["source"].is_null());
        others
            .map(|(id, package)| {
                let criteria = if deployed.contains(id) {
                    Criteria::Deploy
                } else {
                    Criteria::Run
                };
                (
                    (text(&package["name"]), text(&package["version"])),
                    criteria,
                )
            })
            .collect()
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Entries `[[exemptions.NAME]]` and `[[audits.NAME]]` with the version that follows.
fn recorded(record: &str) -> BTreeMap<(String, String), Criteria> {
    let mut entries = BTreeMap::new();
    let (mut name, mut version) = (String::new(), String::new());
    for line in record.lines() {
        let heading = ["[[exemptions.", "[[audits."]
            .iter()
            .find_map(|start| line.strip_prefix(start)?.strip_suffix("]]"));
        if let Some(heading) = heading {
            heading.clone_into(&mut name);
        } else if let Some((key, value)) = line.split_once(" = ") {
            let value = value.trim_matches('"');
            match (key, Criteria::read(value)) {
                ("version", _) => value.clone_into(&mut version),
                ("criteria", Some(criteria)) => {
                    let entry = entries.entry((name.clone(), version.clone()));
                    let known = entry.or_insert(criteria);
                    *known = (*known).max(criteria);
                }
                _ => {}
            }
        }
    }
    entries
}

fn read_record(root: &Path) -> BTreeMap<(String, String), Criteria> {
    let read = |name: &str| std::fs::read_to_string(root.join("supply-chain").join(name));
    let both = ["config.toml", "audits.toml"].map(|name| read(name).unwrap_or_default());
    recorded(&both.join("\n"))
}

/// Demands an entry for each library.
pub(crate) fn vet(root: &Path) -> bool {
    let graph = match Graph::read(root) {
        Ok(graph) => graph,
        Err(why) => {
            println!("vet: {why}");
            return false;
        }
    };
    let (needs, record) = (graph.needs(), read_record(root));
    let mut good = true;
    for ((name, version), criteria) in &needs {
        if record
            .get(&(name.clone(), version.clone()))
            .is_none_or(|found| found < criteria)
        {
            println!(
                "vet: {name} {version} has no entry as {}",
                criteria.as_str()
            );
            good = false;
        }
    }
    for (name, version) in record.keys().filter(|entry| !needs.contains_key(*entry)) {
        println!("vet: {name} {version} has an entry and is not used");
        good = false;
    }
    if good {
        println!("vet: {} libraries, all on record", needs.len());
    } else {
        println!("vet: look at what is new, then `cargo xtask vet update`");
    }
    good
}

/// Writes an exemption for each library that has no audit.
pub(crate) fn update(root: &Path) -> bool {
    let graph = match Graph::read(root) {
        Ok(graph) => graph,
        Err(why) => {
            println!("vet: {why}");
            return false;
        }
    };
    let audits = root.join("supply-chain/audits.toml");
    let audited = recorded(&std::fs::read_to_string(audits).unwrap_or_default());
    let mut record = "# Libraries that are used without an audit of our own, in the form of cargo-vet. See README.md.\n\n\
         [cargo-vet]\nversion = \"0.10\"\n"
        .to_owned();
    for ((name, version), criteria) in graph.needs() {
        if audited
            .get(&(name.clone(), version.clone()))
            .is_some_and(|found| *found >= criteria)
        {
            continue;
        }
        record.push_str(&format!(
            "\n[[exemptions.{name}]]\nversion = \"{version}\"\ncriteria = \"{}\"\n",
            criteria.as_str()
        ));
    }
    let written = std::fs::write(root.join("supply-chain/config.toml"), record);
    written.is_ok() && vet(root)
}

/// Writes the bill of materials of the binary, for every platform together.
pub(crate) fn sbom(root: &Path) -> bool {
    let written = Graph::read(root).and_then(|graph| {
        let lock = std::fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
        let path = root.join("target/sbom.cdx.json");
        let bill = format!("{:#}\n", bill(&graph, &checksums(&lock)));
        std::fs::write(&path, bill)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok((path, graph.of_binary().len()))
    });
    match written {
        Ok((path, count)) => println!("sbom: {count} components in {}", path.display()),
        Err(why) => {
            println!("sbom: {why}");
            return false;
        }
    }
    true
}

/// CycloneDX 1.5. It has no time and no number of its own, so that the same lock file gives the same bill.
fn bill(graph: &Graph, checksums: &BTreeMap<(String, String), String>) -> Value {
    let found = graph.of_binary();
    let reference = |id: &str| {
        let package = &graph.packages[id];
        format!(
            "pkg:cargo/{}@{}",
            text(&package["name"]),
            text(&package["version"])
        )
    };
    let component = |id: &String| {
        let package = &graph.packages[id];
        let (name, version) = (text(&package["name"]), text(&package["version"]));
        let kind = if name == BINARY {
            "application"
        } else {
            "library"
        };
        let mut component = json!({
            "type": kind,
            "bom-ref": reference(id),
            "name": name,
            "version": version,
            "purl": reference(id),
        });
        if let Some(license) = package["license"].as_str() {
            // Older packages write a slash for `OR`.
            component["licenses"] = json!([{ "expression": license.replace('/', " OR ") }]);
        }
        if let Some(sum) = checksums.get(&(name, version)) {
            component["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
        }
        component
    };
    let (own, others): (Vec<&String>, Vec<&String>) = found
        .iter()
        .partition(|id| graph.packages[*id]["name"] == BINARY);
    let uses = |id: &String| {
        let used = graph.dependencies.get(id).into_iter().flatten();
        json!({ "ref": reference(id), "dependsOn": used.map(|id| reference(id)).collect::<Vec<_>>() })
    };
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": own.first().map(|id| component(id)) },
        "components": others.iter().map(|id| component(id)).collect::<Vec<_>>(),
        "dependencies": found.iter().map(uses).collect::<Vec<_>>(),
    })
}

/// The sums of the lock file, by name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let mut sums = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let field = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key));
            line.map(|value| value.trim_matches('"').to_owned())
        };
        let named = (field("name = "), field("version = "), field("checksum = "));
        if let (Some(name), Some(version), Some(sum)) = named {
            sums.insert((name, version), sum);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_name_a_version_and_what_it_is_good_for() {
        let record = "[cargo-vet]\nversion = \"0.10\"\n\n[[exemptions.a]]\nversion = \"1.0.0\"\ncriteria = \"safe-to-run\"\n\
            [[audits.a]]\nwho = \"x\"\nversion = \"1.0.0\"\ncriteria = \"safe-to-deploy\"\n";
        let entries = recorded(record);
        let expected = [(("a".to_owned(), "1.0.0".to_owned()), Criteria::Deploy)];
        assert_eq!(entries, expected.into());
        assert!(Criteria::Run < Criteria::Deploy);
    }

    #[test]
    fn the_bill_has_sums_licences_and_what_uses_what() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let graph = Graph::read(&root).unwrap();
        let lock = std::fs::read_to_string(root.join("Cargo.lock")).unwrap();
        let bill = bill(&graph, &checksums(&lock));
        assert_eq!(bill["metadata"]["component"]["name"], BINARY);
        let components: Vec<&Value> = list(&bill["components"]).collect();
        let hyper = components
            .iter()
            .find(|component| component["name"] == "hyper");
        let hyper = hyper.unwrap();
        assert_eq!(hyper["licenses"][0]["expression"], "MIT");
        assert_eq!(hyper["hashes"][0]["content"].as_str().unwrap().len(), 64);
        // Only tests need it.
        assert!(
            components
                .iter()
                .all(|component| component["name"] != "proptest")
        );
        let references: BTreeSet<String> = components
            .iter()
            .map(|component| text(&component["bom-ref"]))
            .collect();
        assert_eq!(references.len(), components.len());
        assert_eq!(list(&bill["dependencies"]).count(), components.len() + 1);
    }
}
