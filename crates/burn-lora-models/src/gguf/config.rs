//! The metadata as a Hugging Face `config.json`.

mod rope;

use serde_json::{Map, Value as Json, json};

pub(super) use rope::ROPE_FACTORS;

use super::{GgufError, GgufFile, GgufTensorProblem, Value};

/// The architectures that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GgufArchitecture {
    /// Llama, and what llama.cpp converts as it: SmolLM2, Mistral. Rows of q and k are interleaved.
    Llama,
    /// Qwen2 and Qwen2.5.
    Qwen2,
}

impl GgufArchitecture {
    const ALL: [Self; 2] = [Self::Llama, Self::Qwen2];

    /// `general.architecture`, which is the `model_type` too.
    fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Llama => "LlamaForCausalLM",
            Self::Qwen2 => "Qwen2ForCausalLM",
        }
    }
}

impl GgufFile {
    /// What the model's `config.json` would say.
    ///
    /// A head's width is given where the file gives it. The vocabulary has the embedding's number of
    /// rows. The head is the embedding where the file has no `output.weight`. Factors of rotary
    /// frequencies become the `rope_scaling` of Llama 3 that they were computed from.
    ///
    /// # Errors
    ///
    /// An architecture that is not supported, a key that is missing or makes no sense, factors that
    /// cannot be read, and what an architecture can have but the models here have not: rotary
    /// positions that are scaled in another way, experts, sliding windows, heads that turn in part.
    pub fn config(&mut self) -> Result<Json, GgufError> {
        let architecture = self.architecture()?;
        self.refuse_features(architecture)?;
        let scaling = self.rope_scaling(architecture)?;
        let metadata = self.metadata();
        let count = |name: &str| {
            let key = key(architecture, name);
            metadata.needed(&key, metadata.count(&key)?)
        };
        let (heads, shared) = self.heads(architecture)?;
        let mut config = Map::new();
        let mut set = |key: &str, value: Json| config.insert(key.to_owned(), value);
        set("architectures", json!([architecture.class()]));
        set("model_type", json!(architecture.name()));
        set("vocab_size", json!(self.vocab_size(architecture)?));
        set("hidden_size", json!(count("embedding_length")?));
        set("intermediate_size", json!(count("feed_forward_length")?));
        set("num_hidden_layers", json!(count("block_count")?));
        set("num_attention_heads", json!(heads));
        set("num_key_value_heads", json!(shared));
        if let Some(width) = self.head_dim(architecture)? {
            set("head_dim", json!(width));
        }
        set("hidden_act", json!("silu"));
        set("max_position_embeddings", json!(count("context_length")?));
        let epsilon = key(architecture, "attention.layer_norm_rms_epsilon");
        set("rms_norm_eps", json!(metadata.needed(&epsilon, metadata.number(&epsilon)?)?));
        set("rope_theta", json!(self.theta(architecture)?));
        if let Some(scaling) = scaling {
            set("rope_scaling", scaling);
        }
        set("tie_word_embeddings", json!(self.tensor("output.weight").is_none()));
        // Qwen2 has biases on q, k and v always, and no key that says so.
        if architecture == GgufArchitecture::Llama {
            set("attention_bias", json!(self.tensor("blk.0.attn_q.bias").is_some()));
            set("mlp_bias", json!(self.tensor("blk.0.ffn_gate.bias").is_some()));
        }
        for (name, id) in [
            ("bos_token_id", "tokenizer.ggml.bos_token_id"),
            ("eos_token_id", "tokenizer.ggml.eos_token_id"),
            ("pad_token_id", "tokenizer.ggml.padding_token_id"),
        ] {
            if let Some(id) = metadata.index(id)? {
                set(name, json!(id));
            }
        }
        Ok(Json::Object(config))
    }

    /// Which of the supported architectures it is.
    pub(super) fn architecture(&self) -> Result<GgufArchitecture, GgufError> {
        const KEY: &str = "general.architecture";
        let metadata = self.metadata();
        let found = metadata.needed(KEY, metadata.text(KEY)?)?;
        let known = GgufArchitecture::ALL.into_iter().find(|known| known.name() == found);
        known.ok_or_else(|| GgufError::Architecture {
            path: self.path().to_owned(),
            found: found.to_owned(),
            supported: GgufArchitecture::ALL.map(|known| format!("`{}`", known.name())).join(", "),
        })
    }

