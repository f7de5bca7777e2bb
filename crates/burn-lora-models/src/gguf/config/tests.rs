use serde_json::json;

use super::super::writer::{Writer, tiny_llama, tiny_qwen2};

fn check_refused(writer: Writer, parts: &[&str]) {
    let message = writer.open().unwrap().config().expect_err("no configuration").to_string();
    for part in parts {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

#[test]
fn a_llamas_metadata_becomes_its_configuration() {
    let mut file = tiny_llama()
        .u32("llama.rope.dimension_count", 2)
        .u32("tokenizer.ggml.bos_token_id", 1)
        .u32("tokenizer.ggml.eos_token_id", 2)
        .open()
        .unwrap();
    let expected = json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": 5,
        "hidden_size": 4,
        "intermediate_size": 6,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 2,
        "hidden_act": "silu",
        "max_position_embeddings": 16,
        "rms_norm_eps": 1e-5,
        "rope_theta": 100_000.0,
        "tie_word_embeddings": true,
        "attention_bias": false,
        "mlp_bias": false,
        "bos_token_id": 1,
        "eos_token_id": 2,
    });
    assert_eq!(file.config().unwrap(), expected);
}

#[test]
fn a_qwen2s_metadata_becomes_its_configuration() {
    let file =
        tiny_qwen2().f32s("output.weight", &[5, 4], &[0.0; 20]).without("qwen2.rope.freq_base");
    let expected = json!({
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "vocab_size": 5,
        "hidden_size": 4,
        "intermediate_size": 6,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "hidden_act": "silu",
        "max_position_embeddings": 16,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0,
        "tie_word_embeddings": false,
    });
    assert_eq!(file.open().unwrap().config().unwrap(), expected);
}

#[test]
fn a_llamas_biases_show_in_its_configuration() {
    let config = tiny_llama()
        .f32s("blk.0.attn_q.bias", &[4], &[0.0; 4])
        .f32s("blk.0.ffn_gate.bias", &[6], &[0.0; 6])
        .open()
        .unwrap()
        .config()
        .unwrap();
    assert_eq!((&config["attention_bias"], &config["mlp_bias"]), (&json!(true), &json!(true)));
}

#[test]
fn heads_are_not_shared_where_the_file_does_not_say() {
    let mut file = tiny_llama().without("llama.attention.head_count_kv").open().unwrap();
    assert_eq!(file.config().unwrap()["num_key_value_heads"], json!(2));
}

#[test]
fn a_count_a_layer_is_one_count_where_all_are_the_same() {
    let writer = tiny_llama().without("llama.attention.head_count_kv");
    let mut file = writer.clone().i32s("llama.attention.head_count_kv", &[1, 1, 1]).open().unwrap();
    assert_eq!(file.config().unwrap()["num_key_value_heads"], json!(1));
    for counts in [&[1, 2][..], &[]] {
        check_refused(
            writer.clone().i32s("llama.attention.head_count_kv", counts),
            &["head_count_kv", "same for every layer"],
        );
    }
}

#[test]
fn the_vocabulary_has_the_embeddings_rows() {
    let tokens = ["a", "b", "c"];
    let with = |writer: Writer| writer.texts("tokenizer.ggml.tokens", &tokens);
    let size = |writer: Writer| writer.open().unwrap().config().unwrap()["vocab_size"].clone();
    assert_eq!(size(with(tiny_llama())), json!(5));
    assert_eq!(size(with(tiny_llama().without_tensor("token_embd.weight"))), json!(3));
    check_refused(
        tiny_llama().texts("tokenizer.ggml.tokens", &["a", "b", "c", "d", "e", "f"]),
        &["6 tokens", "5 rows"],
    );
    check_refused(tiny_llama().without_tensor("token_embd.weight"), &["tokenizer.ggml.tokens"]);
}

#[test]
fn a_missing_key_is_named() {
    for key in [
        "general.architecture",
        "llama.block_count",
        "llama.context_length",
        "llama.embedding_length",
        "llama.feed_forward_length",
        "llama.attention.head_count",
        "llama.attention.layer_norm_rms_epsilon",
    ] {
        check_refused(tiny_llama().without(key), &[&format!("no metadata value `{key}`")]);
    }
}

#[test]
fn a_key_of_another_kind_is_named() {
    let key = "llama.block_count";
    check_refused(tiny_llama().without(key).text(key, "many"), &[key, "\"many\"", "one integer"]);
    check_refused(
        tiny_llama().without(key).raw(key, 5, &(-1_i32).to_le_bytes()),
        &[key, "-1", "at least 0"],
    );
    let key = "llama.attention.head_count";
    check_refused(tiny_llama().without(key).u32(key, 0), &[key, "0"]);
    let key = "llama.attention.layer_norm_rms_epsilon";
    check_refused(tiny_llama().without(key).f32(key, f32::NAN), &[key, "NaN", "finite"]);
}

