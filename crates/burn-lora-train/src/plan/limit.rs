//! How much memory this process may have.

use std::fs;
use std::path::Path;

use serde::Serialize;

/// What this process may grow to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// Bytes that it may have resident, with those that it has already.
    pub bytes: u64,
}

impl Limit {
    /// What the kernel and the control groups of this process leave to it, without swapping; Linux
    /// tells, other systems are not asked.
    pub fn now() -> Option<Self> {
        let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
        let free = kib(&meminfo, "MemAvailable:")?;
        let groups = groups().into_iter().filter_map(|dir| room(&dir));
        let room = groups.fold(free, u64::min);
        Some(Self { bytes: room.saturating_add(resident()) })
    }
}

/// What this process has resident now, in bytes; 0 where the system does not tell.
pub(crate) fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    kib(&status, "VmRSS:").unwrap_or(0)
}

/// The value of `key` in a text of lines `key:  123 kB`, in bytes.
fn kib(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The directories of the control group that this process is in, and of those around it.
fn groups() -> Vec<std::path::PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(path) = text.lines().find_map(|line| line.strip_prefix("0::/")) else {
        return Vec::new();
    };
    let root = Path::new("/sys/fs/cgroup");
    let own = root.join(path);
    own.ancestors().take_while(|dir| dir.starts_with(root)).map(Path::to_owned).collect()
}

/// What a control group leaves, in bytes; none where it sets no limit.
fn room(dir: &Path) -> Option<u64> {
    let number = |name| fs::read_to_string(dir.join(name)).ok()?.trim().parse::<u64>().ok();
    let max = number("memory.max")?;
    // What the group caches of files goes when memory is short.
    let stat = fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
    let cached: u64 = ["inactive_file ", "active_file "]
        .into_iter()
        .filter_map(|key| stat.lines().find_map(|line| line.strip_prefix(key)))
        .filter_map(|value| value.trim().parse::<u64>().ok())
        .sum();
    Some(max.saturating_sub(number("memory.current")?.saturating_sub(cached)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_read_as_bytes() {
        let text = "MemTotal:       24 kB\nMemAvailable:    2048 kB\nBad: x kB\n";
        assert_eq!(kib(text, "MemAvailable:"), Some(2 << 20));
        assert_eq!(kib(text, "Bad:"), None);
        assert_eq!(kib(text, "SwapFree:"), None);
        assert_eq!(kib("Huge: 99999999999999999999 kB", "Huge:"), None);
    }

    #[test]
    fn a_group_leaves_its_limit_less_what_is_used_and_no_cache() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("memory.max", "max\n");
        write("memory.current", "700\n");
        assert_eq!(room(dir.path()), None);
        write("memory.max", "1000\n");
        assert_eq!(room(dir.path()), Some(300));
        write("memory.stat", "anon 500\ninactive_file 150\nactive_file 50\n");
        assert_eq!(room(dir.path()), Some(500));
        write("memory.current", "1500\n");
        write("memory.stat", "");
        assert_eq!(room(dir.path()), Some(0), "more than allowed leaves nothing");
    }
}
