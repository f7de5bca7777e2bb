//! Configurations: both spellings, what is refused, and rotary frequencies.

use std::f64::consts::PI;
use std::path::Path;

use burn_lora_models::families::bert::BertConfig;
use burn_lora_models::families::llama::{LlamaConfig, RopeConfig, RopeScaling};
use burn_lora_models::{
    Architecture, CausalConfig, CausalLm, ClassifierConfig, Model, ModelConfig, ModelError,
};
use serde_json::{Value, json};

use crate::fixture::{Copy, Stored, device};

fn llama(changes: Value) -> Result<LlamaConfig, ModelError> {
    let mut config = json!({
        "model_type": "llama", "vocab_size": 32, "hidden_size": 8, "intermediate_size": 16,
        "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64,
    });
    config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    LlamaConfig::from_json(&config.to_string(), Path::new("dir/config.json"))
}

fn bert(changes: Value) -> Result<BertConfig, ModelError> {
    let mut config = json!({
        "model_type": "bert", "vocab_size": 32, "hidden_size": 8, "intermediate_size": 16,
        "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64,
    });
    config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    BertConfig::from_json(&config.to_string(), Path::new("dir/config.json"))
}

fn check_refused<T: std::fmt::Debug>(result: Result<T, ModelError>, parts: &[&str]) {
    let message = result.unwrap_err().to_string();
    for part in parts.iter().chain(&["dir/config.json"]) {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn both_spellings_of_rotary_positions_mean_the_same() {
    let parameters = json!({
        "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    });
    let four = llama(json!({"rope_theta": 5e5, "rope_scaling": parameters})).unwrap().rope;
    let mut five = parameters.clone();
    five["rope_theta"] = json!(5e5);
    assert_eq!(llama(json!({"rope_parameters": five})).unwrap().rope, four);
    let scaling = RopeScaling::Llama3 {
        factor: 32.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 8192.0,
    };
    assert_eq!(four, RopeConfig { theta: 5e5, scaling: Some(scaling) });

    let plain = RopeConfig { theta: 1e5, scaling: None };
    for changes in [
        json!({"rope_theta": 1e5}),
        json!({"rope_theta": 100_000, "rope_scaling": null}),
        json!({"rope_theta": 1e5, "rope_scaling": {"type": "default"}}),
        json!({"rope_parameters": {"rope_theta": 1e5, "rope_type": "default"}}),
        json!({"rope_theta": 1e5, "rope_scaling": {}, "rope_interleaved": false}),
        json!({"rope_theta": 1e5, "rope_scaling": {"type": "default", "rope_type": "default"}}),
        json!({"rope_theta": 1e5, "partial_rotary_factor": 1.0, "rope_type": null}),
        json!({"rope_scaling": {"type": "default"},
            "rope_parameters": {"rope_theta": 1e5, "rope_type": "default"}}),
    ] {
        assert_eq!(llama(changes).unwrap().rope, plain);
    }
    assert_eq!(llama(json!({})).unwrap().rope.theta, 10_000.0);
}

/// Llama 3's definition, by wavelengths, as its authors wrote it.
fn llama3_by_definition(frequency: f64, factor: f64, low: f64, high: f64, context: f64) -> f64 {
    let wavelength = 2.0 * PI / frequency;
    if wavelength < context / high {
        frequency
    } else if wavelength > context / low {
        frequency / factor
    } else {
        let smooth = (context / wavelength - low) / (high - low);
        (1.0 - smooth) * frequency / factor + smooth * frequency
    }
}

#[test]
fn llama3_frequencies_follow_their_definition() {
    for (theta, factor, low, high, context) in
        [(5e5, 32.0, 1.0, 4.0, 8192.0), (1e4, 8.0, 1.0, 4.0, 32.0), (1e4, 2.0, 0.5, 9.0, 100.0)]
    {
        let plain = RopeConfig { theta, scaling: None };
        let scaled = RopeConfig {
            theta,
            scaling: Some(RopeScaling::Llama3 {
                factor,
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_position_embeddings: context,
            }),
        };
        let mut kinds = [false; 3];
        for (pair, (plain, scaled)) in
            plain.frequencies(64).into_iter().zip(scaled.frequencies(64)).enumerate()
        {
            let frequency = 1.0 / theta.powf(2.0 * pair as f64 / 64.0);
            let expected = llama3_by_definition(frequency, factor, low, high, context);
            // f64 in another order of operations.
            assert!((plain / frequency - 1.0).abs() < 1e-12);
            assert!((scaled / expected - 1.0).abs() < 1e-12, "pair {pair}: {scaled} {expected}");
            let kept = (scaled / frequency * factor - 1.0) / (factor - 1.0);
            kinds[if kept > 1.0 - 1e-9 {
                0
            } else if kept < 1e-9 {
                1
            } else {
                2
            }] = true;
        }
        assert_eq!(kinds, [true; 3], "fast, slow and blended pairs must all occur");
    }
}

#[test]
fn rotary_positions_that_are_not_supported_are_refused() {
    for (changes, parts) in [
        (json!({"rope_scaling": {"type": "yarn"}}), vec!["yarn", "\"default\" and \"llama3\""]),
        (json!({"rope_parameters": {"rope_type": "linear", "factor": 2.0}}), vec!["linear"]),
        (
            json!({"rope_parameters": {"full_attention": {"rope_theta": 1e4}}}),
            vec!["layer to layer"],
        ),
        (json!({"rope_parameters": 3}), vec!["rope_parameters", "an object"]),
        (json!({"rope_scaling": {"factor": 8.0}}), vec!["`factor`", "without a `rope_type`"]),
        (
            json!({"rope_scaling": {"ropetype": "llama3", "factor": 8.0}}),
            vec!["`ropetype`", "did you mean `rope_type`?"],
        ),
        (
            json!({"rope_scaling": {"type": "default", "factor": 2.0}}),
            vec!["`factor`", "with `rope_type` \"default\""],
        ),
        (
            json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
                "attention_factor": 0.5}}),
            vec!["`attention_factor`"],
        ),
        (
            json!({"rope_scaling": {"type": "linear", "rope_type": "llama3"}}),
            vec!["`type` \"linear\"", "`rope_type` \"llama3\""],
        ),
        (
            json!({"rope_scaling": {"type": "linear", "factor": 2.0},
                "rope_parameters": {"rope_type": "default"}}),
            vec!["say different things"],
        ),
        (json!({"partial_rotary_factor": 0.5}), vec!["`partial_rotary_factor` is 0.5"]),
        (json!({"rotary_pct": 0.25}), vec!["`rotary_pct` is 0.25"]),
        (json!({"use_dynamic_ntk": true}), vec!["`use_dynamic_ntk` is true"]),
        (json!({"alibi": true}), vec!["`alibi` is true"]),
        (json!({"use_rope": false}), vec!["`use_rope` is false"]),
        (
            json!({"position_embedding_type": "alibi"}),
            vec!["`position_embedding_type` is \"alibi\""],
        ),
        (json!({"rope_scalling": {"factor": 2.0}}), vec!["did you mean `rope_scaling`?"]),
        (json!({"rope_parameters": {"rope_theta": -1}}), vec!["rope_theta", "-1"]),
        (json!({"rope_theta": 0.0}), vec!["rope_theta", "positive"]),
        (json!({"rope_parameters": {"partial_rotary_factor": 0.5}}), vec!["partial_rotary_factor"]),
        (
            json!({"rope_scaling": {"rope_type": "llama3", "factor": "x", "high_freq_factor": 1}}),
            vec![
                "4 problems",
                "`rope_scaling.factor`",
                "low_freq_factor` is missing",
                "original_max",
            ],
        ),
    ] {
        check_refused(llama(changes), &parts);
    }
}

#[test]
fn problems_of_a_configuration_come_all_at_once() {
    let changes = json!({
        "num_attention_heads": 3, "num_key_value_heads": 2, "hidden_act": "relu",
        "rms_norm_eps": 0.0, "rope_scaling": {"type": "longrope"},
    });
    let parts = ["5 problems", "multiple of `num_key", "`hidden_size` (8)", "silu", "longrope"];
    check_refused(llama(changes), &parts);
    check_refused(llama(json!({"num_attention_heads": 0})), &["`num_attention_heads` is 0"]);
    check_refused(llama(json!({"head_dim": 3})), &["width of a head is 3"]);
    check_refused(llama(json!({"vocab_size": "many"})), &["many"]);
    let changes = json!({
        "hidden_act": "silu", "position_embedding_type": "relative_key", "is_decoder": true,
    });
    check_refused(bert(changes), &["3 problems", "gelu_new", "relative_key", "is_decoder"]);
}

/// Rows that a window covers see all that came before, with it or without it.
#[test]
fn a_sliding_window_in_use_is_the_longest_sequence() {
    let context = |config: Result<LlamaConfig, ModelError>| config.unwrap().about().context();
    let mistral = |window: Value| llama(json!({"model_type": "mistral", "sliding_window": window}));
    assert_eq!(context(mistral(json!(32))), Some(32));
    assert_eq!(context(mistral(json!(64))), Some(64));
    assert_eq!(context(mistral(json!(4096))), Some(64));
    assert_eq!(context(mistral(Value::Null)), Some(64));
    check_refused(mistral(json!(0)), &["`sliding_window` is 0"]);
    // Its code asks for no kinds of layers.
    let full = json!(["full_attention", "full_attention"]);
    let types = json!({"model_type": "mistral", "sliding_window": 32, "layer_types": full});
    assert_eq!(context(llama(types)), Some(32));
    let qwen = |changes: Value| {
        let mut all = json!({"model_type": "qwen2", "sliding_window": 32});
        all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        context(llama(all))
    };
    assert_eq!(qwen(json!({})), Some(64));
    assert_eq!(qwen(json!({"use_sliding_window": false})), Some(64));
    assert_eq!(qwen(json!({"use_sliding_window": true, "max_window_layers": 2})), Some(64));
    let full = json!(["full_attention", "full_attention"]);
    assert_eq!(qwen(json!({"use_sliding_window": true, "layer_types": full})), Some(64));
    assert_eq!(qwen(json!({"use_sliding_window": true})), Some(32));
    assert_eq!(qwen(json!({"use_sliding_window": true, "max_window_layers": 1})), Some(32));
}

/// Taken in silence, they gave another model than the one that was trained.
#[test]
fn keys_that_change_what_is_computed_are_refused_by_every_family() {
    let sizes = |model_type: &str| match model_type {
        "gpt2" => json!({"n_embd": 8, "n_layer": 1, "n_head": 2, "vocab_size": 32}),
        "bloom" => json!({"hidden_size": 8, "n_layer": 1, "n_head": 2, "vocab_size": 32}),
        _ => json!({"vocab_size": 32, "hidden_size": 8, "intermediate_size": 16,
            "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64}),
    };
    let of = |model_type: &str, key: &str, value: &Value| {
        let mut config = sizes(model_type);
        config["model_type"] = json!(model_type);
        config[key] = value.clone();
        let (text, path) = (config.to_string(), Path::new("dir/config.json"));
        match matches!(model_type, "bert" | "roberta") {
            true => BertConfig::from_json(&text, path).map(|_| ()),
            false => CausalConfig::from_json(&text, path).map(|_| ()),
        }
    };
    let neutral = [json!(null), json!(1.0), json!(false)];
    let cases: [(&str, [Value; 2], &[usize]); 20] = [
        ("attn_logit_softcapping", [json!(50.0), json!(1.0)], &[0, 2]),
        ("final_logit_softcapping", [json!(30.0), json!(30)], &[0, 2]),
        ("embedding_multiplier", [json!(12.0), json!(0.5)], &[0, 1, 2]),
        ("logits_scaling", [json!(8.0), json!(16)], &[0, 1, 2]),
        ("residual_multiplier", [json!(0.22), json!(2)], &[0, 1, 2]),
        ("attention_multiplier", [json!(0.015625), json!(1.0)], &[0, 2]),
        ("scale_depth", [json!(1.4), json!(1)], &[0, 2]),
        ("clip_qkv", [json!(8.0), json!(6)], &[0, 2]),
        ("use_parallel_residual", [json!(true), json!("yes")], &[0, 2]),
        ("num_local_experts", [json!(8), json!(2)], &[0, 1, 2]),
        ("attention_chunk_size", [json!(16), json!(8192)], &[0, 2]),
        ("rotary_pct", [json!(0.25), json!(0.5)], &[0, 2]),
        ("mlp_hidden_act", [json!("relu2"), json!("quick_gelu")], &[0, 2]),
        ("pruned_heads", [json!({"0": [1]}), json!({"3": [0, 2]})], &[0, 2]),
        ("n_heads", [json!(4), json!(1)], &[0, 2]),
        ("norm_epsilon", [json!(1e-3), json!(0.1)], &[0, 2]),
        ("d_kv", [json!(8), json!(2)], &[0, 2]),
        ("position_embedding_base", [json!(5e5), json!(1000)], &[0, 2]),
        ("per_layer_config", [json!({"0": {"head_dim": 8}}), json!([{"a": 1}])], &[0, 2]),
        ("scale_attention", [json!(false), json!(0)], &[0]),
    ];
    for (key, values, passed) in cases {
        for model_type in ["llama", "mistral", "qwen2", "qwen3", "gpt2", "bloom", "bert", "roberta"]
        {
            for value in &values {
                let shown = match value {
                    Value::Object(_) => "an object".to_owned(),
                    Value::Array(_) => "a list".to_owned(),
                    other => other.to_string(),
                };
                let said = format!("`{key}` is {shown}: it ");
                check_refused(of(model_type, key, value), &[said.as_str()]);
            }
            for at in passed {
                of(model_type, key, &neutral[*at]).unwrap();
            }
        }
    }
    for model_type in ["llama", "mistral", "qwen2", "gpt2", "bloom", "bert"] {
        check_refused(of(model_type, "use_qk_norm", &json!(true)), &["`use_qk_norm` is true"]);
    }
    of("qwen3", "use_qk_norm", &json!(true)).unwrap();
    check_refused(of("qwen3", "use_qk_norm", &json!(false)), &["`use_qk_norm` is false"]);
    for model_type in ["llama", "gpt2", "bloom", "bert"] {
        check_refused(of(model_type, "sliding_window", &json!(32)), &["`sliding_window` is 32"]);
        of(model_type, "sliding_window", &Value::Null).unwrap();
    }
    let off = json!({"sliding_window": 32, "use_sliding_window": false});
    assert_eq!(llama(off).unwrap().about().context(), Some(64));
    let types = json!({"layer_types": ["full_attention", "linear_attention"]});
    check_refused(llama(types), &["`layer_types` has `linear_attention`"]);
    // What the family does anyway, by another family's key.
    llama(
        json!({"attention_multiplier": 0.5, "query_pre_attn_scalar": 4, "mlp_hidden_act": "silu"}),
    )
    .unwrap();
    for (model_type, key, value) in [
        ("llama", "position_embedding_base", json!(10000)),
        ("llama", "use_rope", json!(true)),
        ("llama", "rms_norm_epsilon", json!(1e-6)),
        ("llama", "hidden_activation", json!("swish")),
        ("gpt2", "num_attention_heads", json!(2)),
        ("gpt2", "mlp_hidden_act", json!("gelu_new")),
        ("bloom", "n_embed", json!(8)),
        ("bert", "kv_channels", json!(4)),
        ("bert", "pooler_type", json!("first_token_transform")),
        ("bert", "norm_first", json!(false)),
    ] {
        of(model_type, key, &value).unwrap();
    }
    check_refused(of("gpt2", "num_attention_heads", &json!(4)), &["is 4 and `n_head` is 2"]);
    check_refused(of("bert", "norm_first", &json!(true)), &["norms behind the halves"]);
    check_refused(of("llama", "norm_type", &json!("layernorm")), &["root mean squares"]);
    of("bloom", "alibi", &json!(true)).unwrap();
    check_refused(of("bloom", "alibi", &json!(false)), &["`alibi` is false"]);
    of("gpt2", "position_embedding_type", &json!("absolute")).unwrap();
    check_refused(of("gpt2", "rope_theta", &json!(1e4)), &["`rope_theta` is 10000.0"]);
    check_refused(of("bert", "feed_forward_type", &json!("geglu")), &["`feed_forward_type`"]);
}

/// Each was once made a table, a list or a panic of.
#[test]
fn sizes_that_no_model_has_are_refused_by_their_key() {
    let huge = [json!(1_u64 << 31), json!(1_u64 << 40), json!(1_u64 << 62), json!(u64::MAX)];
    let others = [json!(-1), json!(1.5), json!("4"), json!([4]), json!(1e30), json!({})];
    let keys = ["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"];
    let of_both = [&keys[..], &["intermediate_size"]].concat();
    for key in &of_both {
        for value in huge.iter().chain(&others).chain([&json!(0), &Value::Null]) {
            check_refused(llama(json!({*key: value})), &[*key]);
            check_refused(bert(json!({*key: value})), &[*key]);
        }
    }
    for key in ["num_key_value_heads", "head_dim"] {
        for value in huge.iter().chain(&others) {
            check_refused(llama(json!({key: value})), &[key]);
        }
    }
    for key in ["max_position_embeddings", "type_vocab_size", "num_labels"] {
        for value in huge.iter().chain(&others) {
            check_refused(bert(json!({key: value})), &[key]);
        }
    }
    for (model_type, keys) in [
        ("gpt2", ["vocab_size", "n_embd", "n_layer", "n_head", "n_positions"]),
        ("bloom", ["vocab_size", "hidden_size", "n_layer", "n_head", "layer_norm_epsilon"]),
    ] {
        for key in keys {
            for value in
                others.iter().chain(&huge).filter(|v| key != "layer_norm_epsilon" || !v.is_number())
            {
                let text = json!({"model_type": model_type, key: value}).to_string();
                check_refused(CausalConfig::from_json(&text, Path::new("dir/config.json")), &[key]);
            }
        }
    }
    // Nothing is made of it before a row is that long.
    let long = llama(json!({"max_position_embeddings": u64::MAX})).unwrap();
    assert_eq!(long.about().context(), Some(usize::MAX));
}

/// Transformers 5 refuses these too.
#[test]
fn a_null_is_named_by_its_key() {
    for key in ["rms_norm_eps", "attention_bias", "mlp_bias", "hidden_act", "initializer_range"] {
        check_refused(llama(json!({key: null})), &[key, "is null"]);
    }
    let unset = ["num_key_value_heads", "head_dim", "attention_dropout", "rope_scaling"];
    let nulls = unset.map(|key| (key.to_owned(), Value::Null));
    assert_eq!(llama(Value::Object(nulls.into_iter().collect())).unwrap().head_dim(), 4);
}

#[test]
fn quantised_weights_are_named_with_the_way_out() {
    let quantised = json!({"quantization_config": {"quant_method": "gptq", "bits": 4}});
    check_refused(llama(quantised), &["gptq", "use the model that they were made from"]);
    llama(json!({"quantization_config": null})).unwrap();
}

#[test]
fn members_of_the_family_differ_where_they_should() {
    let of = |model_type: &str| {
        llama(json!({"model_type": model_type, "attention_bias": true, "mlp_bias": true})).unwrap()
    };
    let traits =
        |c: LlamaConfig| (c.qkv_bias(), c.o_bias(), c.mlp_bias(), c.qk_norm(), c.head_dim());
    assert_eq!(traits(of("llama")), (true, true, true, false, 4));
    assert_eq!(traits(of("mistral")), (false, false, false, false, 4));
    assert_eq!(traits(of("qwen2")), (true, false, false, false, 4));
    assert_eq!(traits(of("qwen3")), (true, true, false, true, 128));
}

#[test]
fn architectures_that_do_not_exist_are_answered_with_those_that_do() {
    check_refused(llama(json!({"model_type": "gemma"})), &["`gemma`", "`llama`", "`qwen3`"]);
    check_refused(llama(json!({"model_type": null})), &["missing", "`llama`"]);
    check_refused(bert(json!({"model_type": "llama"})), &["`llama`", "`bert`, `roberta`"]);
    for architecture in Architecture::all() {
        let json = json!({"model_type": architecture.model_type()}).to_string();
        assert_eq!(Architecture::of_json(&json, Path::new("config.json")).unwrap(), architecture);
    }
    let message = Architecture::of_json("{", Path::new("dir/config.json")).unwrap_err().to_string();
    assert!(message.contains("dir/config.json"), "{message}");
}

#[test]
fn classes_are_named_by_id2label() {
    let named = json!({"id2label": {"1": "b", "0": "a", "2": "c"}});
    assert_eq!(bert(named.clone()).unwrap().labels, ["a", "b", "c"]);
    assert_eq!(bert(named.clone()).unwrap().with_num_labels(3).labels, ["a", "b", "c"]);
    assert_eq!(bert(named).unwrap().with_num_labels(1).labels, ["LABEL_0"]);
    assert_eq!(bert(json!({})).unwrap().labels.len(), 2);
    assert_eq!(bert(json!({"num_labels": 4})).unwrap().labels.len(), 4);
    // Beside a table of names, or alone; numbers are names as well.
    let by_name = json!({"label2id": {"pos": 1, "neg": "0"}});
    assert_eq!(bert(by_name).unwrap().labels, ["neg", "pos"]);
    let both = json!({"id2label": {"0": "neg", "1": "pos"}, "label2id": {"neg": 0, "bad": 0}});
    assert_eq!(bert(both).unwrap().labels, ["neg", "pos"]);
    assert_eq!(bert(json!({"id2label": {"0": 1, "1": 2}})).unwrap().labels, ["1", "2"]);
}

/// Names that were passed over before, so that a class was another one, or had none.
#[test]
fn classes_that_contradict_each_other_are_refused_by_name() {
    let stars = json!({"id2label": {"1": "bad", "2": "fair", "3": "good"}});
    check_refused(bert(stars), &["`id2label` has 3 classes and no 0: number them from 0 to 2"]);
    let turned = json!({"id2label": {"0": "neg", "1": "pos"}, "label2id": {"neg": 1, "pos": 0}});
    let said = ["`neg` is 0 in `id2label` and 1 in `label2id`", "`pos` is 1 in `id2label` and 0"];
    check_refused(bert(turned), &said);
    let twice = json!({"id2label": {"0": "a", "1": "b", "2": "a"}});
    check_refused(bert(twice), &["`id2label` names two classes `a`"]);
    check_refused(bert(json!({"id2label": {"0": null}})), &["`id2label` has no name for `0`"]);
    check_refused(bert(json!({"id2label": {"a": "0"}})), &["`a`, which is no number of a class"]);
    check_refused(bert(json!({"id2label": ["a"]})), &["`id2label` must be an object"]);
    check_refused(bert(json!({"label2id": {"a": 0.5}})), &["`label2id` has no number for `a`"]);
    for kind in ["regression", "multi_label_classification"] {
        check_refused(bert(json!({"problem_type": kind})), &[kind, "one class a row"]);
    }
    bert(json!({"problem_type": "single_label_classification"})).unwrap();
}

#[test]
fn gpt2_and_bloom_read_the_published_files_keys() {
    let of = |text: &str| CausalConfig::from_json(text, Path::new("dir/config.json"));
    // What bloom-560m's file says; n_embed and num_attention_heads are its spelling.
    let config = of(
        r#"{"apply_residual_connection_post_layernorm": false, "attention_softmax_in_fp32": true,
            "model_type": "bloom", "n_embed": 1024, "n_inner": null, "n_layer": 24,
            "num_attention_heads": 16, "offset_alibi": 100, "vocab_size": 250880}"#,
    )
    .unwrap();
    assert_eq!((config.about().vocab_size(), config.about().context()), (250_880, None));
    let config = of(r#"{"model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_layer": 12}"#);
    assert_eq!(config.unwrap().about().context(), Some(1024));

    let residual = r#"{"model_type": "bloom", "apply_residual_connection_post_layernorm": true}"#;
    check_refused(of(residual), &["`apply_residual_connection_post_layernorm` is true"]);
    let changed = r#"{"model_type": "gpt2", "n_head": 5, "add_cross_attention": true,
        "scale_attn_weights": false, "scale_attn_by_inverse_layer_idx": true, "attn_pdrop": 1.0,
        "activation_function": "silu"}"#;
    let parts = [
        "6 problems",
        "`n_embd` (768) is not a multiple of `n_head` (5)",
        "`add_cross_attention` is true: only false is supported",
        "`scale_attn_weights` is false: only true is supported",
        "`scale_attn_by_inverse_layer_idx` is true",
        "`attn_pdrop` is 1",
        "`activation_function` is `silu`",
    ];
    check_refused(of(changed), &parts);
}

/// The first checkpoints hold masks and a copy of the table, and have no prefix.
#[test]
fn a_gpt2_of_the_first_checkpoints_loads() {
    let mut copy = Copy::of("gpt2");
    let mask = Stored::from_floats(vec![1, 1, 2, 2], &[1.0, 0.0, 1.0, 1.0]);
    copy.tensors.insert("transformer.h.0.attn.bias".into(), mask.clone());
    copy.tensors.insert("transformer.h.0.attn.masked_bias".into(), mask);
    copy.rename(|key| key.strip_prefix("transformer.").unwrap_or(key).to_owned());
    let (_, report) = CausalLm::load(copy.write(), &device(), &mut |_, _| {}).unwrap();
    assert_eq!(report.tolerated, ["h.0.attn.bias", "h.0.attn.masked_bias"]);
}

#[test]
fn keys_that_nobody_knows_are_listed() {
    let changes = json!({"gate_power": 2, "num_key_value_head": 1, "use_cache": true, "nothing": null,
        "n_head": "two", "attention_softmax_in_fp32": true});
    let config = llama(changes.clone()).unwrap();
    assert_eq!(config.about().unknown_keys(), ["gate_power", "num_key_value_head", "n_head"]);
    let config = bert(changes).unwrap();
    assert_eq!(config.about().unknown_keys(), ["gate_power", "num_key_value_head", "n_head"]);
    // Families that are described read their own keys elsewhere.
    let smollm3 = json!({"model_type": "smollm3", "vocab_size": 32, "hidden_size": 8, "intermediate_size": 16,
        "num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64,
        "no_rope_layer_interval": 4, "gate_power": 2});
    let config = CausalConfig::from_json(&smollm3.to_string(), Path::new("config.json")).unwrap();
    assert_eq!(config.about().unknown_keys(), ["gate_power"]);
}

/// What published files say beside what is read: the keys of Llama 2 and 3, Mistral, Qwen, Gemma, Phi 3, GPT-2, Pythia and BERT.
#[test]
fn keys_of_published_files_are_known() {
    let common = json!({
        "_name_or_path": "x", "architectures": ["X"], "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
        "torch_dtype": "bfloat16", "dtype": "bfloat16", "transformers_version": "4.40.0", "use_cache": true,
        "pretraining_tp": 1, "tokenizer_class": "X", "gradient_checkpointing": false, "output_past": true,
        "max_window_layers": 21, "use_sliding_window": false, "cache_implementation": "hybrid",
        "auto_map": {"AutoConfig": "x"}, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "original_max_position_embeddings": 64,
        "is_llama_config": true, "mlp_bias": false, "n_ctx": 64, "summary_type": "cls_index", "summary_use_proj": true,
        "task_specific_params": {"text-generation": {"do_sample": true}}, "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
        "label2id": {"LABEL_0": 0}, "initializer_range": 0.02, "attention_dropout": 0.0, "temperature": 1.0,
        "unsloth_fixed": true, "rope_interleaved": false, "_attn_implementation_autoset": true,
        "decoder_start_token_id": 1, "finetuning_task": null, "transformers.js_config": {"dtype": "q4"},
        "tie_word_embeddings": false,
    });
    let of = |model_type: &str, more: Value| {
        let mut config = json!({
            "model_type": model_type, "vocab_size": 32, "hidden_size": 8, "intermediate_size": 16,
            "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64,
        });
        let fields = config.as_object_mut().unwrap();
        fields.extend(common.as_object().unwrap().clone());
        fields.extend(more.as_object().unwrap().clone());
        config.to_string()
    };
    for (model_type, more) in [
        ("llama", json!({"rope_scaling": null, "head_dim": 4, "hidden_act": "silu"})),
        ("mistral", json!({"sliding_window": null})),
        ("qwen2", json!({"sliding_window": 64, "attn_pdrop": 0.0})),
        (
            "qwen3",
            json!({"attention_bias": false, "layer_types": ["full_attention", "full_attention"]}),
        ),
        (
            "gemma",
            json!({"head_dim": 4, "num_key_value_heads": 2, "hidden_activation": "gelu_pytorch_tanh"}),
        ),
        (
            "gemma2",
            json!({"head_dim": 4, "num_key_value_heads": 2, "query_pre_attn_scalar": 4, "attn_logit_softcapping": 50.0,
            "final_logit_softcapping": 30.0, "sliding_window": 64}),
        ),
        ("phi3", json!({"sliding_window": null, "pad_token_id": 0})),
        (
            "smollm3",
            json!({"no_rope_layer_interval": 4, "no_rope_layers": [1, 1], "num_key_value_heads": 2}),
        ),
        (
            "gpt_neox",
            json!({"hidden_act": "gelu", "rotary_pct": 0.5, "rotary_emb_base": 10000,
            "use_parallel_residual": true, "classifier_dropout": 0.1}),
        ),
    ] {
        let config = CausalConfig::from_json(&of(model_type, more), Path::new("config.json"));
        let config = config.unwrap_or_else(|error| panic!("{model_type}: {error}"));
        assert_eq!(config.about().unknown_keys(), [""; 0], "{model_type}");
    }
    let encoder =
        of("bert", json!({"position_embedding_type": "absolute", "classifier_dropout": null}));
    let encoder = BertConfig::from_json(&encoder, Path::new("config.json")).unwrap();
    assert_eq!(encoder.about().unknown_keys(), [""; 0]);
}
