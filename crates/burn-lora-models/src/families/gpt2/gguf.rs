//! What llama.cpp's conversion makes of GPT-2: names and metadata. It stores every linear `[d_out, d_in]`.

use serde_json::{Map, Value as Json, json};

use crate::gguf::{GgufError, GgufFamily, GgufFile, Names, RowOrder};

pub(super) const GPT2: GgufFamily = GgufFamily {
    architecture: "gpt2",
    names: Names {
        model: &[
            ("transformer.wte", "token_embd"),
            ("transformer.wpe", "position_embd"),
            ("transformer.ln_f", "output_norm"),
            ("lm_head", "output"),
        ],
        blocks: "transformer.h",
        block: &[
            ("ln_1", "attn_norm"),
            ("attn.c_attn", "attn_qkv"),
            ("attn.c_proj", "attn_output"),
            ("ln_2", "ffn_norm"),
            ("mlp.c_fc", "ffn_up"),
            ("mlp.c_proj", "ffn_down"),
        ],
    },
    told: &[],
    config,
    rows: |_, _| Ok(RowOrder::Same),
};

fn config(file: &mut GgufFile) -> Result<Map<String, Json>, GgufError> {
    let mut config = Map::new();
    let mut set = |key: &str, value: Json| config.insert(key.to_owned(), value);
    set("architectures", json!(["GPT2LMHeadModel"]));
    set("activation_function", json!("gelu_new"));
    set("n_embd", json!(file.count("embedding_length")?));
    set("n_inner", json!(file.count("feed_forward_length")?));
    set("n_layer", json!(file.blocks()?));
    set("n_head", json!(file.heads()?.0));
    set("n_positions", json!(file.count("context_length")?));
    set("layer_norm_epsilon", json!(file.number("attention.layer_norm_epsilon")?));
    Ok(config)
}
