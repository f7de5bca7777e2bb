//! DistilBERT and ModernBERT: what their `config.json` may say, what is refused by its key, and which tensors files may have
//! or lack.

use std::path::Path;

use burn_lora_models::decoder::rope::{RopeConfig, RopeScaling};
use burn_lora_models::families::distilbert::DistilBertConfig;
use burn_lora_models::families::modernbert::{ModernBertConfig, Pooling};
use burn_lora_models::{
    Activation, Classifier, ClassifierConfig, Model, ModelConfig, ModelError, SequenceClassifier,
};
use serde_json::{Value, json};

use crate::fixture::{Batch, Copy, Stored, device, floats, golden, largest_difference, read};

fn distilbert(changes: Value) -> Result<DistilBertConfig, ModelError> {
    let mut config = json!({
        "model_type": "distilbert", "vocab_size": 32, "dim": 8, "hidden_dim": 16, "n_layers": 2,
        "n_heads": 2, "max_position_embeddings": 64,
    });
    config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    DistilBertConfig::from_json(&config.to_string(), Path::new("dir/config.json"))
}

fn modernbert(changes: Value) -> Result<ModernBertConfig, ModelError> {
    let mut config = json!({
        "model_type": "modernbert", "vocab_size": 32, "hidden_size": 8, "intermediate_size": 16,
        "num_hidden_layers": 4, "num_attention_heads": 2, "max_position_embeddings": 64,
    });
    config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    ModernBertConfig::from_json(&config.to_string(), Path::new("dir/config.json"))
}

