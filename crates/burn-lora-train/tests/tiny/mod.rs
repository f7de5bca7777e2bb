//! A tiny random model with the quickstart's tokenizer, a few rows, and a configuration for them.

use std::fs;
use std::path::{Path, PathBuf};

use burn_lora_config::RunConfig;
use burn_lora_models::{CausalConfig, CausalLm, Model, ModelConfig, SaveDtype};
use burn_lora_report::summary::Summary;
use burn_lora_train::observe::Observer;
use burn_lora_train::run::{RunOptions, train};
use serde_json::{Value, json};

pub struct Tiny {
    dir: tempfile::TempDir,
}

impl Tiny {
    pub fn new() -> Self {
        Self::of(
            r#"{"model_type": "llama", "vocab_size": 2048, "hidden_size": 32, "intermediate_size": 64,
                "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
                "max_position_embeddings": 64, "tie_word_embeddings": true, "rms_norm_eps": 1e-5,
                "initializer_range": 0.2, "attention_dropout": 0.3}"#,
        )
    }

    /// With a model of that `config.json`, of 2048 tokens.
    pub fn of(config: &str) -> Self {
        let tiny = Self { dir: tempfile::tempdir().unwrap() };
        let model = tiny.path("model");
        let config = CausalConfig::from_json(config, "config.json".as_ref()).unwrap();
        let device = burn_lora::device::parse("cpu").unwrap();
        CausalLm::random(&config, 1, &device).unwrap().save(&model, SaveDtype::F32).unwrap();
        let tokenizer =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/quickstart/model");
        for file in ["tokenizer.json", "tokenizer_config.json"] {
            fs::copy(tokenizer.join(file), model.join(file)).unwrap();
        }
        let rows = (0..12).map(|i| {
            let words = "the red door ".repeat(1 + i % 4);
            format!("{{\"prompt\": \"say {i} {words}\", \"completion\": \" {words}{i}\"}}\n")
        });
        fs::write(tiny.path("rows.jsonl"), rows.collect::<String>()).unwrap();
        tiny
    }

    /// Lets the base's tokenizer cut words as GPT-2 does: the quickstart's own way has no name in GGUF files.
    #[allow(dead_code, reason = "not every binary of tests has use for it")]
    pub fn cut_words_as_gpt2(&self) {
        let path = self.path("model/tokenizer.json");
        let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let bytes = json!({
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
        });
        (json["normalizer"], json["pre_tokenizer"], json["decoder"]) =
            (Value::Null, bytes.clone(), bytes);
        fs::write(path, json.to_string()).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The configuration of a run into the directory `run`, with overrides.
    pub fn config(&self, run: &str, overrides: &[&str]) -> RunConfig {
        let path = |name: &str| format!("{:?}", self.path(name).display().to_string());
        let (model, rows, out) = (path("model"), path("rows.jsonl"), path(run));
        let text = format!(
            "[model]\npath = {model}\n[adapter]\nrank = 4\n[data]\ntrain = {rows}\neval = {rows}\n\
             max_length = 64\ngenerate_max_tokens = 4\n[train]\ndevice = \"cpu\"\nsteps = 6\n\
             batch_size = 4\nlearning_rate = 0.02\nsamples = 1\n[output]\ndir = {out}\n"
        );
        let overrides: Vec<String> = overrides.iter().map(|&o| o.to_owned()).collect();
        RunConfig::parse(&text, "run.toml", &overrides).unwrap()
    }

    #[allow(dead_code, reason = "not every binary of tests has use for it")]
    pub fn train(&self, run: &str, overrides: &[&str], resume: bool) -> Summary {
        let options = RunOptions { resume, ..RunOptions::silent() };
        train(self.config(run, overrides), options, &Observer::silent()).unwrap()
    }

    /// The bytes of a run's trained adapter.
    #[allow(dead_code, reason = "not every binary of tests has use for it")]
    pub fn adapter(&self, run: &str) -> Vec<u8> {
        fs::read(self.path(run).join("adapter/adapter_model.safetensors")).unwrap()
    }
}
