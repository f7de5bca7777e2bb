//! What llama.cpp's conversion makes of GPT-2: names and metadata. It stores every linear `[d_out, d_in]`.

use serde_json::{Map, json};

use crate::gguf::{Beside, GgufFamily, GgufFile, Names, Setting};

pub(super) const GPT2: GgufFamily = GgufFamily {
    architecture: "gpt2",
    also: &[],
    class: "GPT2LMHeadModel",
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
    settings: &[
        Setting::count("n_embd", "embedding_length"),
        Setting::count("n_inner", "feed_forward_length"),
        Setting::blocks("n_layer"),
        Setting::own("n_head", "attention.head_count"),
        Setting::count("n_positions", "context_length"),
        Setting::number("layer_norm_epsilon", "attention.layer_norm_epsilon"),
    ],
    implied: &[("activation_function", &["gelu_new", "gelu_pytorch_tanh"])],
    rows: &[],
    one_more: &[],
    reads: &[],
    told: &[],
    read: |file: &mut GgufFile| Ok(Map::from_iter([("n_head".to_owned(), json!(file.heads()?.0))])),
    write: |_| Ok(Beside::default()),
};
