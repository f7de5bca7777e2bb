//! What llama.cpp's conversion makes of the family: names, metadata, and the order of rows.
//!
//! Left out: rotary positions scaled otherwise than Llama 3's or of part of a head, experts, sliding
//! windows; all are refused.

mod rope;

use serde_json::{Map, Value as Json, json};

use rope::ROPE_FACTORS;

use crate::gguf::{
    GgufError, GgufFamily, GgufFile, GgufTensor, GgufTensorProblem, Names, RowOrder, Value,
};

const NAMES: Names = Names {
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
        ("self_attn.o_proj", "attn_output"),
        ("post_attention_layernorm", "ffn_norm"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ],
};

/// Llama, and what llama.cpp converts as it: SmolLM2, Mistral. Rows of q and k are interleaved, and a
/// tensor may hold factors of rotary frequencies, which the configuration says.
pub(super) const LLAMA: GgufFamily = GgufFamily {
    architecture: "llama",
    names: NAMES,
    told: &[ROPE_FACTORS],
    config: llama_config,
    rows: llama_rows,
};

/// Qwen2 and Qwen2.5.
pub(super) const QWEN2: GgufFamily = GgufFamily {
    architecture: "qwen2",
    names: NAMES,
    told: &[],
    config: qwen2_config,
    rows: |_, _| Ok(RowOrder::Same),
};

fn llama_config(file: &mut GgufFile) -> Result<Map<String, Json>, GgufError> {
    let mut config = config(file, "LlamaForCausalLM")?;
    if let Some(scaling) = rope_scaling(file)? {
        config.insert("rope_scaling".into(), scaling);
    }
    for (key, tensor) in
        [("attention_bias", "blk.0.attn_q.bias"), ("mlp_bias", "blk.0.ffn_gate.bias")]
    {
        config.insert(key.into(), json!(file.tensor(tensor).is_some()));
    }
    Ok(config)
}

/// Biases on q, k and v are there always, and no key says so.
fn qwen2_config(file: &mut GgufFile) -> Result<Map<String, Json>, GgufError> {
    if file.tensor(ROPE_FACTORS).is_some() {
        let found = format!("tensor `{ROPE_FACTORS}` in a file that is not a Llama's");
        return Err(GgufError::RopeScaling { path: file.path().to_owned(), found });
    }
    config(file, "Qwen2ForCausalLM")
}

fn config(file: &mut GgufFile, class: &str) -> Result<Map<String, Json>, GgufError> {
    refuse_features(file)?;
    let (heads, kv_heads) = file.heads()?;
    let mut config = Map::new();
    let mut set = |key: &str, value: Json| config.insert(key.to_owned(), value);
    set("architectures", json!([class]));
    set("hidden_size", json!(file.count("embedding_length")?));
    set("intermediate_size", json!(file.count("feed_forward_length")?));
    set("num_hidden_layers", json!(file.blocks()?));
    set("num_attention_heads", json!(heads));
    set("num_key_value_heads", json!(kv_heads));
    if let Some(width) = head_dim(file)? {
        set("head_dim", json!(width));
    }
    set("hidden_act", json!("silu"));
    set("max_position_embeddings", json!(file.count("context_length")?));
    set("rms_norm_eps", json!(file.number("attention.layer_norm_rms_epsilon")?));
    set("rope_theta", json!(theta(file)?));
    Ok(config)
}

/// A head's width, where the file gives it.
fn head_dim(file: &GgufFile) -> Result<Option<usize>, GgufError> {
    let metadata = file.metadata();
    let of = |name: &str| metadata.index(&file.key(name)?);
    let (keys, values) = (of("attention.key_length")?, of("attention.value_length")?);
    let turned = of("rope.dimension_count")?;
    let width = keys.or(turned);
    if let (Some(values), Some(width)) = (values, width)
        && values != width
    {
        return Err(file.feature(format!("keys are {width} wide and values {values}")));
    }
    if let (Some(turned), Some(width)) = (turned, width)
        && turned != width
    {
        return Err(file.feature(format!(
            "rotary positions on {turned} of a head's {width} numbers (`{}`)",
            file.key("rope.dimension_count")?
        )));
    }
    Ok(width)
}

