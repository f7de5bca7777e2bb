//! How a text is cut into words before merges apply.

use serde_json::{Value as Json, json};

/// Words, numbers and punctuation with the space before them, as GPT-2 cuts them.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// Digits one at a time.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Digits in threes.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Everything between spaces and punctuation, with the space before it, as BLOOM cuts it.
const BLOOM: &str = r" ?[^(\s|[.,!?…。，、।۔،])]+";
/// What llama.cpp does for tokenizers that its conversion did not know: each cuts the pieces that
/// the one before left.
const DEFAULT: [&str; 4] = [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"];

/// A value of `tokenizer.ggml.pre`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gguf) enum PreTokenizer {
    /// SmolLM and SmolLM2.
    Smollm,
    /// Qwen2 and Qwen2.5.
    Qwen2,
    /// Llama 3.
    Llama3,
    /// GPT-2.
    Gpt2,
    /// BLOOM.
    Bloom,
    /// None in particular.
    Default,
}

/// The names in files.
const NAMES: [(&str, PreTokenizer); 8] = [
    ("smollm", PreTokenizer::Smollm),
    ("qwen2", PreTokenizer::Qwen2),
    ("llama-bpe", PreTokenizer::Llama3),
    ("llama3", PreTokenizer::Llama3),
    ("llama-v3", PreTokenizer::Llama3),
    ("gpt-2", PreTokenizer::Gpt2),
    ("bloom", PreTokenizer::Bloom),
    ("default", PreTokenizer::Default),
];

impl PreTokenizer {
    /// The one of a name.
    pub(in crate::gguf) fn of(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, pre)| *pre)
    }

    /// All names, for a message.
    pub(in crate::gguf) fn names() -> String {
        NAMES.map(|(name, _)| format!("`{name}`")).join(", ")
    }

    /// The one of which a `tokenizer.json` has the `pre_tokenizer`, the `normalizer`, and whether a word that is
    /// a token stays one.
    pub(in crate::gguf) fn recognised(
        pre: &Json,
        normalizer: &Json,
        ignores_merges: bool,
    ) -> Option<Self> {
        let pre = without_offsets(pre);
        NAMES.into_iter().map(|(_, known)| known).find(|known| {
            without_offsets(&known.json()) == pre
                && known.normalizer() == *normalizer
                && known.ignores_merges() == ignores_merges
        })
    }

    /// Its first name in files.
    pub(in crate::gguf) fn name(self) -> &'static str {
        NAMES.iter().find(|(_, known)| *known == self).map_or("default", |(name, _)| *name)
    }

    /// The `pre_tokenizer` of a `tokenizer.json`.
    pub(super) fn json(self) -> Json {
        let splits: Vec<Json> = match self {
            Self::Gpt2 => return words(),
            Self::Smollm => {
                let digits = json!({ "type": "Digits", "individual_digits": true });
                return json!({ "type": "Sequence", "pretokenizers": [digits, words()] });
            }
            Self::Qwen2 => vec![split(QWEN2)],
            Self::Llama3 => vec![split(LLAMA3)],
            Self::Bloom => vec![split(BLOOM)],
            Self::Default => DEFAULT.map(split).to_vec(),
        };
        let bytes = json!({
            "type": "ByteLevel",
            "add_prefix_space": false,
            "trim_offsets": false,
            "use_regex": false,
        });
        let all: Vec<Json> = splits.into_iter().chain([bytes]).collect();
        json!({ "type": "Sequence", "pretokenizers": all })
    }

    /// The `normalizer` of a `tokenizer.json`.
    pub(super) fn normalizer(self) -> Json {
        match self {
            Self::Qwen2 => json!({ "type": "NFC" }),
            _ => Json::Null,
        }
    }

    /// Whether a word that is a token stays one, whatever the merges say.
    pub(super) fn ignores_merges(self) -> bool {
        self == Self::Llama3
    }

    /// Whether a text begins with the token for it where the file does not say.
    pub(super) fn adds_bos(self) -> bool {
        self == Self::Llama3
    }
}

/// Without what only the places of tokens in a text depend on, not the tokens.
fn without_offsets(pre: &Json) -> Json {
    match pre {
        Json::Object(fields) => {
            let kept = fields.iter().filter(|(key, _)| *key != "trim_offsets");
            kept.map(|(key, value)| (key.clone(), without_offsets(value))).collect()
        }
        Json::Array(values) => values.iter().map(without_offsets).collect(),
        other => other.clone(),
    }
}

/// GPT-2's, which the library has built in.
fn words() -> Json {
    json!({
        "type": "ByteLevel",
        "add_prefix_space": false,
        "trim_offsets": true,
        "use_regex": true,
    })
}

fn split(pattern: &str) -> Json {
    json!({
        "type": "Split",
        "pattern": { "Regex": pattern },
        "behavior": "Isolated",
        "invert": false,
    })
}
