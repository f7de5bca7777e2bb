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

    /// What the kernel and the control groups of this process leave to it, without swapping; Linux
    /// tells, other systems are not asked.
    pub fn now() -> Option<Self> {
        let free = system_memory::available()?;
        let groups = groups().into_iter().filter_map(|dir| room(&dir));
        let room = groups.fold(free, u64::min);
        Some(Self { bytes: room.saturating_add(system_memory::resident().unwrap_or(0)) })
    }
}

/// The directories of the control group that this process is in, and of those around it.
fn groups() -> Vec<PathBuf> {
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
