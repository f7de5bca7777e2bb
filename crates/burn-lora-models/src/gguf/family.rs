//! What a file says of a family: how llama.cpp's conversion names its tensors, lays out their rows, and
//! writes its configuration. Each family has its own beside its model; [`crate::registry`] lists them.
//!
//! Files are read and written by the same tables. What they cannot say (a setting with a default of
//! its own, a tensor that says what `config.json` says) is a family's [`GgufFamily::read`] and
//! [`GgufFamily::write`].

use serde_json::{Map, Value as Json, json};

use super::rows::Rows;
use super::{GgufError, GgufFile, Value};

/// One `general.architecture`.
#[derive(Debug)]
pub struct GgufFamily {
    /// `general.architecture`, which is the `model_type` too.
    pub(crate) architecture: &'static str,
    /// Further `model_type`s that are written as it.
    pub(crate) also: &'static [&'static str],
    /// transformers' class.
    pub(crate) class: &'static str,
    /// What its tensors are called.
    pub(crate) names: Names,
    /// What `config.json` and a file say in numbers.
    pub(crate) settings: &'static [Setting],
    /// What a file means without saying it: keys of `config.json`, and the texts that mean the same. The
    /// first is read, no other is written.
    pub(crate) implied: &'static [(&'static str, &'static [&'static str])],
    /// Whose rows lie in another order, by the last part of a tensor's name.
    pub(crate) rows: &'static [(&'static str, Rows)],
    /// Vectors of which files have one more than the model, by the last part of a tensor's name.
    pub(crate) one_more: &'static [&'static str],
    /// Tensors that say what the configuration says.
    pub(crate) told: &'static [&'static str],
    /// Metadata behind the architecture's name that change what is computed, and that [`Self::read`] reads.
    pub(crate) reads: &'static [&'static str],
    /// What of a `config.json` the tables do not say; what the models here have not is refused.
    pub(crate) read: fn(&mut GgufFile) -> Result<Map<String, Json>, GgufError>,
    /// What of a file the tables do not say, from [`Description::settings`](crate::Description::settings); or
    /// why there can be no file.
    pub(crate) write: fn(&Map<String, Json>) -> Result<Beside, String>,
}

impl GgufFamily {
    /// Whether models of that `model_type` are written as it.
    pub(super) fn writes(&self, model_type: &str) -> bool {
        self.architecture == model_type || self.also.contains(&model_type)
    }

    /// How the rows of the tensor with that name lie in a file, where they lie otherwise.
    pub(super) fn rows_of(&self, tensor: &str) -> Option<Rows> {
        let part = tensor.rsplit('.').nth(1)?;
        self.rows.iter().find(|(known, _)| *known == part).map(|(_, rows)| *rows)
    }

    /// How much more a file has of the tensor with that name than the model.
    pub(super) fn more_of(&self, tensor: &str) -> f32 {
        let part = tensor.rsplit('.').nth(1).unwrap_or_default();
        if self.one_more.contains(&part) { 1.0 } else { 0.0 }
    }
}

/// What a family writes beside its tables.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// Metadata, behind the architecture's name.
    pub(crate) fields: Vec<(&'static str, Value)>,
    /// Tensors of one dimension.
    pub(crate) tensors: Vec<(&'static str, Vec<f32>)>,
}

/// A number that `config.json` and a file both say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// Its key in `config.json`.
    key: &'static str,
    /// Its name in a file, behind the architecture's.
    name: &'static str,
    /// Names that say the same, which are written too.
    also: &'static [&'static str],
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// A whole number that every file has.
    Count,
    /// The number of blocks, of which there are tensors.
    Blocks,
    /// A number that every file has.
    Number,
    /// The family reads it.
    Own,
}

impl Setting {
    /// A whole number that every file has.
    pub(crate) const fn count(key: &'static str, name: &'static str) -> Self {
        Self { key, name, also: &[], kind: Kind::Count }
    }

    /// The number of blocks.
    pub(crate) const fn blocks(key: &'static str) -> Self {
        Self { key, name: "block_count", also: &[], kind: Kind::Blocks }
    }

    /// A number that every file has.
    pub(crate) const fn number(key: &'static str, name: &'static str) -> Self {
        Self { key, name, also: &[], kind: Kind::Number }
    }

    /// A number that [`GgufFamily::read`] reads.
    pub(crate) const fn own(key: &'static str, name: &'static str) -> Self {
        Self { key, name, also: &[], kind: Kind::Own }
    }

    /// The same, written under further names.
    pub(crate) const fn and(self, also: &'static [&'static str]) -> Self {
        Self { also, ..self }
    }

    /// Key and value in `config.json`; none where the family reads it.
    pub(super) fn read(&self, file: &GgufFile) -> Result<Option<(&'static str, Json)>, GgufError> {
        Ok(Some(match self.kind {
            Kind::Count => (self.key, json!(file.count(self.name)?)),
            Kind::Blocks => (self.key, json!(file.blocks()?)),
            Kind::Number => (self.key, json!(file.number(self.name)?)),
            Kind::Own => return Ok(None),
        }))
    }

    /// Names and value in a file; none where the configuration leaves it out.
    pub(super) fn write(
        &self,
        settings: &Map<String, Json>,
    ) -> Option<(impl Iterator<Item = &'static str> + use<>, Value)> {
        let value = settings.get(self.key)?;
        let value = match value.as_u64() {
            Some(count) => Value::Unsigned(count),
            None => Value::F32(value.as_f64()? as f32),
        };
        Some(([self.name].into_iter().chain(self.also.iter().copied()), value))
    }
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
            ("qwen3", "model.layers.1.self_attn.q_norm.weight", "blk.1.attn_q_norm.weight"),
            ("qwen3", "model.layers.1.self_attn.k_norm.weight", "blk.1.attn_k_norm.weight"),
            ("gemma3", "model.layers.1.input_layernorm.weight", "blk.1.attn_norm.weight"),
            (
                "gemma3",
                "model.layers.1.post_attention_layernorm.weight",
                "blk.1.post_attention_norm.weight",
            ),
            ("gemma3", "model.layers.1.pre_feedforward_layernorm.weight", "blk.1.ffn_norm.weight"),
            (
                "gemma3",
                "model.layers.1.post_feedforward_layernorm.weight",
                "blk.1.post_ffw_norm.weight",
            ),
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