fn theta(file: &GgufFile) -> Result<f64, GgufError> {
    // llama.cpp's own default, on which older conversions rely.
    let theta = file.metadata().number(&file.key("rope.freq_base")?)?;
    Ok(theta.unwrap_or(10_000.0))
}

/// `rope_scaling`, where the file has factors other than 1.
fn rope_scaling(file: &mut GgufFile) -> Result<Option<Json>, GgufError> {
    let path = file.path().to_owned();
    let Some(tensor) = file.tensor(ROPE_FACTORS) else { return Ok(None) };
    let head_dim = match head_dim(file)? {
        Some(width) => width,
        None => file.count("embedding_length")? / file.heads()?.0,
    };
    let expected = vec![head_dim / 2];
    if tensor.shape != expected {
        let (tensor, found) = (tensor.name.clone(), tensor.shape.clone());
        let problems = vec![GgufTensorProblem::Shape { tensor, found, expected }];
        return Err(GgufError::Tensors { path, problems });
    }
    let theta = theta(file)?;
    let factors = file.read(ROPE_FACTORS)?;
    match rope::recognised(&factors, theta) {
        Some(config) => Ok(config.scaling.map(rope::rope_scaling)),
        None => {
            let found = format!("the factors in `{ROPE_FACTORS}` are not those of Llama 3");
            Err(GgufError::RopeScaling { path, found })
        }
    }
}

fn refuse_features(file: &GgufFile) -> Result<(), GgufError> {
    let metadata = file.metadata();
    let scaled =
        |found: String| Err(GgufError::RopeScaling { path: file.path().to_owned(), found });
    let kind = file.key("rope.scaling.type")?;
    match metadata.text(&kind)? {
        None => {
            for name in ["rope.scaling.factor", "rope.scale_linear"] {
                let key = file.key(name)?;
                match metadata.number(&key)? {
                    Some(factor) if factor != 1.0 && factor != 0.0 => {
                        return scaled(format!("`{key}` is {factor}"));
                    }
                    _ => {}
                }
            }
        }
        Some("none" | "") => {}
        Some(found) => return scaled(format!("`{kind}` is `{found}`")),
    }
    let experts = file.key("expert_count")?;
    if let Some(count @ 1..) = metadata.index(&experts)? {
        return Err(file.feature(format!("{count} experts (`{experts}`)")));
    }
    let window = file.key("attention.sliding_window")?;
    match (metadata.get(&window), metadata.count(&file.key("context_length")?)?) {
        (None | Some(Value::Unsigned(0)), _) => Ok(()),
        (Some(Value::Unsigned(size)), Some(context)) if *size >= context as u64 => Ok(()),
        (Some(found), _) => Err(file.feature(format!("a sliding window of {found} (`{window}`)"))),
    }
}

/// Hugging Face turns the pairs `(i, i + head_dim / 2)` of a head, llama.cpp the pairs
/// `(2 i, 2 i + 1)`: conversion moves the rows of q and k within each head.
fn llama_rows(file: &GgufFile, tensor: &GgufTensor) -> Result<RowOrder, GgufError> {
    let (heads, kv_heads) = file.heads()?;
    let heads = match tensor.name.rsplit('.').nth(1) {
        Some("attn_q") => heads,
        Some("attn_k") => kv_heads,
        _ => return Ok(RowOrder::Same),
    };
    let rows = tensor.shape.first().copied().unwrap_or(1);
    match heads.checked_mul(2) {
        Some(halves) if rows.is_multiple_of(halves) => {
            Ok(RowOrder::Interleaved { head_dim: rows / heads })
        }
        _ => {
            let path = file.path().to_owned();
            Err(GgufError::Heads { path, tensor: tensor.name.clone(), rows, heads })
        }
    }
}
