//! What llama.cpp's conversion makes of Gemma 3: names, metadata, and norms that scale by what files have, which is one
//! more than the model's weights.
//!
//! A file says neither which blocks have a window nor the base of their positions, nor by what scores are scaled: llama.cpp
//! knows that of the published models, and a model with others has no file.

use serde_json::{Map, Value as Json, json};

use super::PATTERN;
use crate::gguf::{Beside, GgufError, GgufFamily, GgufFile, Names, Setting, Value};

/// The number of blocks of the one published model whose scores are scaled by the width of the stream over its heads.
const BLOCKS_OF_27B: usize = 62;
/// The base of the positions of blocks with a window.
const LOCAL_THETA: f64 = 10_000.0;

const WINDOW: &str = "attention.sliding_window";
const EVERY: &str = "attention.sliding_window_pattern";
const LOCAL: &str = "rope.freq_base_swa";
const CAP: &str = "final_logit_softcapping";

pub(super) const GEMMA3: GgufFamily = GgufFamily {
    architecture: "gemma3",
    also: &["gemma3_text"],
    class: "Gemma3ForCausalLM",
    names: Names {
        model: &[
            ("model.embed_tokens", "token_embd"),
            ("model.norm", "output_norm"),
            ("lm_head", "output"),
        ],
        blocks: "model.layers",
        block: &[
            ("input_layernorm", "attn_norm"),
            ("self_attn.q_proj", "attn_q"),
            ("self_attn.k_proj", "attn_k"),
            ("self_attn.v_proj", "attn_v"),
            ("self_attn.q_norm", "attn_q_norm"),
            ("self_attn.k_norm", "attn_k_norm"),
            ("self_attn.o_proj", "attn_output"),
            ("post_attention_layernorm", "post_attention_norm"),
            ("pre_feedforward_layernorm", "ffn_norm"),
            ("mlp.gate_proj", "ffn_gate"),
            ("mlp.up_proj", "ffn_up"),
            ("mlp.down_proj", "ffn_down"),
            ("post_feedforward_layernorm", "post_ffw_norm"),
        ],
    },
    settings: &[
        Setting::count("hidden_size", "embedding_length"),
        Setting::count("intermediate_size", "feed_forward_length"),
        Setting::blocks("num_hidden_layers"),
        Setting::own("num_attention_heads", "attention.head_count"),
        Setting::own("num_key_value_heads", "attention.head_count_kv"),
        Setting::own("head_dim", "attention.key_length").and(&["attention.value_length"]),
        Setting::count("max_position_embeddings", "context_length"),
        Setting::number("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
        Setting::own("rope_theta", "rope.freq_base"),
        Setting::own("sliding_window", WINDOW),
        Setting::own("final_logit_softcapping", CAP),
    ],
    implied: &[("hidden_activation", &["gelu_pytorch_tanh", "gelu_new", "gelu_fast"])],
    rows: &[],
    one_more: &[
        "attn_norm",
        "attn_q_norm",
        "attn_k_norm",
        "post_attention_norm",
        "ffn_norm",
        "post_ffw_norm",
        "output_norm",
    ],
    told: &[],
    reads: &[WINDOW, EVERY, CAP],
    read,
    write,
};

fn read(file: &mut GgufFile) -> Result<Map<String, Json>, GgufError> {
    let (heads, kv_heads) = file.heads()?;
    let metadata = file.metadata();
    let head_dim = metadata.index(&file.key("attention.key_length")?)?.unwrap_or(256);
    let theta = metadata.number(&file.key("rope.freq_base")?)?.unwrap_or(1e6);
    let local = metadata.number(&file.key(LOCAL)?)?.unwrap_or(LOCAL_THETA);
    let every = metadata.index(&file.key(EVERY)?)?.unwrap_or(PATTERN);
    let scale = scalar(file.blocks()?, file.count("embedding_length")?, heads, head_dim);
    let mut config = Map::new();
    let mut set = |key: &str, value: Json| config.insert(key.to_owned(), value);
    set("num_attention_heads", json!(heads));
    set("num_key_value_heads", json!(kv_heads));
    set("head_dim", json!(head_dim));
    set("query_pre_attn_scalar", json!(scale));
    set("rope_theta", json!(theta));
    set("rope_local_base_freq", json!(local));
    match metadata.index(&file.key(WINDOW)?)? {
        Some(window @ 1..) => {
            set("sliding_window", json!(window));
            set("sliding_window_pattern", json!(every));
        }
        // Every block sees all.
        _ => {
            set("sliding_window_pattern", json!(1));
        }
    }
    if let Some(cap) = metadata.number(&file.key(CAP)?)?.filter(|&cap| cap != 0.0) {
        set(CAP, json!(cap));
    }
    let kind = file.key("rope.scaling.type")?;
    match metadata.text(&kind)? {
        None | Some("none" | "") => {}
        Some("linear") => {
            let key = file.key("rope.scaling.factor")?;
            let factor = metadata.needed(&key, metadata.number(&key)?)?;
            set("rope_scaling", json!({ "rope_type": "linear", "factor": factor }));
        }
        Some(other) => {
            let found = format!("`{kind}` is `{other}`");
            return Err(GgufError::RopeScaling { path: file.path().to_owned(), found });
        }
    }
    Ok(config)
}

/// By whose root llama.cpp divides scores.
fn scalar(blocks: usize, width: usize, heads: usize, head_dim: usize) -> usize {
    if blocks == BLOCKS_OF_27B { width / heads.max(1) } else { head_dim }
}

fn write(settings: &Map<String, Json>) -> Result<Beside, String> {
    let count = |key: &str| settings.get(key).and_then(Json::as_u64).unwrap_or(0) as usize;
    let number = |key: &str| settings.get(key).and_then(Json::as_f64);
    let blocks = count("num_hidden_layers");
    if settings.get("attention_bias") == Some(&json!(true)) {
        return Err("`attention_bias` is true, and a file has no biases".into());
    }
    let scale =
        scalar(blocks, count("hidden_size"), count("num_attention_heads"), count("head_dim"));
    let own = number("query_pre_attn_scalar");
    if own != Some(scale as f64) {
        return Err(format!(
            "`query_pre_attn_scalar` is {}, and of a model of its sizes a file means {scale}",
            own.unwrap_or_default()
        ));
    }
    let windows: Vec<Json> =
        (0..blocks).map(|block| json!(!(block + 1).is_multiple_of(PATTERN))).collect();
    if settings.get("windows") != Some(&Json::Array(windows)) {
        return Err(format!(
            "in a file every block has a window but for each {PATTERN}th, and here it is otherwise"
        ));
    }
    if let Some(local) = number("rope_local_base_freq").filter(|&local| local != LOCAL_THETA) {
        return Err(format!(
            "the rotary positions of blocks with a window have the base {local}, and a file means {LOCAL_THETA}"
        ));
    }
    let fields = match settings.get("rope_scaling") {
        None => Vec::new(),
        Some(scaling) if scaling["rope_type"] == "linear" => {
            let factor = scaling["factor"].as_f64().unwrap_or(1.0) as f32;
            vec![
                ("rope.scaling.type", Value::Text("linear".into())),
                ("rope.scaling.factor", Value::F32(factor)),
            ]
        }
        Some(_) => return Err("rotary positions are scaled in a way that a file cannot say".into()),
    };
    Ok(Beside { fields, ..Beside::default() })
}
