//! What llama.cpp's conversion makes of BLOOM: names, metadata, and the rows of `query_key_value`, which it
//! takes apart into all queries, all keys and all values.

use serde_json::{Map, Value as Json, json};

use crate::gguf::{Beside, GgufFamily, GgufFile, Names, Rows, Setting, Value};

/// Positions are no limit here, and llama.cpp wants one: what the published models were trained with.
const CONTEXT: u64 = 2048;

pub(super) const BLOOM: GgufFamily = GgufFamily {
    architecture: "bloom",
    also: &[],
    class: "BloomForCausalLM",
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
    settings: &[
        Setting::count("hidden_size", "embedding_length"),
        Setting::blocks("n_layer"),
        Setting::own("n_head", "attention.head_count"),
        Setting::number("layer_norm_epsilon", "attention.layer_norm_epsilon"),
    ],
    implied: &[],
    rows: &[("attn_qkv", Rows::Parted(3))],
    one_more: &[],
    reads: &[],
    told: &[],
    read: |file: &mut GgufFile| Ok(Map::from_iter([("n_head".to_owned(), json!(file.heads()?.0))])),
    write,
};

fn write(settings: &Map<String, Json>) -> Result<Beside, String> {
    let width = settings.get("hidden_size").and_then(Json::as_u64).unwrap_or(0);
    let fields = vec![
        ("feed_forward_length", Value::Unsigned(4 * width)),
        ("context_length", Value::Unsigned(CONTEXT)),
    ];
    Ok(Beside { fields, ..Beside::default() })
}
