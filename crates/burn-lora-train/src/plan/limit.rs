//! How much memory a run may have: this process, where it computes on a CPU; else its device.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde::Serialize;

use crate::system_memory;

/// Whose memory a run takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// This process's.
    Process,
    /// A GPU's. What is counted is then an estimate, and refuses nothing.
    Device,
}

impl Place {
    /// Where a run on that device has its tensors.
    pub fn of(device: &Device) -> Self {
        if burn_lora::device::is_cpu(device) { Self::Process } else { Self::Device }
    }
}

/// What a run may grow to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// Bytes that this process may have resident, with those that it has already; or all that the device has.
    pub bytes: u64,
}

impl Limit {
    /// What the system or the device tells.
    pub fn of(device: &Device) -> Option<Self> {
        match Place::of(device) {
            Place::Process => Self::now(),
            Place::Device => burn_lora::device::memory(device).map(|bytes| Self { bytes }),
        }
    }

    /// The share of it that one of so many processes has.
    pub(super) fn among(self, processes: usize) -> Self {
        Self { bytes: self.bytes / processes.max(1) as u64 }
    }

    /// What the kernel, the control groups of this process (both versions of them) and its own limit on addresses leave to it, without
    /// swapping; Linux tells, other systems are not asked.
    pub fn now() -> Option<Self> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let groups = groups(&read("/proc/self/cgroup"), Path::new("/sys/fs/cgroup"));
        let addresses = room_for_addresses(&read("/proc/self/limits"), system_memory::addresses());
        let rooms = groups.into_iter().filter_map(|group| group.room()).chain(addresses);
        let room = rooms.fold(system_memory::available()?, u64::min);
        Some(Self { bytes: room.saturating_add(system_memory::resident().unwrap_or(0)) })
    }
}

/// A control group: its directory, and what its files are called.
struct Group {
    dir: PathBuf,
    names: &'static Names,
}

struct Names {
    limit: &'static str,
    used: &'static str,
    /// What the group caches of files goes when memory is short.
    cached: [&'static str; 2],
}

const SECOND: Names = Names {
    limit: "memory.max",
    used: "memory.current",
    cached: ["inactive_file ", "active_file "],
};
const FIRST: Names = Names {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    cached: ["total_inactive_file ", "total_active_file "],
};

/// The control groups that bound the memory of a process, with those around them, from its `/proc/PID/cgroup`.
///
/// A container often sees its own group as the root, while the file names the place outside: what is not there has no limit to tell, and
/// the root is always among them.
fn groups(text: &str, root: &Path) -> Vec<Group> {
    let mut groups = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let (root, names) = match controllers {
            "" => (root.to_owned(), &SECOND),
            all if all.split(',').any(|name| name == "memory") => (root.join("memory"), &FIRST),
            _ => continue,
        };
        let own = root.join(path.trim_start_matches('/'));
        let around = own.ancestors().take_while(|dir| dir.starts_with(&root));
        groups.extend(around.map(|dir| Group { dir: dir.to_owned(), names }));
    }
    groups
}

impl Group {
    /// What it leaves, in bytes; none where it sets no limit.
    fn room(&self) -> Option<u64> {
        let read = |name: &str| fs::read_to_string(self.dir.join(name)).ok();
        let number = |name| read(name)?.trim().parse::<u64>().ok();
        let max = number(self.names.limit)?;
        let stat = read("memory.stat").unwrap_or_default();
        let cached = |key: &&str| stat.lines().find_map(|line| line.strip_prefix(key));
        let cached: u64 = self
            .names
            .cached
            .iter()
            .filter_map(cached)
            .filter_map(|value| value.trim().parse::<u64>().ok())
            .sum();
        Some(max.saturating_sub(number(self.names.used)?.saturating_sub(cached)))
    }
}

/// What a limit on a process's addresses (`ulimit -v`) leaves to one that uses so many, from its `/proc/PID/limits`.
fn room_for_addresses(limits: &str, used: Option<u64>) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    let limit: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(limit.saturating_sub(used?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_leaves_its_limit_less_what_is_used_and_no_cache() {
        let dir = tempfile::tempdir().unwrap();
        for names in [&SECOND, &FIRST] {
            let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
            let room = || Group { dir: dir.path().to_owned(), names }.room();
            write(names.limit, "max\n");
            write(names.used, "700\n");
            write("memory.stat", "");
            assert_eq!(room(), None);
            write(names.limit, "1000\n");
            assert_eq!(room(), Some(300));
            let [inactive, active] = names.cached;
            write("memory.stat", &format!("anon 500\n{inactive}150\n{active}50\n"));
            assert_eq!(room(), Some(500));
            write(names.used, "1500\n");
            write("memory.stat", "");
            assert_eq!(room(), Some(0), "more than allowed leaves nothing");
        }
    }

    #[test]
    fn groups_of_both_versions_are_asked_up_to_the_root() {
        let dirs = |text: &str| -> Vec<String> {
            let groups = groups(text, Path::new("/r"));
            groups.iter().map(|group| group.dir.display().to_string()).collect()
        };
        assert_eq!(dirs("0::/a/b\n"), ["/r/a/b", "/r/a", "/r"]);
        let first = "12:cpu,cpuacct:/x\n9:memory:/docker/1\n0::/\n";
        let expected = ["/r/memory/docker/1", "/r/memory/docker", "/r/memory", "/r"];
        assert_eq!(
            dirs(first).iter().map(|dir| dir.trim_end_matches('/')).collect::<Vec<_>>(),
            expected
        );
        assert!(dirs("nonsense\n").is_empty());
    }

    #[test]
    fn a_limit_on_addresses_leaves_what_is_not_used() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max cpu time              unlimited            unlimited            seconds   \n\
                      Max address space         40960000             unlimited            bytes     \n";
        assert_eq!(room_for_addresses(limits, Some(40_000_000)), Some(960_000));
        assert_eq!(room_for_addresses(limits, Some(50_000_000)), Some(0));
        let without = limits.replace("40960000 ", "unlimited");
        assert_eq!(room_for_addresses(&without, Some(1)), None);
    }
}