fn check_refused<T: std::fmt::Debug>(result: Result<T, ModelError>, parts: &[&str]) {
    let message = result.unwrap_err().to_string();
    for part in parts.iter().chain(&["dir/config.json"]) {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn distilbert_reads_both_names_of_its_sizes() {
    let config = distilbert(json!({"activation": "relu", "sinusoidal_pos_embds": true})).unwrap();
    assert_eq!((config.dim, config.act), (8, Activation::Relu));
    assert_eq!(config.labels().len(), 2);
    let other = json!({"model_type": "distilbert", "hidden_size": 12, "num_attention_heads": 3,
        "num_hidden_layers": 1});
    let other = DistilBertConfig::from_json(&other.to_string(), Path::new("config.json")).unwrap();
    assert_eq!((other.dim, other.n_heads, other.n_layers), (12, 3, 1));
    assert_eq!((other.hidden_dim, other.vocab_size, other.act), (3072, 30_522, Activation::Gelu));
    for (changes, parts) in [
        (json!({"hidden_size": 16}), vec!["`hidden_size` is 16 and `dim` is 8"]),
        (json!({"n_heads": 3}), vec!["`dim` (8) is not a multiple of `n_heads` (3)"]),
        (json!({"activation": "silu"}), vec!["`activation` is `silu`"]),
        (json!({"dropout": 1.0}), vec!["`dropout` is 1"]),
        (json!({"seq_classif_dropout": -0.5}), vec!["`seq_classif_dropout` is -0.5"]),
        (json!({"n_layers": 0}), vec!["`n_layers` is 0"]),
        (json!({"vocab_size": 1_u64 << 40}), vec!["`vocab_size`"]),
        (json!({"hidden_act": "relu"}), vec!["`hidden_act` is"]),
        (json!({"is_causal": true}), vec!["`is_causal` is true"]),
    ] {
        check_refused(distilbert(changes), &parts);
    }
}

#[test]
fn modernbert_reads_every_spelling_of_its_layers_and_positions() {
    let plain = modernbert(json!({})).unwrap();
    assert_eq!(plain.local, [false, true, true, false]);
    assert_eq!((plain.window(), plain.pooling), (64, Pooling::Cls));
    let rope = |theta| RopeConfig { theta, scaling: None };
    assert_eq!(plain.rope, [rope(160_000.0), rope(10_000.0)]);
    let types = ["sliding_attention", "full_attention", "full_attention", "sliding_attention"];
    let listed = json!({"layer_types": types, "global_attn_every_n_layers": 2, "local_attention": 9,
        "classifier_pooling": "mean"});
    let listed = modernbert(listed).unwrap();
    assert_eq!(listed.local, [true, false, false, true]);
    assert_eq!((listed.window(), listed.pooling), (4, Pooling::Mean));
    let old = modernbert(json!({"global_rope_theta": 5e3, "local_rope_theta": 2e3})).unwrap();
    assert_eq!(old.rope, [rope(5e3), rope(2e3)]);
    let new = json!({"local_rope_theta": 2e3, "rope_parameters": {
        "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5e3}}});
    let slowed = RopeConfig { theta: 5e3, scaling: Some(RopeScaling::Linear { factor: 2.0 }) };
    assert_eq!(modernbert(new).unwrap().rope, [slowed, rope(2e3)]);
    // What the published files say beside.
    let published = json!({"position_embedding_type": "absolute", "layer_norm_eps": 1e-5, "norm_eps": 1e-5,
        "decoder_bias": true, "reference_compile": null, "sparse_prediction": false, "tie_word_embeddings": true,
        "gradient_checkpointing": false, "repad_logits_with_grad": false, "cls_token_id": 1});
    modernbert(published).unwrap();
    for (changes, parts) in [
        (json!({"global_attn_every_n_layers": 0}), vec!["`global_attn_every_n_layers` is 0"]),
        (json!({"layer_types": ["full_attention"]}), vec!["`layer_types` has 1", "is 4"]),
        (json!({"layer_types": ["full_attention", "x", "x", "x"]}), vec!["`layer_types` has `x`"]),
        (json!({"classifier_pooling": "max"}), vec!["`classifier_pooling` is `max`", "`mean`"]),
        (json!({"hidden_activation": "silu"}), vec!["`hidden_activation` is `silu`"]),
        (json!({"num_attention_heads": 8}), vec!["the width of a head is 1"]),
        (json!({"local_rope_theta": 0.0}), vec!["`local_rope_theta` is 0"]),
        (json!({"position_embedding_type": "relative_key"}), vec!["`position_embedding_type`"]),
        (json!({"rope_parameters": {"rope_theta": 1e4}}), vec!["`rope_theta`", "`full_attention`"]),
        (json!({"local_attention": -1}), vec!["`local_attention` is -1"]),
        (json!({"num_hidden_layers": 1_u64 << 40}), vec!["`num_hidden_layers`"]),
    ] {
        check_refused(modernbert(changes), &parts);
    }
}

/// Files of pre-training have its head, and none over classes.
#[test]
fn a_pre_trained_encoder_gets_a_fresh_head_and_keeps_no_other() {
    let zeros = |shape: Vec<usize>| {
        let len = shape.iter().product();
        Stored::from_floats(shape, &vec![0.0; len])
    };
    let load = |path: &Path| {
        SequenceClassifier::load_with_head(path, Some(7), 0, &device(), &mut |_, _| {}).unwrap().1
    };
    let mut copy = Copy::of("distilbert");
    copy.tensors.retain(|key, _| !key.contains("classifier"));
    copy.tensors.insert("vocab_transform.weight".into(), zeros(vec![48, 48]));
    copy.tensors.insert("vocab_projector.bias".into(), zeros(vec![211]));
    let report = load(copy.write());
    let fresh =
        ["pre_classifier.weight", "pre_classifier.bias", "classifier.weight", "classifier.bias"];
    assert_eq!(report.fresh, fresh);
    assert_eq!(report.tolerated, ["vocab_projector.bias", "vocab_transform.weight"]);

    let mut copy = Copy::of("modernbert");
    copy.tensors.retain(|key, _| !key.contains("classifier"));
    copy.tensors.insert("decoder.bias".into(), zeros(vec![211]));
    let report = load(copy.write());
    assert_eq!(report.fresh, ["classifier.weight", "classifier.bias"]);
    assert_eq!(report.tolerated, ["decoder.bias"]);
    // A base alone: no prefix, and no layer before the classes.
    copy.tensors.retain(|key, _| key.starts_with("model."));
    copy.rename(|key| key.replacen("model.", "", 1));
    let report = load(copy.write());
    let fresh = ["head.dense.weight", "head.norm.weight", "classifier.weight", "classifier.bias"];
    assert_eq!(report.fresh, fresh);
}

/// As transformers writes it: with the classes that it has.
#[test]
fn an_encoder_that_is_saved_is_read_again() {
    for architecture in ["distilbert", "modernbert"] {
        let load = |path: &Path| {
            SequenceClassifier::load_with_head(path, None, 0, &device(), &mut |_, _| {}).unwrap().0
        };
        let model = load(&golden(architecture));
        let dir = tempfile::tempdir().unwrap();
        model.save(dir.path(), burn_lora_models::SaveDtype::F32).unwrap();
        assert_eq!(
            read(&dir.path().join("model.safetensors")),
            read(&golden(architecture).join("model.safetensors")),
            "{architecture}"
        );
        let batch = Batch::of(architecture);
        let logits =
            |model: &SequenceClassifier| floats(model.logits(batch.ids(&device()), &batch.lengths));
        let again = load(dir.path());
        assert_eq!(largest_difference(&logits(&again), &logits(&model), 5, |_| true), 0.0);
    }
}
