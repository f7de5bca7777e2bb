//! The metadata as a Hugging Face `config.json`.

use serde_json::{Value as Json, json};

use super::family::GgufFamily;
use super::{GgufError, GgufFile, GgufTensor, Value};
use crate::config::effect;
use crate::registry::gguf_families;

/// Where a file has the tokens that generation stops at.
pub(super) const ENDS: [&str; 3] =
    ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];

impl GgufFile {
    /// What the model's `config.json` would say.
    ///
    /// The vocabulary has the embedding's number of rows. The head is the embedding where the file has no
    /// `output.weight`. The rest is the family's.
    ///
    /// # Errors
    ///
    /// An architecture that is not supported, a key that is missing or makes no sense, and what an
    /// architecture can have but the models here have not.
    pub fn config(&mut self) -> Result<Json, GgufError> {
        let family = self.family()?;
        self.refuse_changes(family)?;
        let mut config = (family.read)(self)?;
        let mut set = |key: &str, value: Json| config.insert(key.to_owned(), value);
        for setting in family.settings {
            if let Some((key, value)) = setting.read(self)? {
                set(key, value);
            }
        }
        for (key, means) in family.implied {
            set(key, json!(means.first()));
        }
        set("model_type", json!(family.architecture));
        set("architectures", json!([family.class]));
        set("vocab_size", json!(self.vocab_size()?));
        set("tie_word_embeddings", json!(self.tensor("output.weight").is_none()));
        for (name, id) in [
            ("bos_token_id", "tokenizer.ggml.bos_token_id"),
            ("pad_token_id", "tokenizer.ggml.padding_token_id"),
        ] {
            if let Some(id) = self.metadata().index(id)? {
                set(name, json!(id));
            }
        }
        match self.ends()?.as_slice() {
            [] => None,
            [only] => set("eos_token_id", json!(only)),
            several => set("eos_token_id", json!(several)),
        };
        Ok(Json::Object(config))
    }

    /// The tokens that end a text, an answer and a message, each once; the first is the one to train with.
    fn ends(&self) -> Result<Vec<usize>, GgufError> {
        let mut ends = Vec::new();
        for key in ENDS {
            if let Some(id) = self.metadata().index(key)?
                && !ends.contains(&id)
            {
                ends.push(id);
            }
        }
        Ok(ends)
    }

