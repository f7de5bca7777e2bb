//! What a file says of a family: how llama.cpp's conversion names its tensors, lays out their rows, and
//! writes its configuration. Each family has its own beside its model; [`crate::registry`] lists them.

use serde_json::{Map, Value as Json};

use super::rows::RowOrder;
use super::{GgufError, GgufFile, GgufTensor};

/// One `general.architecture`.
#[derive(Debug)]
pub struct GgufFamily {
    /// `general.architecture`, which is the `model_type` too.
    pub(crate) architecture: &'static str,
    /// What its tensors are called.
    pub(crate) names: Names,
    /// Tensors that say what the configuration says.
    pub(crate) told: &'static [&'static str],
    /// What a `config.json` would say, but for what every family's does.
    pub(crate) config: fn(&mut GgufFile) -> Result<Map<String, Json>, GgufError>,
    /// How the rows of a tensor lie in the file.
    pub(crate) rows: fn(&GgufFile, &GgufTensor) -> Result<RowOrder, GgufError>,
}

/// What GGUF and Hugging Face call the same tensors.
#[derive(Debug)]
pub struct Names {
    /// Hugging Face's path outside of the blocks, GGUF's.
    pub(crate) model: &'static [(&'static str, &'static str)],
    /// Hugging Face's path of the list of blocks.
    pub(crate) blocks: &'static str,
    /// Hugging Face's path in a block, GGUF's.
    pub(crate) block: &'static [(&'static str, &'static str)],
}

impl Names {
    /// The name in a GGUF file of the tensor with a Hugging Face key.
    pub(crate) fn gguf(&self, key: &str) -> Option<String> {
        let (path, kind) = split(key)?;
        if let Some((_, name)) = self.model.iter().find(|(known, _)| *known == path) {
            return Some(format!("{name}.{kind}"));
        }
        let (block, path) = path.strip_prefix(self.blocks)?.strip_prefix('.')?.split_once('.')?;
        let (_, name) = self.block.iter().find(|(known, _)| *known == path)?;
        Some(format!("blk.{}.{name}.{kind}", number(block)?))
    }

    /// The Hugging Face key of the tensor with a name in a GGUF file.
    pub(crate) fn hugging_face(&self, name: &str) -> Option<String> {
        let (name, kind) = split(name)?;
        if let Some((path, _)) = self.model.iter().find(|(_, known)| *known == name) {
            return Some(format!("{path}.{kind}"));
        }
        let (block, name) = name.strip_prefix("blk.")?.split_once('.')?;
        let (path, _) = self.block.iter().find(|(_, known)| *known == name)?;
        Some(format!("{}.{}.{path}.{kind}", self.blocks, number(block)?))
    }
}

/// Path and `weight` or `bias`.
fn split(key: &str) -> Option<(&str, &str)> {
    key.rsplit_once('.').filter(|(_, kind)| matches!(*kind, "weight" | "bias"))
}

/// A block's number, where it is written as numbers are.
fn number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|number: &usize| number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use crate::registry::gguf_families;

    use super::Names;

    fn names(architecture: &str) -> &'static Names {
        &gguf_families().find(|family| family.architecture == architecture).unwrap().names
    }

    #[test]
    fn names_and_keys_lead_to_one_another() {
        for (architecture, key, name) in [
            ("llama", "model.embed_tokens.weight", "token_embd.weight"),
            ("llama", "model.norm.weight", "output_norm.weight"),
            ("llama", "lm_head.weight", "output.weight"),
            ("llama", "model.layers.0.input_layernorm.weight", "blk.0.attn_norm.weight"),
            ("qwen2", "model.layers.11.self_attn.q_proj.bias", "blk.11.attn_q.bias"),
            ("llama", "model.layers.2.self_attn.k_proj.weight", "blk.2.attn_k.weight"),
            ("llama", "model.layers.2.self_attn.v_proj.weight", "blk.2.attn_v.weight"),
            ("llama", "model.layers.2.self_attn.o_proj.weight", "blk.2.attn_output.weight"),
            ("llama", "model.layers.2.post_attention_layernorm.weight", "blk.2.ffn_norm.weight"),
            ("llama", "model.layers.2.mlp.gate_proj.weight", "blk.2.ffn_gate.weight"),
            ("llama", "model.layers.2.mlp.up_proj.weight", "blk.2.ffn_up.weight"),
            ("llama", "model.layers.2.mlp.down_proj.weight", "blk.2.ffn_down.weight"),
            ("gpt2", "transformer.wpe.weight", "position_embd.weight"),
            ("gpt2", "transformer.h.7.attn.c_attn.bias", "blk.7.attn_qkv.bias"),
            ("gpt2", "transformer.h.7.attn.c_proj.weight", "blk.7.attn_output.weight"),
            ("gpt2", "transformer.h.7.mlp.c_proj.weight", "blk.7.ffn_down.weight"),
            ("bloom", "transformer.word_embeddings_layernorm.bias", "token_embd_norm.bias"),
            ("bloom", "transformer.h.23.mlp.dense_h_to_4h.bias", "blk.23.ffn_up.bias"),
        ] {
            let names = names(architecture);
            assert_eq!(names.gguf(key).as_deref(), Some(name));
            assert_eq!(names.hugging_face(name).as_deref(), Some(key));
        }
    }

    #[test]
    fn other_names_have_no_counterpart() {
        let names = names("llama");
        for name in ["rope_freqs.weight", "blk.0.ffn_gate_inp.weight", "blk.00.attn_q.weight", ""] {
            assert_eq!(names.hugging_face(name), None, "{name}");
        }
        for key in ["model.layers.+1.mlp.up_proj.weight", "model.norm", "norm.weight"] {
            assert_eq!(names.gguf(key), None, "{key}");
        }
    }
}
