//! Burn's own Llama, as maolan-llama publishes it. Its transformer cannot be named from outside; a generic function does not need the name.

mod round_trip;

use maolan_llama::llama::LlamaConfig;
use maolan_llama::tokenizer::Tokenizer;
use round_trip::{Case, VOCABULARY, device, next_tokens, round_trip, tokens};

/// The model is made with a tokenizer, which nothing here asks.
struct NoTokenizer;

impl Tokenizer for NoTokenizer {
    fn new(_: &str) -> Result<Self, String> {
        Ok(Self)
    }

    fn encode(&self, _: &str, _: bool, _: bool) -> Vec<u32> {
        Vec::new()
    }

    fn decode(&self, _: Vec<u32>) -> String {
        String::new()
    }

    fn bos_id(&self) -> u32 {
        0
    }

    fn eos_id(&self) -> u32 {
        0
    }

    fn stop_ids(&self) -> Vec<u32> {
        Vec::new()
    }
}

#[test]
fn llama() {
    let (device, _alone) = device();
    let config = LlamaConfig::new(64, VOCABULARY, String::new())
        .with_d_model(32)
        .with_num_hidden_layers(2)
        .with_num_attention_heads(4)
        .with_num_key_value_heads(Some(2))
        .with_max_seq_len(16)
        .with_max_batch_size(2);
    let base = config.init::<NoTokenizer>(&device).unwrap().model;
    let names = [
        "attention.wq",
        "attention.wk",
        "attention.wv",
        "attention.wo",
        "feed_forward.swiglu.linear_inner",
        "feed_forward.swiglu.linear_outer",
        "feed_forward.w2",
    ];
    let path = |layer| names.map(|name| format!("layers.{layer}.{name}"));
    let case = Case {
        names: &["wq", "wk", "wv", "wo", "linear_inner", "linear_outer", "w2"],
        regex: r"layers\..*",
        adapted: (0..2).flat_map(path).collect(),
        linears: 15,
        warning: None,
        goal: next_tokens(),
    };
    round_trip(base, &device, &case, |model, device| {
        // The forward pass goes through a cache: an empty one, on the device that is asked for.
        let mut empty = config.init::<NoTokenizer>(device).unwrap();
        model.forward(tokens(device), &mut empty.cache, &empty.rope).reshape([16, VOCABULARY])
    });
}