    /// Which of the supported families it is of.
    pub(super) fn family(&self) -> Result<&'static GgufFamily, GgufError> {
        let found = self.architecture()?;
        gguf_families().find(|family| family.architecture == found).ok_or_else(|| {
            let names: Vec<String> =
                gguf_families().map(|family| format!("`{}`", family.architecture)).collect();
            GgufError::Architecture {
                path: self.path().to_owned(),
                found: found.to_owned(),
                supported: names.join(", "),
            }
        })
    }

    fn architecture(&self) -> Result<&str, GgufError> {
        const KEY: &str = "general.architecture";
        let metadata = self.metadata();
        metadata.needed(KEY, metadata.text(KEY)?)
    }

    /// Refuses keys that change what is computed, and that no family here reads.
    fn refuse_changes(&self, family: &GgufFamily) -> Result<(), GgufError> {
        self.refuse_windows_and_experts(family)?;
        let start = self.key("")?;
        for (key, value) in self.metadata().iter() {
            let name = key.strip_prefix(start.as_str()).unwrap_or_default();
            let value = match value {
                // Which blocks slide, and how many experts are asked, says nothing where there are none.
                _ if name.contains("sliding_window") || name.contains("expert") => continue,
                _ if family.reads.contains(&name) => continue,
                Value::Unsigned(number) => json!(number),
                Value::Signed(number) => json!(number),
                Value::F32(number) => json!(number),
                Value::F64(number) => json!(number),
                Value::Bool(on) => json!(on),
                Value::Text(text) => json!(text),
                Value::Array(_) => continue,
            };
            if let Some(does) = effect(name, &value) {
                return Err(self.feature(format!("`{key}` is {value}: {does}")));
            }
        }
        Ok(())
    }

    /// Windows of attention, where the family does not read them, but for those as long as all that the model reads; and
    /// experts: no family here has them in a file.
    fn refuse_windows_and_experts(&self, family: &GgufFamily) -> Result<(), GgufError> {
        let metadata = self.metadata();
        let experts = self.key("expert_count")?;
        if let Some(count @ 1..) = metadata.index(&experts)? {
            return Err(self.feature(format!("{count} experts (`{experts}`)")));
        }
        let window = self.key("attention.sliding_window")?;
        let context = metadata.count(&self.key("context_length")?)?;
        for (key, value) in metadata.iter() {
            let is_read = || family.reads.iter().any(|name| key.ends_with(name));
            if !key.starts_with(window.as_str()) || key.ends_with("_pattern") || is_read() {
                continue;
            }
            let size = metadata.index(key).ok().flatten();
            let whole = matches!((size, context), (Some(size), Some(context)) if size >= context);
            if !whole && size != Some(0) && !matches!(value, Value::Signed(..0)) {
                return Err(self.feature(format!("a sliding window of {value} (`{key}`)")));
            }
        }
        Ok(())
    }

    /// A key of the architecture's own: `block_count` is `llama.block_count`, for one.
    pub(crate) fn key(&self, name: &str) -> Result<String, GgufError> {
        Ok(format!("{}.{name}", self.architecture()?))
    }

    /// A whole number under a key of the architecture's own.
    pub(crate) fn count(&self, name: &str) -> Result<usize, GgufError> {
        let (key, metadata) = (self.key(name)?, self.metadata());
        metadata.needed(&key, metadata.count(&key)?)
    }

    /// How many blocks there are; no more than there are tensors of.
    pub(crate) fn blocks(&self) -> Result<usize, GgufError> {
        let count = self.count("block_count")?;
        let block = |tensor: &GgufTensor| -> Option<usize> {
            tensor.name.strip_prefix("blk.")?.split('.').next()?.parse().ok()
        };
        match self.tensors().filter_map(block).max() {
            Some(last) if count > last.saturating_add(1) => {
                let (path, key) = (self.path().to_owned(), self.key("block_count")?);
                Err(GgufError::BlockCount { path, key, count, found: last + 1 })
            }
            _ => Ok(count),
        }
    }

    /// A number under a key of the architecture's own.
    pub(crate) fn number(&self, name: &str) -> Result<f64, GgufError> {
        let (key, metadata) = (self.key(name)?, self.metadata());
        metadata.needed(&key, metadata.number(&key)?)
    }

    /// Heads of the queries, and of keys and values.
    pub(crate) fn heads(&self) -> Result<(usize, usize), GgufError> {
        let metadata = self.metadata();
        let of = |name: &str| {
            let key = self.key(name)?;
            match metadata.count(&key)? {
                Some(0) => Err(metadata.unfit(&key, "0".into(), "at least 1")),
                other => Ok((key, other)),
            }
        };
        let (key, heads) = of("attention.head_count")?;
        let heads = metadata.needed(&key, heads)?;
        // Absent where every head has keys and values of its own.
        Ok((heads, of("attention.head_count_kv")?.1.unwrap_or(heads)))
    }

    fn vocab_size(&self) -> Result<usize, GgufError> {
        const TOKENS: &str = "tokenizer.ggml.tokens";
        let metadata = self.metadata();
        let tokens = metadata.texts(TOKENS)?.map(<[String]>::len);
        let rows = self
            .tensor("token_embd.weight")
            .and_then(|tensor| (tensor.shape.len() == 2).then(|| tensor.shape[0]));
        if let (Some(tokens), Some(rows)) = (tokens, rows)
            && tokens > rows
        {
            return Err(GgufError::Vocabulary {
                path: self.path().to_owned(),
                reason: format!("{tokens} tokens, `token_embd.weight` has {rows} rows"),
            });
        }
        let stated = metadata.index(&self.key("vocab_size")?)?;
        metadata.needed(TOKENS, rows.or(tokens).or(stated))
    }

    pub(crate) fn feature(&self, feature: String) -> GgufError {
        GgufError::Feature { path: self.path().to_owned(), feature }
    }
}

#[cfg(test)]
mod tests;
