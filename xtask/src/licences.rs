//! `cargo xtask licences`: the licence and the source of every dependency against `deny.toml`.
//!
//! That page is cargo-deny's, and whoever has cargo-deny uses it (`.ci/run` does): it knows bans and advisories too. It is 140 crates to compile, for
//! which a cold run of continuous integration has no time, so that the same two questions are asked here: is every dependency from the registry or from
//! this workspace, and does every licence expression hold by the licences that are allowed?
//!
//! Left out: advisories, several versions of one crate, and texts of licences (a crate whose manifest has no expression needs a
//! `[[licenses.clarify]]`).

mod expression;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use clap::Args;
use serde::Deserialize;

use expression::holds;

/// Holds the licence and the source of every dependency against deny.toml
#[derive(Args)]
pub struct Licences {}

/// What `deny.toml` says, as far as it is read here.
#[derive(Deserialize)]
struct Rules {
    graph: Graph,
    licenses: Allowed,
}

#[derive(Deserialize)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Deserialize)]
struct Allowed {
    allow: BTreeSet<String>,
    exceptions: Vec<Exception>,
    clarify: Vec<Clarified>,
}

#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Clarified {
    #[serde(rename = "crate")]
    name: String,
    expression: String,
}

/// What `cargo metadata` says, as far as it is read here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    resolve: Resolve,
}

#[derive(Debug, Clone, Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

/// Why the check could not be made, or what it found.
#[derive(Debug, thiserror::Error)]
pub enum LicencesError {
    /// deny.toml.
    #[error("{}: {reason}", path.display())]
    Rules {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// cargo.
    #[error("`cargo metadata`: {reason}")]
    Metadata {
        /// What it said.
        reason: String,
    },
    /// Dependencies that the rules do not allow.
    #[error(
        "{}\ntake another crate, or say in deny.toml why it may be",
        found.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    )]
    Found {
        /// A line each.
        found: BTreeSet<String>,
    },
}

pub fn run(_: &Licences) -> Result<(), LicencesError> {
    let path = crate::root().join("deny.toml");
    let read = |reason: String| LicencesError::Rules { path: path.clone(), reason };
    let text = std::fs::read_to_string(&path).map_err(|error| read(error.to_string()))?;
    let rules: Rules = toml::from_str(&text).map_err(|error| read(error.to_string()))?;

    let mut packages = BTreeMap::new();
    for target in &rules.graph.targets {
        for package in reached(metadata(target)?) {
            packages.insert(package.id.clone(), package);
        }
    }
    let found: BTreeSet<String> =
        packages.values().flat_map(|package| problems(package, &rules.licenses)).collect();
    if !found.is_empty() {
        return Err(LicencesError::Found { found });
    }
    println!("{} packages: every licence and every source is allowed", packages.len());
    Ok(())
}

/// The whole workspace with all of its features, as one target has it.
fn metadata(target: &str) -> Result<Metadata, LicencesError> {
    let failed = |reason: String| LicencesError::Metadata { reason };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--all-features"])
        .args(["--filter-platform", target])
        .current_dir(crate::root())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))
}

/// The packages that the workspace needs: metadata lists those of other targets too.
fn reached(metadata: Metadata) -> Vec<Package> {
    let Metadata { packages, workspace_members, resolve } = metadata;
    let needs: BTreeMap<String, Vec<String>> =
        resolve.nodes.into_iter().map(|node| (node.id, node.dependencies)).collect();
    let mut reached = BTreeSet::new();
    let mut open = workspace_members;
    while let Some(id) = open.pop() {
        if reached.insert(id.clone()) {
            open.extend(needs.get(&id).into_iter().flatten().cloned());
        }
    }
    packages.into_iter().filter(|package| reached.contains(&package.id)).collect()
}

/// What is wrong with one package, a line each.
fn problems(package: &Package, rules: &Allowed) -> Vec<String> {
    let Package { name, version, license, source, .. } = package;
    let mut lines = Vec::new();
    if let Some(source) = source
        && source != "registry+https://github.com/rust-lang/crates.io-index"
    {
        lines.push(format!("{name} {version}: comes from {source}, which is not crates.io"));
    }
    let clarified = rules.clarify.iter().find(|clarified| clarified.name == *name);
    let excepted = rules.exceptions.iter().find(|exception| exception.name == *name);
    let allowed = |licence: &str| {
        rules.allow.contains(licence)
            || excepted.is_some_and(|exception| exception.allow.contains(licence))
    };
    match license.as_ref().or(clarified.map(|clarified| &clarified.expression)) {
        None => lines.push(format!("{name} {version}: its manifest has no licence expression")),
        Some(expression) => match holds(expression, allowed) {
            Some(true) => {}
            Some(false) => lines.push(format!("{name} {version}: {expression} is not allowed")),
            None => lines.push(format!("{name} {version}: `{expression}` is no SPDX expression")),
        },
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(id: &str, license: Option<&str>, source: Option<&str>) -> Package {
        Package {
            id: id.into(),
            name: id.into(),
            version: "1.0.0".into(),
            license: license.map(Into::into),
            source: source.map(Into::into),
        }
    }

    fn rules() -> Allowed {
        Allowed {
            allow: BTreeSet::from(["MIT".to_owned()]),
            exceptions: vec![Exception {
                name: "weak".into(),
                allow: BTreeSet::from(["MPL-2.0".to_owned()]),
            }],
            clarify: vec![Clarified { name: "silent".into(), expression: "MIT".into() }],
        }
    }

    const REGISTRY: Option<&str> = Some("registry+https://github.com/rust-lang/crates.io-index");

    #[test]
    fn a_licence_is_allowed_for_all_or_for_one() {
        for (name, license, fine) in [
            ("a", Some("MIT"), true),
            ("a", Some("MPL-2.0"), false),
            ("weak", Some("MPL-2.0"), true),
            ("a", None, false),
            ("silent", None, true),
            ("a", Some("MIT OR"), false),
        ] {
            let problems = problems(&package(name, license, REGISTRY), &rules());
            assert_eq!(problems.is_empty(), fine, "{name} {license:?}: {problems:?}");
        }
    }

    #[test]
    fn a_dependency_from_a_repository_is_told() {
        let git = package("a", Some("MIT"), Some("git+https://example.org/a#1"));
        assert!(problems(&git, &rules())[0].contains("git+https://example.org/a"));
        assert!(
            problems(&package("a", Some("MIT"), None), &rules()).is_empty(),
            "a path of our own"
        );
    }

    #[test]
    fn only_what_the_workspace_needs_is_asked_and_circles_end() {
        let node = |id: &str, needs: &[&str]| Node {
            id: id.into(),
            dependencies: needs.iter().map(|&need| need.into()).collect(),
        };
        let metadata = Metadata {
            packages: ["ours", "a", "b", "elsewhere"].map(|id| package(id, None, None)).into(),
            workspace_members: vec!["ours".into()],
            resolve: Resolve {
                nodes: vec![
                    node("ours", &["a", "b"]),
                    node("a", &["b"]),
                    node("b", &["a"]),
                    node("elsewhere", &[]),
                ],
            },
        };
        let ids: Vec<String> = reached(metadata).into_iter().map(|package| package.id).collect();
        assert_eq!(ids, ["ours", "a", "b"]);
    }
}
