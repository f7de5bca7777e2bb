//! Families whose decoders are described in data: what their `config.json` may say, and what is refused by its key.

use std::path::Path;

use burn_lora_models::decoder::LayerPositions;
use burn_lora_models::decoder::gated::{Blueprint, Gate, Gated, LayerPlan};
use burn_lora_models::decoder::rope::{RopeConfig, RopeScaling};
use burn_lora_models::families::gemma::{Gemma2Config, Gemma3Config, GemmaConfig};
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
        "gemma3_text" | "gemma3" => Gemma3Config::from_json(&text, path).unwrap().blueprint(),
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
    for model_type in ["gemma", "gemma2", "gemma3_text"] {
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

/// The blocks that go by positions of their own, and both kinds of those.
fn gemma3_positions(blueprint: &Blueprint) -> (Vec<bool>, [RopeConfig; 2]) {
    let local = |plan: &LayerPlan| match (plan.positions, plan.scores.window) {
        (LayerPositions::Local, Some(_)) => true,
        (LayerPositions::Common, None) => false,
        other => panic!("{other:?}"),
    };
    let kinds = [blueprint.rope, blueprint.local_rope.unwrap()];
    (blueprint.layers.iter().map(local).collect(), kinds)
}

#[test]
fn what_gemma_3_leaves_out_is_as_transformers_has_it() {
    let plain = blueprint("gemma3_text", json!({"num_hidden_layers": 7}));
    assert_eq!((plain.head_dim, plain.tied, plain.logit_cap), (256, true, None));
    assert_eq!(plain.layers[0].scores.window, Some(4096));
    let scores = plain.layers[1].scores;
    assert_eq!((scores.scale, scores.cap), (1.0 / 16.0, None));
    let rope = |theta| RopeConfig { theta, scaling: None };
    let (local, kinds) = gemma3_positions(&plain);
    assert_eq!(local, [true, true, true, true, true, false, true]);
    assert_eq!(kinds, [rope(1e6), rope(1e4)]);
    // A file of a model that reads images, which leaves out as much as the published ones.
    let text = json!({"model_type": "gemma3", "vision_config": {"hidden_size": 4}, "image_token_index": 7,
        "text_config": {"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240,
            "num_hidden_layers": 6, "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
            "sliding_window": 1024}});
    let config = Gemma3Config::from_json(&text.to_string(), Path::new("config.json")).unwrap();
    let published = config.blueprint();
    assert_eq!((published.vocab_size, published.context), (262_208, 131_072));
    assert_eq!((published.n_heads, published.n_kv_heads, published.head_dim), (8, 4, 256));
    let slowed = RopeConfig { theta: 1e6, scaling: Some(RopeScaling::Linear { factor: 8.0 }) };
    assert_eq!(gemma3_positions(&published).1, [slowed, rope(1e4)]);
    let frequencies = slowed.frequencies(256);
    assert_eq!(frequencies[0], 0.125);
    assert!((frequencies[64] * 8e3 - 1.0).abs() < 1e-12);
}

#[test]
fn gemma_3_reads_every_spelling_of_its_windows_and_positions() {
    let of = |changes: Value| gemma3_positions(&blueprint("gemma3_text", changes));
    let rope = |theta| RopeConfig { theta, scaling: None };
    assert_eq!(of(json!({"sliding_window_pattern": 2})).0, [true, false, true, false]);
    assert_eq!(of(json!({"sliding_window_pattern": 1})).0, [false; 4]);
    let types = ["full_attention", "sliding_attention", "full_attention", "full_attention"];
    let listed =
        json!({"layer_types": types, "sliding_window_pattern": 2, "_sliding_window_pattern": 3});
    assert_eq!(of(listed).0, [false, true, false, false]);
    let old = json!({"rope_theta": 5e5, "rope_local_base_freq": 2e3,
        "rope_scaling": {"type": "linear", "factor": 4.0}});
    let slowed = RopeConfig { theta: 5e5, scaling: Some(RopeScaling::Linear { factor: 4.0 }) };
    assert_eq!(of(old).1, [slowed, rope(2e3)]);
    let new = json!({"rope_theta": 1.0, "rope_parameters": {
        "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5e5},
        "sliding_attention": {"rope_type": "default", "rope_theta": 3e3}}});
    assert_eq!(of(new).1, [slowed, rope(3e3)]);
    let half = json!({"rope_local_base_freq": 2e3, "rope_parameters": {"full_attention": {"rope_theta": 7e5}}});
    assert_eq!(of(half).1, [rope(7e5), rope(2e3)]);
    for (changes, parts) in [
        (json!({"sliding_window_pattern": 0}), vec!["`sliding_window_pattern` is 0"]),
        (
            json!({"_sliding_window_pattern": 2}),
            vec!["`_sliding_window_pattern` is 2", "say `sliding_window_pattern`"],
        ),
        (json!({"attn_logit_softcapping": 50.0}), vec!["`attn_logit_softcapping` is 50"]),
        (json!({"final_logit_softcapping": 0.0}), vec!["`final_logit_softcapping` is 0"]),
        (json!({"sliding_window": null}), vec!["`sliding_window` is missing"]),
        (json!({"rope_local_base_freq": -1.0}), vec!["`rope_local_base_freq` is -1"]),
        (json!({"rope_parameters": {"rope_theta": 1e4}}), vec!["`rope_theta`", "`full_attention`"]),
        (
            json!({"rope_parameters": {"full_attention": {"rope_type": "linear"}}}),
            vec!["`rope_parameters.full_attention.factor` is missing"],
        ),
        (
            json!({"rope_parameters": {"sliding_attention": {"rope_type": "yarn", "factor": 2.0}}}),
            vec!["`rope_parameters.sliding_attention.rope_type`", "\"linear\""],
        ),
        (json!({"text_config": 3}), vec!["`text_config` is 3"]),
    ] {
        check_refused("gemma3_text", changes, &parts);
    }
}

/// A model that reads images has the decoder among its parts, under either of two names; what is saved is one of text.
#[test]
fn a_gemma_3_that_reads_images_is_read_for_its_text() {
    use crate::fixture::{Batch, Copy, Stored};

    let logits = |path: &Path| {
        let batch = Batch::of("gemma3");
        let (model, report) = CausalLm::load(path, &device(), &mut |_, _| {}).unwrap();
        let hidden = model.hidden(batch.ids(&device()), &batch.lengths, None);
        (floats(model.logits(hidden)), report.tolerated, model)
    };
    let plain = Copy::of("gemma3");
    let (expected, ..) = logits(plain.write());
    let image = Stored::from_floats(vec![2], &[0.5, 0.25]);
    for (prefix, other) in [("language_model.model.", ""), ("model.language_model.", "model.")] {
        let mut copy = Copy::of("gemma3");
        copy.rename(|key| key.replacen("model.", prefix, 1));
        let others = ["vision_tower.a.weight", "multi_modal_projector.b.weight"];
        let others = others.map(|name| format!("{other}{name}"));
        for name in &others {
            copy.tensors.insert(name.clone(), image.clone());
        }
        let text = std::mem::take(&mut copy.config);
        copy.config = json!({"model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"],
            "text_config": text, "vision_config": {"hidden_size": 2}, "mm_tokens_per_image": 4});
        let (got, mut tolerated, model) = logits(copy.write());
        assert_eq!(got, expected, "{prefix}");
        tolerated.reverse();
        assert_eq!(tolerated, others);
        let saved = tempfile::tempdir().unwrap();
        model.save(saved.path(), burn_lora_models::SaveDtype::F32).unwrap();
        let config = std::fs::read_to_string(saved.path().join("config.json")).unwrap();
        let config: Value = serde_json::from_str(&config).unwrap();
        assert_eq!(config["model_type"], "gemma3_text");
        assert_eq!(config.get("vision_config"), None);
        assert_eq!(logits(saved.path()).0, expected);
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
    for model_type in ["gemma", "gemma2", "gemma3_text", "olmo2", "phi3", "smollm3", "gpt_neox"] {
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
        let knows = |plan: &LayerPlan| plan.positions == LayerPositions::Common;
        blueprint("smollm3", changes).layers.iter().map(knows).collect()
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
