//! Adapters in PEFT's files.

use std::path::Path;

use burn_lora_models::{CausalConfig, CausalLm, Model, ModelConfig};
use burn_lora_patch::peft::{self, LoadOptions};

use super::base::{CONFIG, device};
use super::told;
use crate::scratch::directory;

const ADAPTER: &[u8] = include_bytes!("../../../../fuzz/seeds/adapter_config/names.json");
const FACTORS: &[u8] = include_bytes!("../../../../fuzz/seeds/adapter_safetensors/qv.safetensors");

thread_local! {
    static MODEL: CausalLm = {
        let text = String::from_utf8_lossy(CONFIG);
        let config = CausalConfig::from_json(&text, "config.json".as_ref());
        let model = config.and_then(|config| CausalLm::random(&config, 0, &device()));
        model.expect("the model can be made")
    };
}

/// An `adapter_config.json`, beside whole factors.
pub fn config(bytes: &[u8]) {
    let (factors, config) = ((peft::TENSORS_FILE, FACTORS), (peft::CONFIG_FILE, bytes));
    used(&directory("adapter_config", &[factors], &[config]));
}

/// An `adapter_model.safetensors`, beside a right configuration.
pub fn tensors(bytes: &[u8]) {
    let (config, factors) = ((peft::CONFIG_FILE, ADAPTER), (peft::TENSORS_FILE, bytes));
    used(&directory("adapter_tensors", &[config], &[factors]));
}

/// Inspects the adapter, and puts it on a model.
fn used(dir: &Path) {
    if let Some(inspection) = told(burn_lora_app::inspect::inspect(dir)) {
        assert!(!inspection.to_string().is_empty());
    }
    let mut model = MODEL.with(Clone::clone);
    if let Some(report) = told(peft::load(&mut model, dir, &LoadOptions::default())) {
        assert!(!report.to_string().is_empty());
    }
}
