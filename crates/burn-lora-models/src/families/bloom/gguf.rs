//! What llama.cpp's conversion makes of BLOOM: names, metadata, and the rows of `query_key_value`, which it
//! takes apart into all queries, all keys and all values.

use serde_json::{Map, Value as Json, json};

use crate::gguf::{GgufError, GgufFamily, GgufFile, GgufTensor, Names, RowOrder};

pub(super) const BLOOM: GgufFamily = GgufFamily {
    architecture: "bloom",
    names: Names {
        model: &[
            ("transformer.word_embeddings", "token_embd"),
            ("transformer.word_embeddings_layernorm", "token_embd_norm"),
            ("transformer.ln_f", "output_norm"),
            ("lm_head", "output"),
        ],
        blocks: "transformer.h",
        block: &[
            ("input_layernorm", "attn_norm"),
            ("self_attention.query_key_value", "attn_qkv"),
            ("self_attention.dense", "attn_output"),
            ("post_attention_layernorm", "ffn_norm"),
            ("mlp.dense_h_to_4h", "ffn_up"),
            ("mlp.dense_4h_to_h", "ffn_down"),
        ],
    },
    told: &[],
    config,
    rows,
};

fn config(file: &mut GgufFile) -> Result<Map<String, Json>, GgufError> {
    let mut config = Map::new();
    let mut set = |key: &str, value: Json| config.insert(key.to_owned(), value);
    set("architectures", json!(["BloomForCausalLM"]));
    set("hidden_size", json!(file.count("embedding_length")?));
    set("n_layer", json!(file.blocks()?));
    set("n_head", json!(file.heads()?.0));
    set("layer_norm_epsilon", json!(file.number("attention.layer_norm_epsilon")?));
    Ok(config)
}

fn rows(file: &GgufFile, tensor: &GgufTensor) -> Result<RowOrder, GgufError> {
    if tensor.name.rsplit('.').nth(1) != Some("attn_qkv") {
        return Ok(RowOrder::Same);
    }
    let (heads, _) = file.heads()?;
    let rows = tensor.shape.first().copied().unwrap_or(1);
    match heads.checked_mul(3) {
        Some(parts) if rows.is_multiple_of(parts) => {
            Ok(RowOrder::Parted { parts: 3, head_dim: rows / parts })
        }
        _ => {
            let path = file.path().to_owned();
            Err(GgufError::Heads { path, tensor: tensor.name.clone(), rows, heads })
        }
    }
}
