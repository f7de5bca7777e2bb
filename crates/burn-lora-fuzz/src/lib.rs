//! What is read from outside, a function of bytes for each kind of file.
//!
//! A [`Target`] takes any bytes for a file of its kind and reads it as the program does, up to what is made of it: text of errors
//! included. It must come back, soon and with little memory, whatever the bytes are; what it comes to is nobody's concern here, but for
//! what must hold of everything that is accepted.
//!
//! libFuzzer's binaries (`fuzz/`) and the tests of this crate call the same functions. [`mutate`] makes inputs where there is no
//! libFuzzer.
//!
//! Left out: what comes over the network, and Parquet, which another library reads.

pub mod mutate;
mod scratch;
pub mod targets;

/// Reads bytes as one kind of file.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name of the target, and of the folder with its inputs in `fuzz/seeds`.
    pub name: &'static str,
    /// Reads the bytes.
    pub read: fn(&[u8]),
}

/// Every kind of file.
pub const ALL: [Target; 12] = [
    Target { name: "run_toml", read: targets::text::run_toml },
    Target { name: "rows", read: targets::text::rows },
    Target { name: "chat_template", read: targets::text::chat_template },
    Target { name: "tokenizer", read: targets::text::tokenizer },
    Target { name: "adapter_config", read: targets::adapter::config },
    Target { name: "adapter_safetensors", read: targets::adapter::tensors },
    Target { name: "model_config", read: targets::base::config },
    Target { name: "base_safetensors", read: targets::base::tensors },
    Target { name: "index", read: targets::base::index },
    Target { name: "gguf", read: targets::base::gguf },
    Target { name: "manifest", read: targets::run::manifest },
    Target { name: "metrics", read: targets::run::metrics },
];

/// The target of that name.
pub fn target(name: &str) -> Option<Target> {
    ALL.into_iter().find(|target| target.name == name)
}
