//! Families whose decoders are described in data: what their `config.json` may say, and what is refused by its key.

use std::path::Path;

use burn_lora_models::decoder::gated::{Blueprint, Gate, Gated, LayerPlan};
use burn_lora_models::families::gemma::{Gemma2Config, GemmaConfig};
use burn_lora_models::families::gpt_neox::GptNeoXConfig;
use burn_lora_models::families::olmo2::Olmo2Config;
use burn_lora_models::families::phi3::Phi3Config;
use burn_lora_models::families::smollm3::SmolLM3Config;
use burn_lora_models::{Activation, CausalConfig, CausalLm, Decoder, Model, ModelConfig};
use serde_json::{Value, json};

use crate::fixture::{device, floats};

fn text(model_type: &str, changes: &Value) -> String {
    let mut config = json!({
        "model_type": model_type, "vocab_size": 32, "hidden_size": 8, "intermediate_size": 16,
        "num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 2,
        "max_position_embeddings": 64,
    });
    config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    config.to_string()
}

/// The decoder of a described family.
fn blueprint(model_type: &str, changes: Value) -> Blueprint {
    let (text, path) = (text(model_type, &changes), Path::new("config.json"));
    match model_type {
        "gemma" => GemmaConfig::from_json(&text, path).unwrap().blueprint(),
        "gemma2" => Gemma2Config::from_json(&text, path).unwrap().blueprint(),
        "olmo2" => Olmo2Config::from_json(&text, path).unwrap().blueprint(),
        "phi3" => Phi3Config::from_json(&text, path).unwrap().blueprint(),
        _ => SmolLM3Config::from_json(&text, path).unwrap().blueprint(),
    }
}

fn windows(blueprint: &Blueprint) -> Vec<Option<usize>> {
    blueprint.layers.iter().map(|plan| plan.scores.window).collect()
}