#[test]
fn another_architecture_is_named_with_those_supported() {
    let writer = tiny_llama().without("general.architecture").text("general.architecture", "gemma");
    check_refused(writer, &["`gemma`", "`llama`, `qwen2`"]);
}

#[test]
fn factors_of_rotary_frequencies_become_llama_3s_setting() {
    // Heads of six numbers; wavelengths of 6.3, 499 and 39,582 tokens.
    let file = |factors: &[f32]| {
        tiny_llama()
            .u32("llama.rope.dimension_count", 6)
            .without("llama.rope.freq_base")
            .f32("llama.rope.freq_base", 500_000.0)
            .f32s("rope_freqs.weight", &[factors.len()], factors)
    };
    let config = file(&[1.0, 1.0, 32.0]).open().unwrap().config().unwrap();
    let expected = json!({
        "rope_type": "llama3",
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    });
    assert_eq!(config["rope_scaling"], expected);
    let config = file(&[1.0, 1.0, 1.0]).open().unwrap().config().unwrap();
    assert_eq!(config.get("rope_scaling"), None);
    check_refused(file(&[1.0, 2.0, 32.0]), &["`rope_freqs.weight`", "not those of Llama 3"]);
    check_refused(file(&[1.0, 1.0]), &["`rope_freqs.weight` is [2]", "needs [3]"]);
    let unread = file(&[1.0; 3]).without_tensor("rope_freqs.weight");
    check_refused(unread.f32s("rope_freqs.weight", &[1, 3], &[1.0; 3]), &["[1, 3]"]);
    let qwen2 = tiny_qwen2().f32s("rope_freqs.weight", &[1], &[1.0]);
    check_refused(qwen2, &["`rope_freqs.weight`", "not a Llama's"]);
}

#[test]
fn scaled_rotary_positions_are_refused() {
    check_refused(tiny_llama().f32s("rope_freqs.weight", &[1], &[8.0]), &["rope_freqs.weight"]);
    check_refused(tiny_llama().text("llama.rope.scaling.type", "yarn"), &["`yarn`"]);
    check_refused(tiny_llama().f32("llama.rope.scaling.factor", 4.0), &["factor` is 4"]);
    check_refused(tiny_llama().f32("llama.rope.scale_linear", 2.0), &["scale_linear` is 2"]);
    let mut none = tiny_llama().text("llama.rope.scaling.type", "none").open().unwrap();
    assert!(none.config().is_ok());
}

#[test]
fn what_the_models_here_lack_is_refused() {
    check_refused(tiny_llama().u32("llama.expert_count", 8), &["8 experts"]);
    check_refused(tiny_llama().u32("llama.attention.sliding_window", 8), &["sliding window of 8"]);
    check_refused(
        tiny_llama().u32("llama.attn_logit_softcapping", 50),
        &["`llama.attn_logit_softcapping` is 50: it bounds scores"],
    );
    check_refused(
        tiny_qwen2().u32("qwen2.logit_scale", 2),
        &["`qwen2.logit_scale` is 2: it scales"],
    );
    assert!(tiny_llama().u32("llama.embedding_scale", 1).open().unwrap().config().is_ok());
    let mut long = tiny_llama().u32("llama.attention.sliding_window", 16).open().unwrap();
    assert!(long.config().is_ok());
    check_refused(
        tiny_llama().u32("llama.attention.key_length", 4).u32("llama.rope.dimension_count", 2),
        &["2 of a head's 4"],
    );
    check_refused(
        tiny_llama().u32("llama.attention.key_length", 4).u32("llama.attention.value_length", 2),
        &["4 wide and values 2"],
    );
}

/// Families without windows once passed the key over, and computed something else than the file says.
#[test]
fn windows_and_experts_are_refused_of_every_family() {
    for family in ["gpt2", "bloom", "qwen3"] {
        let of = |key: &str, number| {
            let file = tiny_llama().without("general.architecture");
            file.text("general.architecture", family).u32(&format!("{family}.{key}"), number)
        };
        let window = "attention.sliding_window";
        check_refused(of(window, 8), &["sliding window of 8", family]);
        check_refused(
            of(window, 8).u32(&format!("{family}.context_length"), 16),
            &["sliding window of 8"],
        );
        check_refused(of("attention.sliding_window_size", 8), &["sliding window of 8"]);
        check_refused(of("expert_count", 4), &["4 experts"]);
        let passed = of(window, 16).u32(&format!("{family}.context_length"), 16);
        let said = passed.open().unwrap().config().map_err(|error| error.to_string());
        assert!(!said.is_err_and(|error| error.contains("window")), "{family}");
    }
}

/// A list of that many blocks was once made before anything was compared.
#[test]
fn more_blocks_than_there_are_tensors_of_are_refused() {
    for count in [2, 65_536, u32::MAX] {
        let file = tiny_llama().without("llama.block_count").u32("llama.block_count", count);
        check_refused(file, &["`llama.block_count`", &count.to_string(), "those of 1 blocks"]);
    }
}
