//! What a measurement was made on.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use burn_lora_train::system_memory;

use super::record::Machine;
use crate::processor::{self, Processor};

/// This machine.
pub fn this() -> Machine {
    let Processor { name, instructions } = processor::this();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Machine {
        cpu: name,
        instructions: instructions.to_owned(),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        memory: system_memory::total().unwrap_or(0),
        os: format!("{} {}", std::env::consts::OS, kernel.trim()),
    }
}

/// The tree's commit, `-dirty` where it has changes; empty outside of git.
pub fn commit(root: &Path) -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(root).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return String::new() };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if !changes.is_empty() => format!("{commit}-dirty"),
        _ => commit,
    }
}

/// Versions of what is measured.
pub fn versions(root: &Path) -> BTreeMap<String, String> {
    let rustc = Command::new("rustc").arg("--version").output().ok();
    let rustc = rustc.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    [
        ("burn-lora", Some(env!("CARGO_PKG_VERSION").to_owned())),
        ("burn", locked(root, "burn")),
        ("gemm", locked(root, "gemm")),
        ("rustc", rustc),
    ]
    .into_iter()
    .filter_map(|(name, version)| Some((name.to_owned(), version?)))
    .collect()
}

/// The version of a package in Cargo.lock.
fn locked(root: &Path, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(root.join("Cargo.lock")).ok()?;
    let lock: toml::Table = toml::from_str(&text).ok()?;
    let package = lock
        .get("package")?
        .as_array()?
        .iter()
        .find(|package| package.get("name").and_then(toml::Value::as_str) == Some(name))?;
    Some(package.get("version")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_says_which_burn_this_is() {
        let root = crate::bench::root();
        assert_eq!(versions(&root)["burn"], "0.22.1");
        assert!(this().processors > 0);
    }
}
