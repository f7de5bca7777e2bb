//! The processor that figures are of: a figure of one kind says nothing of another.

use std::fmt;

/// A processor's name and the widest vector instructions that the products here use of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processor {
    /// As it calls itself.
    pub name: String,
    /// `AVX-512`, `AVX2`, `NEON`; empty where none of them is there.
    pub instructions: &'static str,
}

/// This one.
pub fn this() -> Processor {
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = told
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned());
    Processor { name, instructions: instructions() }
}

#[cfg(target_arch = "x86_64")]
fn instructions() -> &'static str {
    // What `x86-v4` of the product crates asks for, then `x86-v3`.
    match (is_x86_feature_detected!("avx512f"), is_x86_feature_detected!("avx2")) {
        (true, _) => "AVX-512",
        (false, true) => "AVX2",
        (false, false) => "",
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn instructions() -> &'static str {
    if cfg!(target_arch = "aarch64") { "NEON" } else { "" }
}

impl fmt::Display for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, instructions } = self;
        match *instructions {
            "" => write!(f, "{name}"),
            instructions => write!(f, "{name} ({instructions})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instruction_set_is_that_of_the_kernels_list() {
        let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let Some(flags) = told.lines().find(|line| line.starts_with("flags")) else { return };
        let has = |flag| flags.split_whitespace().any(|word| word == flag);
        let Processor { name, instructions } = this();
        assert_eq!(instructions == "AVX-512", has("avx512f"), "{name}: {instructions}");
        assert_eq!(instructions.is_empty(), !has("avx2"), "{name}: {instructions}");
    }
}