    /// Heads of the queries, and of keys and values.
    pub(super) fn heads(
        &self,
        architecture: GgufArchitecture,
    ) -> Result<(usize, usize), GgufError> {
        let metadata = self.metadata();
        let of = |name: &str| {
            let key = key(architecture, name);
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

    fn head_dim(&self, architecture: GgufArchitecture) -> Result<Option<usize>, GgufError> {
        let metadata = self.metadata();
        let of = |name: &str| metadata.index(&key(architecture, name));
        let (keys, values) = (of("attention.key_length")?, of("attention.value_length")?);
        let turned = of("rope.dimension_count")?;
        let width = keys.or(turned);
        if let (Some(values), Some(width)) = (values, width)
            && values != width
        {
            return Err(self.feature(format!("keys are {width} wide and values {values}")));
        }
        if let (Some(turned), Some(width)) = (turned, width)
            && turned != width
        {
            return Err(self.feature(format!(
                "rotary positions on {turned} of a head's {width} numbers (`{}`)",
                key(architecture, "rope.dimension_count")
            )));
        }
        Ok(width)
    }

    fn theta(&self, architecture: GgufArchitecture) -> Result<f64, GgufError> {
        // llama.cpp's own default, on which older conversions rely.
        let theta = self.metadata().number(&key(architecture, "rope.freq_base"))?;
        Ok(theta.unwrap_or(10_000.0))
    }

    /// `rope_scaling`, where the file has factors other than 1.
    fn rope_scaling(&mut self, architecture: GgufArchitecture) -> Result<Option<Json>, GgufError> {
        let path = self.path().to_owned();
        let Some(tensor) = self.tensor(ROPE_FACTORS) else { return Ok(None) };
        if architecture != GgufArchitecture::Llama {
            let found = format!("tensor `{ROPE_FACTORS}` in a file that is not a Llama's");
            return Err(GgufError::RopeScaling { path, found });
        }
        let head_dim = match self.head_dim(architecture)? {
            Some(width) => width,
            None => {
                let width = key(architecture, "embedding_length");
                let metadata = self.metadata();
                metadata.needed(&width, metadata.count(&width)?)? / self.heads(architecture)?.0
            }
        };
        let expected = vec![head_dim / 2];
        if tensor.shape != expected {
            let (tensor, found) = (tensor.name.clone(), tensor.shape.clone());
            let problems = vec![GgufTensorProblem::Shape { tensor, found, expected }];
            return Err(GgufError::Tensors { path, problems });
        }
        let theta = self.theta(architecture)?;
        let factors = self.read(ROPE_FACTORS)?;
        match rope::recognised(&factors, theta) {
            Some(config) => Ok(config.scaling.map(rope::rope_scaling)),
            None => {
                let found = format!("the factors in `{ROPE_FACTORS}` are not those of Llama 3");
                Err(GgufError::RopeScaling { path, found })
            }
        }
    }

    fn vocab_size(&self, architecture: GgufArchitecture) -> Result<usize, GgufError> {
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
        let stated = metadata.index(&key(architecture, "vocab_size"))?;
        metadata.needed(TOKENS, rows.or(tokens).or(stated))
    }

    fn refuse_features(&self, architecture: GgufArchitecture) -> Result<(), GgufError> {
        let metadata = self.metadata();
        let scaled =
            |found: String| Err(GgufError::RopeScaling { path: self.path().to_owned(), found });
        let kind = key(architecture, "rope.scaling.type");
        match metadata.text(&kind)? {
            None => {
                for name in ["rope.scaling.factor", "rope.scale_linear"] {
                    let key = key(architecture, name);
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
        let experts = key(architecture, "expert_count");
        if let Some(count @ 1..) = metadata.index(&experts)? {
            return Err(self.feature(format!("{count} experts (`{experts}`)")));
        }
        let window = key(architecture, "attention.sliding_window");
        match (metadata.get(&window), metadata.count(&key(architecture, "context_length"))?) {
            (None | Some(Value::Unsigned(0)), _) => Ok(()),
            (Some(Value::Unsigned(size)), Some(context)) if *size >= context as u64 => Ok(()),
            (Some(found), _) => {
                Err(self.feature(format!("a sliding window of {found} (`{window}`)")))
            }
        }
    }

    fn feature(&self, feature: String) -> GgufError {
        GgufError::Feature { path: self.path().to_owned(), feature }
    }
}

/// A key of the architecture's own: `llama.block_count`.
fn key(architecture: GgufArchitecture, name: &str) -> String {
    format!("{}.{name}", architecture.name())
}

#[cfg(test)]
mod tests;
