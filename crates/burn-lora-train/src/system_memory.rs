//! What the kernel tells of memory, in bytes. Linux tells; other systems are not asked.

use std::fs;

/// The most memory that this process has had resident.
pub fn peak() -> Option<u64> {
    told("/proc/self/status", "VmHWM")
}

/// What this process has resident now.
pub fn resident() -> Option<u64> {
    told("/proc/self/status", "VmRSS")
}

/// The addresses that this process uses, whether anything is behind them or not.
pub fn addresses() -> Option<u64> {
    told("/proc/self/status", "VmSize")
}

/// What could be used without swapping.
pub fn available() -> Option<u64> {
    told("/proc/meminfo", "MemAvailable")
}

/// All memory of this machine.
pub fn total() -> Option<u64> {
    told("/proc/meminfo", "MemTotal")
}

fn told(path: &str, key: &str) -> Option<u64> {
    kib(&fs::read_to_string(path).ok()?, key)
}

/// The value of `key` in a text of lines `key:  123 kB`, in bytes.
fn kib(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_read_as_bytes() {
        let text = "MemTotal:       24 kB\nMemAvailable:    2048 kB\nBad: x kB\n";
        assert_eq!(kib(text, "MemAvailable"), Some(2 << 20));
        assert_eq!(kib(text, "Bad"), None);
        assert_eq!(kib(text, "SwapFree"), None);
        assert_eq!(kib("Huge: 99999999999999999999 kB", "Huge"), None);
    }
}