fn check_refused(model_type: &str, changes: Value, parts: &[&str]) {
    let path = Path::new("dir/config.json");
    let message =
        CausalConfig::from_json(&text(model_type, &changes), path).unwrap_err().to_string();
    for part in parts.iter().chain(&["dir/config.json"]) {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn gemmas_first_files_mean_the_approximation_of_gelu() {
    let gate = |changes| blueprint("gemma", changes).gate;
    let tanh = Gate::Activation(Activation::GeluTanh);
    assert_eq!(gate(json!({})), tanh);
    assert_eq!(gate(json!({"hidden_act": "gelu"})), tanh);
    assert_eq!(gate(json!({"hidden_act": "gelu", "hidden_activation": null})), tanh);
    assert_eq!(gate(json!({"hidden_activation": "gelu_pytorch_tanh"})), tanh);
    let second = |act| blueprint("gemma2", json!({"hidden_activation": act})).gate;
    assert_eq!(second("gelu"), Gate::Activation(Activation::Gelu));
    check_refused("gemma", json!({"hidden_act": "silu"}), &["`hidden_act` is `silu`"]);
    for model_type in ["gemma", "gemma2"] {
        let changes = json!({"use_bidirectional_attention": true});
        check_refused(model_type, changes, &["`use_bidirectional_attention` is true"]);
    }
}

#[test]
fn what_gemma_2_leaves_out_is_as_transformers_has_it() {
    let plain = blueprint("gemma2", json!({}));
    assert_eq!((plain.head_dim, plain.tied, plain.logit_cap), (256, true, Some(30.0)));
    assert_eq!(windows(&plain), [Some(4096), None, Some(4096), None]);
    let scores = plain.layers[1].scores;
    assert_eq!((scores.scale, scores.cap), (1.0 / 16.0, Some(50.0)));
    assert_eq!(plain.embedding_scale, Some(8_f64.sqrt()));
    let types = ["full_attention", "sliding_attention", "full_attention", "full_attention"];
    let other = blueprint(
        "gemma2",
        json!({"attn_logit_softcapping": null, "final_logit_softcapping": null, "layer_types": types,
            "sliding_window": 7}),
    );
    assert_eq!(windows(&other), [None, Some(7), None, None]);
    assert_eq!((other.layers[0].scores.cap, other.logit_cap), (None, None));
}

#[test]
fn windows_and_caps_that_cannot_be_are_refused() {
    for (changes, parts) in [
        (json!({"sliding_window": null}), vec!["`sliding_window` is missing", "block 0"]),
        (json!({"sliding_window": 0}), vec!["`sliding_window` is 0"]),
        (json!({"layer_types": ["full_attention"]}), vec!["`layer_types` has 1", "is 4"]),
        (
            json!({"layer_types": ["full_attention", "chunked_attention", "x", "x"]}),
            vec!["`chunked_attention`", "`sliding_attention`"],
        ),
        (json!({"attn_logit_softcapping": 0.0}), vec!["`attn_logit_softcapping` is 0"]),
        (json!({"final_logit_softcapping": -30.0}), vec!["`final_logit_softcapping` is -30"]),
        (json!({"query_pre_attn_scalar": 0}), vec!["`query_pre_attn_scalar` is 0"]),
        (json!({"sliding_window": -1}), vec!["`sliding_window` is -1: a whole number"]),
        (json!({"rope_scaling": {"type": "yarn"}}), vec!["yarn"]),
        (json!({"rms_norm_eps": null}), vec!["`rms_norm_eps` is null"]),
    ] {
        check_refused("gemma2", changes, &parts);
    }
}

#[test]
fn sizes_that_no_model_has_are_refused_in_every_described_family() {
    let huge = [json!(0), json!(1_u64 << 31), json!(1_u64 << 62), json!("4"), Value::Null];
    let keys = [
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
    ];
    for model_type in ["gemma", "gemma2", "olmo2", "phi3", "smollm3", "gpt_neox"] {
        for key in keys {
            for value in &huge {
                check_refused(model_type, json!({key: value}), &[key]);
            }
        }
        check_refused(model_type, json!({"alibi": true}), &["`alibi` is true"]);
    }
}

#[test]
fn phi_3_turns_a_part_of_each_head_and_refuses_long_positions_by_name() {
    let eight = |changes: Value| {
        let mut all = json!({"hidden_size": 16});
        all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        blueprint("phi3", all)
    };
    assert_eq!(eight(json!({})).turned, 8);
    assert_eq!(eight(json!({"partial_rotary_factor": 0.75})).turned, 6);
    let parameters = json!({"rope_type": "default", "partial_rotary_factor": 0.5});
    assert_eq!(
        eight(json!({"partial_rotary_factor": 1.0, "rope_parameters": parameters})).turned,
        4
    );
    assert_eq!(windows(&eight(json!({"sliding_window": 5}))), [Some(5); 4]);
    assert_eq!(windows(&eight(json!({"sliding_window": null}))), [None; 4]);
    let phi3 = |changes, parts: &[&str]| check_refused("phi3", changes, parts);
    phi3(json!({"rope_scaling": {"type": "longrope", "short_factor": [1.0]}}), &["\"longrope\""]);
    phi3(json!({"partial_rotary_factor": 0.1}), &["0.1 of a head of 4"]);
    phi3(json!({"partial_rotary_factor": 1.5}), &["1.5 of a head of 4"]);
    phi3(json!({"resid_pdrop": 1.0}), &["`resid_pdrop` is 1"]);
}

#[test]
fn smollm3_knows_no_positions_where_the_list_says_0() {
    let placed = |changes| -> Vec<bool> {
        blueprint("smollm3", changes).layers.iter().map(|plan: &LayerPlan| plan.placed).collect()
    };
    assert_eq!(placed(json!({})), [true, true, true, false]);
    assert_eq!(placed(json!({"no_rope_layer_interval": 2})), [true, false, true, false]);
    let list = json!({"no_rope_layers": [0, 1, 1, 1, 0], "no_rope_layer_interval": 2});
    assert_eq!(placed(list), [false, true, true, true]);
    let sliding = json!({"use_sliding_window": true, "sliding_window": 3});
    assert_eq!(windows(&blueprint("smollm3", sliding)), [None, None, None, Some(3)]);
    let smollm3 = |changes, parts: &[&str]| check_refused("smollm3", changes, parts);
    smollm3(json!({"no_rope_layers": [1, 0]}), &["`no_rope_layers` has 2", "is 4"]);
    smollm3(json!({"no_rope_layer_interval": 0}), &["`no_rope_layer_interval` is 0"]);
    smollm3(json!({"no_rope_layers": "all"}), &["`no_rope_layers` is \"all\": a list"]);
}

#[test]
fn gpt_neox_reads_both_spellings_of_its_positions() {
    let config = |changes: Value| {
        let text = text("gpt_neox", &changes);
        GptNeoXConfig::from_json(&text, Path::new("dir/config.json"))
    };
    let of = |changes: Value| {
        let config = config(changes).unwrap();
        (config.rope.theta, config.turned)
    };
    // Pythia's file, of heads of 16.
    let pythia = json!({"hidden_size": 32, "rotary_pct": 0.25, "rotary_emb_base": 10000});
    assert_eq!(of(pythia), (10_000.0, 4));
    let parameters =
        json!({"rope_theta": 5e3, "rope_type": "default", "partial_rotary_factor": 0.5});
    assert_eq!(of(json!({"hidden_size": 32, "rope_parameters": parameters})), (5e3, 8));
    let neox = |changes, parts: &[&str]| check_refused("gpt_neox", changes, parts);
    neox(json!({"rotary_pct": 0.1}), &["0.1 of a head of 4"]);
    neox(json!({"rotary_pct": 0.5, "rope_theta": 5.0}), &["`rope_theta` is 5", "keep one"]);
    neox(json!({"rotary_pct": 0.5, "hidden_act": "quick_gelu"}), &["quick_gelu", "gelu_fast"]);
    let heads = json!({"rotary_pct": 0.5, "num_attention_heads": 3});
    neox(heads, &["not a multiple of `num_attention_heads` (3)"]);
}

/// The number that embeddings are multiplied with is one of the table's format: √48 is 6.9282 in f32 and 6.9375 in
/// bf16. A twin in f32 whose table is as much larger has the same stream, and logits larger by the same.
#[test]
fn gemmas_embeddings_are_scaled_in_the_format_of_their_table() {
    use burn_lora_models::{Storage, WeightDtype};

    use crate::fixture::{Batch, Copy, Stored, largest_difference};

    let mut copy = Copy::of("gemma");
    let table = "model.embed_tokens.weight";
    for stored in copy.tensors.values_mut() {
        let values = stored.cast(safetensors::Dtype::BF16);
        let words = values.bytes.as_chunks::<2>().0.iter();
        let values: Vec<f32> =
            words.map(|word| half::bf16::from_le_bytes(*word).to_f32()).collect();
        if stored.shape.len() > 1 {
            *stored = Stored::from_floats(stored.shape.clone(), &values);
        }
    }
    let logits = |path: &Path, dtype| {
        let batch = Batch::of("gemma");
        let at = Storage { device: &device(), dtype };
        let (model, _) = CausalLm::load(path, at, &mut |_, _| {}).unwrap();
        floats(model.logits(model.hidden(batch.ids(&device()), &batch.lengths, None)))
    };
    let got = logits(copy.write(), WeightDtype::Bf16);
    let by = 6.9375 / 48_f32.sqrt();
    let larger = copy.tensors.get_mut(table).unwrap();
    let values: Vec<f32> = larger.floats().iter().map(|value| value * by).collect();
    *larger = Stored::from_floats(larger.shape.clone(), &values);
    let twin = logits(copy.write(), WeightDtype::F32);
    let twin: Vec<f32> = twin.iter().map(|logit| logit / by).collect();
    let batch = Batch::of("gemma");
    let inside = |row: usize| row % batch.tokens < batch.lengths[row / batch.tokens];
    let difference = largest_difference(&got, &twin, 211, inside);
    // Logits around 1, sums of f32 in another order; a scale of f32 would be off by a thousandth.
    assert!(difference < 1e-5, "{difference}");
}
