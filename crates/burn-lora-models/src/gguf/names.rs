//! What GGUF and Hugging Face call the same tensor.

/// Hugging Face's path in a layer, GGUF's.
const LAYER: [(&str, &str); 9] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// Hugging Face's path outside of the layers, GGUF's.
const MODEL: [(&str, &str); 3] =
    [("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"), ("lm_head", "output")];

/// The name in a GGUF file of the tensor with a Hugging Face key.
///
/// ```
/// use burn_lora_models::gguf::gguf_name;
///
/// let name = gguf_name("model.layers.3.self_attn.q_proj.weight");
/// assert_eq!(name.as_deref(), Some("blk.3.attn_q.weight"));
/// ```
pub fn gguf_name(key: &str) -> Option<String> {
    let (path, kind) = split(key)?;
    if let Some((_, name)) = MODEL.iter().find(|(known, _)| *known == path) {
        return Some(format!("{name}.{kind}"));
    }
    let (layer, path) = path.strip_prefix("model.layers.")?.split_once('.')?;
    let (_, name) = LAYER.iter().find(|(known, _)| *known == path)?;
    Some(format!("blk.{}.{name}.{kind}", number(layer)?))
}

/// The Hugging Face key of the tensor with a name in a GGUF file.
///
/// ```
/// use burn_lora_models::gguf::hugging_face_key;
///
/// let key = hugging_face_key("blk.3.attn_q.weight");
/// assert_eq!(key.as_deref(), Some("model.layers.3.self_attn.q_proj.weight"));
/// assert_eq!(hugging_face_key("rope_freqs.weight"), None);
/// ```
pub fn hugging_face_key(name: &str) -> Option<String> {
    let (name, kind) = split(name)?;
    if let Some((path, _)) = MODEL.iter().find(|(_, known)| *known == name) {
        return Some(format!("{path}.{kind}"));
    }
    let (layer, name) = name.strip_prefix("blk.")?.split_once('.')?;
    let (path, _) = LAYER.iter().find(|(_, known)| *known == name)?;
    Some(format!("model.layers.{}.{path}.{kind}", number(layer)?))
}

/// Path and `weight` or `bias`.
fn split(key: &str) -> Option<(&str, &str)> {
    key.rsplit_once('.').filter(|(_, kind)| matches!(*kind, "weight" | "bias"))
}

/// A layer's number, where it is written as numbers are.
fn number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|number: &usize| number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_keys_lead_to_one_another() {
        for (key, name) in [
            ("model.embed_tokens.weight", "token_embd.weight"),
            ("model.norm.weight", "output_norm.weight"),
            ("lm_head.weight", "output.weight"),
            ("model.layers.0.input_layernorm.weight", "blk.0.attn_norm.weight"),
            ("model.layers.11.self_attn.q_proj.bias", "blk.11.attn_q.bias"),
            ("model.layers.2.self_attn.k_proj.weight", "blk.2.attn_k.weight"),
            ("model.layers.2.self_attn.v_proj.weight", "blk.2.attn_v.weight"),
            ("model.layers.2.self_attn.o_proj.weight", "blk.2.attn_output.weight"),
            ("model.layers.2.post_attention_layernorm.weight", "blk.2.ffn_norm.weight"),
            ("model.layers.2.mlp.gate_proj.weight", "blk.2.ffn_gate.weight"),
            ("model.layers.2.mlp.up_proj.weight", "blk.2.ffn_up.weight"),
            ("model.layers.2.mlp.down_proj.weight", "blk.2.ffn_down.weight"),
        ] {
            assert_eq!(gguf_name(key).as_deref(), Some(name));
            assert_eq!(hugging_face_key(name).as_deref(), Some(key));
        }
    }

    #[test]
    fn other_names_have_no_counterpart() {
        for name in ["rope_freqs.weight", "blk.0.ffn_gate_inp.weight", "blk.00.attn_q.weight", ""] {
            assert_eq!(hugging_face_key(name), None, "{name}");
        }
        for key in ["model.layers.+1.mlp.up_proj.weight", "model.norm", "norm.weight"] {
            assert_eq!(gguf_name(key), None, "{key}");
        }
    }
}
