//! Adapter directories as Hugging Face PEFT reads and writes them.
//!
//! A directory holds `adapter_config.json`, all 41 keys of PEFT 0.21.2 ([`AdapterConfig`]), and
//! `adapter_model.safetensors`:
//!
//! | what | key | shape |
//! | --- | --- | --- |
//! | factor A | `base_model.model.<layer>.lora_A.weight` | `[rank, d_in]`, Burn's `a` transposed |
//! | factor B | `base_model.model.<layer>.lora_B.weight` | `[d_out, rank]`, Burn's `b` transposed |
//! | DoRA's magnitudes | `base_model.model.<layer>.lora_magnitude_vector` | `[d_out]` |
//! | linear trained whole | `base_model.model.<module>.weight`, `.bias` | `[d_out, d_in]`, `[d_out]` |
//! | norm trained whole | `base_model.model.<module>.weight`, `.bias` | Burn's `gamma`, `beta` |
//!
//! The names of factors come from the table of kinds in the adapter crate
//! ([`Method::factors`](burn_lora::Method::factors)). LoRA, rsLoRA and DoRA on linear layers are
//! supported, both ways. Whatever else a file asks for (ranks by pattern, embeddings, biases) is
//! refused, all of it in one error.
//!
//! ```
//! use burn::nn::transformer::TransformerEncoderConfig;
//! use burn_lora::LoraConfig;
//! use burn_lora_patch::{PatchConfig, Targets, patch, peft};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let dir = directory.path();
//! let device = burn_lora::device::parse("cpu")?;
//! let base = TransformerEncoderConfig::new(16, 32, 2, 1).init(&device);
//! let mut model = base.clone();
//! let config = PatchConfig::new(LoraConfig::new(2, 4.0), Targets::names(["query"]));
//! patch(&mut model, &config)?;
//! peft::save(&model, dir, &peft::AdapterConfig::from_patch(&config))?;
//!
//! let mut other = base;
//! let report = peft::load(&mut other, dir, &peft::LoadOptions::default())?;
//! assert_eq!(report.adapted(), 1);
//! # Ok(())
//! # }
//! ```

mod config;
mod convert;
mod files;
pub(crate) mod keys;
mod load;
mod save;

pub use config::{AdapterConfig, Modules, OneOrMany, read_config};
pub use convert::LoadedConfig;
pub use files::{CONFIG_FILE, TENSORS_FILE};
pub use load::{LoadOptions, load};
pub use save::{save, save_adapter};
