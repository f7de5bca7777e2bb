//! Adapter directories as Hugging Face PEFT reads and writes them.
//!
//! A directory holds `adapter_config.json`, all 41 keys of PEFT 0.21.2 (of MiSS, 17: [`PeftConfig`]), and
//! `adapter_model.safetensors`:
//!
//! | what | key | shape |
//! | --- | --- | --- |
//! | factor A | `base_model.model.<layer>.lora_A.weight` | `[rank, d_in]`, Burn's `a` transposed |
//! | factor B | `base_model.model.<layer>.lora_B.weight` | `[d_out, rank]`, Burn's `b` transposed |
//! | factors of an embedding | `base_model.model.<layer>.lora_embedding_A`, `.lora_embedding_B` | `[rank, rows]`, `[d, rank]`, Burn's `a` and `b` transposed |
//! | bias of factor B | `base_model.model.<layer>.lora_B.bias` | `[d_out]` |
//! | trained rows of an embedding | `base_model.model.<layer>.token_adapter.trainable_tokens_delta` | `[tokens, d]`, Burn's `rows` transposed |
//! | DoRA's magnitudes | `base_model.model.<layer>.lora_magnitude_vector` | `[d_out]` |
//! | MiSS's block | `base_model.model.<layer>.miss_block` | `[rank, d_out]`, Burn's `block` transposed |
//! | linear trained whole | `base_model.model.<module>.weight`, `.bias` | `[d_out, d_in]`, `[d_out]` |
//! | bias trained with the adapter | `base_model.model.<module>.bias`, of an adapted layer `….<layer>.base_layer.bias` | Burn's `bias`, a norm's `beta` |
//! | norm trained whole | `base_model.model.<module>.weight`, `.bias` | Burn's `gamma`, `beta` |
//!
//! The names of factors come from the table of kinds in the adapter crate
//! ([`Method::factors`](burn_lora::Method::factors)). LoRA (with `lora_bias`, too), rsLoRA, DoRA and MiSS on linear layers,
//! LoRA and DoRA on embeddings, and rows of embeddings are supported, both ways, with ranks and alphas by pattern. Whatever
//! else a file asks for (replicated layers) is refused, all of it in one error.
//!
//! An adapter that started in a part of the base (PiSSA, OLoRA) is written as the plain adapter of twice the rank that
//! it is on the base that nobody touched, and PEFT's are read that were converted so
//! (`path_initial_model_for_weight_conversion`); one that was not is refused.
//!
//! Whoever owns a model calls [`save_adapter`](crate::LoraModule::save_adapter) and
//! [`load_adapter`](crate::LoraModule::load_adapter) on it. The functions here take a model by
//! reference, and a configuration where other words than the model's own are to be written.
//!
//! ```
//! use burn::nn::transformer::TransformerEncoderConfig;
//! use burn_lora_patch::{LoraConfig, patch, peft};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let dir = directory.path();
//! let device = burn_lora_patch::device::parse("cpu")?;
//! let base = TransformerEncoderConfig::new(16, 32, 2, 1).init(&device);
//! let mut model = base.clone();
//! let config = LoraConfig::new(2).with_targets(["query"]);
//! patch(&mut model, &config)?;
//! peft::save(&model, dir, &peft::PeftConfig::new(&config).with_base_model("my/encoder"))?;
//!
//! let mut other = base;
//! let report = peft::load(&mut other, dir, &peft::LoadOptions::new())?;
//! assert_eq!(report.adapted(), 1);
//! # Ok(())
//! # }
//! ```

mod attached;
mod config;
mod convert;
pub(crate) mod files;
mod foreign;
pub(crate) mod keys;
mod load;
pub(crate) mod moved;
mod save;
mod unwrap;

pub use config::{Modules, OneOrMany, PeftConfig, read_config};
pub use convert::LoadedConfig;
pub use files::{CONFIG_FILE, TENSORS_FILE, broken, read as read_file, usable};
pub use keys::{bare, factor_key, factor_of};
pub use load::{LoadOptions, load, load_into};
pub use save::{config_of, save, save_adapter};
pub use unwrap::{plain_key, unwrapped_key};
