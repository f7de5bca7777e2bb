//! What llama.cpp's conversion makes of the family: names, metadata, and the order of rows.
//!
//! Left out: rotary positions scaled otherwise than Llama 3's or of part of a head; they are refused.

mod rope;

use serde_json::{Map, Value as Json, json};

use rope::ROPE_FACTORS;

use crate::decoder::rope::RopeConfig;
use crate::gguf::{
    Beside, GgufError, GgufFamily, GgufFile, GgufTensorProblem, Names, Rows, Setting,
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
        ("self_attn.q_norm", "attn_q_norm"),
        ("self_attn.k_norm", "attn_k_norm"),
        ("self_attn.o_proj", "attn_output"),
        ("post_attention_layernorm", "ffn_norm"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ],
};

/// Llama, and what llama.cpp converts as it: SmolLM2, Mistral. Rows of q and k are interleaved, since Hugging
/// Face turns the pairs `(i, i + head_dim / 2)` of a head and llama.cpp the pairs `(2 i, 2 i + 1)`; a tensor may
/// hold factors of rotary frequencies, which the configuration says.
pub(super) const LLAMA: GgufFamily = GgufFamily {
    architecture: "llama",
    also: &["mistral"],
    class: "LlamaForCausalLM",
    names: NAMES,
    settings: &[
        Setting::count("hidden_size", "embedding_length"),
        Setting::count("intermediate_size", "feed_forward_length"),
        Setting::blocks("num_hidden_layers"),
        Setting::own("num_attention_heads", "attention.head_count"),
        Setting::own("num_key_value_heads", "attention.head_count_kv"),
        Setting::own("head_dim", "attention.key_length")
            .and(&["attention.value_length", "rope.dimension_count"]),
        Setting::count("max_position_embeddings", "context_length"),
        Setting::number("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
        Setting::own("rope_theta", "rope.freq_base"),
    ],
    implied: &[("hidden_act", &["silu", "swish"])],
    rows: &[("attn_q", Rows::OfQueries), ("attn_k", Rows::OfKeys)],
    one_more: &[],
    reads: &[],
    told: &[ROPE_FACTORS],
    read: read_llama,
    write: write_llama,
};

/// Qwen2 and Qwen2.5: biases on q, k and v are there always, and no key says so.
pub(super) const QWEN2: GgufFamily = GgufFamily {
    architecture: "qwen2",
    also: &[],
    class: "Qwen2ForCausalLM",
    rows: &[],
    told: &[],
    read: read_qwen,
    write: write_qwen,
    ..LLAMA
};

/// Qwen3: norms on q and k, and heads that need not share out the residual stream.
pub(super) const QWEN3: GgufFamily = GgufFamily {
    architecture: "qwen3",
    class: "Qwen3ForCausalLM",
    read: |file| {
        let mut config = read_qwen(file)?;
        if !config.contains_key("head_dim") {
            let width = file.count("embedding_length")? / file.heads()?.0;
            config.insert("head_dim".into(), json!(width));
        }
        Ok(config)
    },
    write: |settings| match settings.get("attention_bias") {
        Some(Json::Bool(true)) => Err("`attention_bias` is true, and a file has no biases".into()),
        _ => write_qwen(settings),
    },
    ..QWEN2
};

fn read_llama(file: &mut GgufFile) -> Result<Map<String, Json>, GgufError> {
    let mut config = read(file)?;
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

fn write_llama(settings: &Map<String, Json>) -> Result<Beside, String> {
    let factors = rope(settings)?.factors(head_dim_of(settings));
    Ok(Beside {
        tensors: factors.map(|factors| (ROPE_FACTORS, factors)).into_iter().collect(),
        ..Beside::default()
    })
}

fn read_qwen(file: &mut GgufFile) -> Result<Map<String, Json>, GgufError> {
    if file.tensor(ROPE_FACTORS).is_some() {
        let found = format!("tensor `{ROPE_FACTORS}` in a file that is not a Llama's");
        return Err(GgufError::RopeScaling { path: file.path().to_owned(), found });
    }
    read(file)
}

fn write_qwen(settings: &Map<String, Json>) -> Result<Beside, String> {
    match rope(settings)?.scaling {
        None => Ok(Beside::default()),
        Some(_) => Err("rotary positions are scaled, which only a Llama's file says".into()),
    }
}

/// The rotary positions of a configuration, whose keys have been checked.
fn rope(settings: &Map<String, Json>) -> Result<RopeConfig, String> {
    let theta = settings.get("rope_theta").and_then(Json::as_f64);
    let given = |key: &str| settings.get(key);
    RopeConfig::from_parts(theta, given("rope_scaling"), given("rope_parameters"))
        .map_err(|problems| problems.join("; "))
}

fn head_dim_of(settings: &Map<String, Json>) -> usize {
    let width = settings.get("head_dim").and_then(Json::as_u64).unwrap_or(0);
    usize::try_from(width).unwrap_or(0)
}

fn read(file: &mut GgufFile) -> Result<Map<String, Json>, GgufError> {
    refuse_features(file)?;
    let (heads, kv_heads) = file.heads()?;
    let mut config = Map::new();
    let mut set = |key: &str, value: Json| config.insert(key.to_owned(), value);
    set("num_attention_heads", json!(heads));
    set("num_key_value_heads", json!(kv_heads));
    if let Some(width) = head_dim(file)? {
        set("head_dim", json!(width));
    }
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
    Ok(())
}
