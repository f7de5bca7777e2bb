//! The tokenizer of a Hugging Face directory, with the special tokens that its files name.
//!
//! `tokenizer.json` does the work, through the `tokenizers` crate. Which token ends a text stands in
//! other files: `generation_config.json` and `config.json` (numbers, one or several),
//! `tokenizer_config.json` and `special_tokens_map.json` (texts); here they are read into one place. Truncation and padding that
//! `tokenizer.json` asks for are switched off: batches are cut and padded where they are made.
//!
//! ```no_run
//! use burn_lora_models::tokenizer::Tokenizer;
//!
//! let tokenizer = Tokenizer::from_dir("models/smollm2-135m".as_ref())?;
//! let ids = tokenizer.encode("Hello", true)?;
//! assert_eq!(tokenizer.decode(&ids, true)?, "Hello");
//! # Ok::<(), burn_lora_models::ModelError>(())
//! ```
//!
//! Left out: tokenizers without a `tokenizer.json`, unless a GGUF file has one inside.

mod added;
mod settings;
mod unread;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use burn_lora_files::atomic;
use burn_lora_files::panics::caught;
use serde_json::{Map, Value};
use tokenizers::AddedToken;

use crate::ModelError;
use crate::conversation::Chat;
use crate::gguf::{self, GgufError, GgufFile};
use crate::template::{self, ChatTemplate, time};
use crate::weights::instead;

/// The files that make a tokenizer, of which `tokenizer.json` is needed.
pub const FILES: [&str; 9] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "vocab.txt",
    "merges.txt",
];

/// What a tokenizer's own settings stand in.
const CONFIG: &str = "tokenizer_config.json";

/// What generation stops at stands in, among others.
const GENERATION: &str = "generation_config.json";

/// Text to token ids and back.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    path: PathBuf,
    eos: Vec<u32>,
    /// The end token that the files name and the vocabulary does not have.
    unknown_eos: Option<String>,
    pad: Option<u32>,
    bos: Option<u32>,
    /// What `tokenizer.json` puts before a text, whatever the files call it.
    before: Option<u32>,
    unk: Option<u32>,
    template: Option<ChatTemplate>,
    /// What its files say that is not done.
    notes: Vec<String>,
    /// Files that stand for a tokenizer which has none of its own, by name.
    made: Vec<(&'static str, String)>,
}

/// What a tokenizer is made of: the contents of its files.
struct Parts {
    tokenizer: tokenizers::Tokenizer,
    texts: Map<String, Value>,
    model: Map<String, Value>,
    generation: Map<String, Value>,
    template: Option<ChatTemplate>,
}

impl Tokenizer {
    /// From a directory's `tokenizer.json` and the configurations beside it, or from a GGUF file.
    ///
    /// # Errors
    ///
    /// A `tokenizer.json` that is missing or damaged, a configuration beside it that is not JSON, a
    /// chat template that is none; a GGUF file whose tokenizer is not supported.
    pub fn from_dir(dir: &Path) -> Result<Self, ModelError> {
        if !gguf::is_gguf(dir) {
            if dir.is_file() {
                return Err(instead::file(dir));
            }
            let model = object(&dir.join("config.json"))?;
            return Self::of_files(dir, model, ChatTemplate::of_dir(dir)?);
        }
        match Self::from_gguf(dir) {
            Err(ModelError::Gguf(
                GgufError::TokenizerModel { .. } | GgufError::PreTokenizer { .. },
            )) if dir.with_file_name("tokenizer.json").is_file() => Self::beside_gguf(dir),
            read => read,
        }
    }

    /// From the files of a directory, with what the model's configuration says.
    fn of_files(
        dir: &Path,
        model: Map<String, Value>,
        template: Option<ChatTemplate>,
    ) -> Result<Self, ModelError> {
        let path = dir.join("tokenizer.json");
        let json = match burn_lora_files::bytes(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound && dir.is_dir() => {
                return Err(unread::absent(dir));
            }
            json => json.map_err(ModelError::io("read", &path))?,
        };
        let config = object(&dir.join(CONFIG))?;
        let texts = named_tokens(config.clone(), dir)?;
        let mut inner = parsed(json, &path)?;
        let others = object(&dir.join("added_tokens.json"))?;
        let lacking = caught(|| added::add(&mut inner, &texts, &others))
            .unwrap_or_else(|panic| Err(panic.into()))
            .map_err(failed(&path))?;
        let parts = Parts {
            tokenizer: inner,
            texts,
            model,
            generation: object(&dir.join(GENERATION))?,
            template,
        };
        let ids = [(GENERATION, &parts.generation), ("config.json", &parts.model)];
        let ids = ids.map(|(file, settings)| settings::no_ids(file, settings)).concat();
        let overruled = overruled(&config, &parts.texts);
        let mut tokenizer = Self::new(parts, path, Vec::new())?;
        let notes = settings::notes(&tokenizer, &config);
        let notes = notes.into_iter().map(|note| format!("{CONFIG}: {note}"));
        tokenizer.notes = notes.chain(ids).chain(lacking).chain(overruled).collect();
        Ok(tokenizer)
    }

    /// From the files beside a GGUF file whose own tokenizer cannot be rebuilt; ids, and the template where there is no
    /// other, are the file's.
    fn beside_gguf(path: &Path) -> Result<Self, ModelError> {
        let dir = atomic::parent(path);
        let mut file = GgufFile::open(path)?;
        let template = match ChatTemplate::of_dir(dir)? {
            Some(template) => Some(template),
            None => file.chat_template()?.map(ChatTemplate::parse).transpose()?,
        };
        Self::of_files(dir, map(file.config()?), template)
    }

    fn from_gguf(path: &Path) -> Result<Self, ModelError> {
        let mut file = GgufFile::open(path)?;
        let (tokenizer, texts) = (file.tokenizer_json()?, file.tokenizer_config()?);
        let made = vec![
            ("tokenizer.json", tokenizer.to_string()),
            ("tokenizer_config.json", texts.to_string()),
        ];
        let texts = map(texts);
        let parts = Parts {
            tokenizer: parsed(tokenizer.to_string(), path)?,
            template: ChatTemplate::of_config(&texts)?,
            texts,
            model: map(file.config()?),
            generation: Map::new(),
        };
        Self::new(parts, path.to_owned(), made)
    }

    fn new(
        parts: Parts,
        path: PathBuf,
        made: Vec<(&'static str, String)>,
    ) -> Result<Self, ModelError> {
        let Parts { tokenizer: mut inner, texts, model, generation, template } = parts;
        let named = |role: &str| {
            text(texts.get(&format!("{role}_token"))).and_then(|text| inner.token_to_id(text))
        };
        let numbered = |role: &str| {
            let key = format!("{role}_token_id");
            [&generation, &model]
                .into_iter()
                .map(|map| numbers(map.get(&key)))
                .find(|ids| !ids.is_empty())
                .unwrap_or_default()
        };
        let mut eos: Vec<u32> = named("eos").into_iter().collect();
        let unknown_eos = text(texts.get("eos_token")).filter(|_| eos.is_empty());
        let unknown_eos = unknown_eos.map(str::to_owned);
        for id in numbered("eos") {
            if !eos.contains(&id) {
                eos.push(id);
            }
        }
        let one = |role: &str| named(role).or_else(|| numbered(role).first().copied());
        let (pad, bos, unk) = (one("pad"), one("bos"), named("unk"));
        // Where it is but a word of the vocabulary, its text would be taken apart.
        let added = inner.get_added_vocabulary().get_added_tokens_decoder();
        let lacking = eos.first().filter(|id| !added.contains_key(id));
        if let Some(token) = lacking.and_then(|id| inner.id_to_token(*id)) {
            let add = || inner.add_special_tokens([AddedToken::from(token, true)]);
            caught(add).unwrap_or_else(|panic| Err(panic.into())).map_err(failed(&path))?;
        }
        let template = template.map(|template| template.with_time(time::now()));
        let notes = Vec::new();
        let mut tokenizer = Self {
            inner,
            path,
            eos,
            unknown_eos,
            pad,
            bos,
            before: None,
            unk,
            template,
            notes,
            made,
        };
        // One that cannot write this letter is told when it is to write something.
        let [with, without] =
            [true, false].map(|special| tokenizer.encode("a", special).unwrap_or_default());
        if let [first, rest @ ..] = &with[..] {
            tokenizer.before = (with != without && rest.starts_with(&without)).then_some(*first);
        }
        Ok(tokenizer)
    }

    /// How the model writes conversations, if its files say so.
    pub fn template(&self) -> Option<&ChatTemplate> {
        self.template.as_ref()
    }

    /// What its files say that is not done, a line each: keys of `tokenizer_config.json` that are not known here, what contradicts
    /// `tokenizer.json`, and what should be ids of tokens and is none.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The ids of a text, with the special tokens that the tokenizer puts around it if
    /// `add_special`. Special tokens written out in the text become their ids either way.
    ///
    /// # Errors
    ///
    /// What the tokenizer cannot encode.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, ModelError> {
        self.guarded(|inner| Ok(inner.encode_fast(text, add_special)?.get_ids().to_vec()))
    }

    /// The ids of a text that something is to follow, with the special tokens that the tokenizer puts before it: none that ends a text
    /// stands behind it, and the one that begins texts stands there once, though the text says it itself.
    ///
    /// # Errors
    ///
    /// What the tokenizer cannot encode.
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let mut ids = self.encode_once(text)?;
        let ends = |id: &u32| self.eos.contains(id);
        if ids.last().is_some_and(ends) && !self.encode(text, false)?.last().is_some_and(ends) {
            ids.pop();
        }
        Ok(ids)
    }

    /// As [`encode`](Self::encode) with special tokens, but the one that begins texts and the one that ends them stand there once, though
    /// the text says them itself.
    ///
    /// # Errors
    ///
    /// What the tokenizer cannot encode.
    pub fn encode_once(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let mut ids = self.encode(text, true)?;
        if let [first, second, ..] = ids[..]
            && first == second
            && [self.bos, self.before].contains(&Some(first))
        {
            ids.remove(0);
        }
        if let [.., before, last] = ids[..]
            && before == last
            && self.eos.contains(&last)
            && self.encode(text, false)?.last() == Some(&last)
        {
            ids.pop();
        }
        Ok(ids)
    }

    /// As [`encode`](Self::encode) with special tokens, at most `max_length` ids, and whether anything
    /// was cut away. It is the text that is cut, on its right: the special tokens around it stay, as
    /// Hugging Face's truncation has it; of those behind the text only the last is known of here.
    ///
    /// # Errors
    ///
    /// What the tokenizer cannot encode.
    pub fn encode_within(
        &self,
        text: &str,
        max_length: usize,
    ) -> Result<(Vec<u32>, bool), ModelError> {
        let ids = self.encode(text, true)?;
        if ids.len() <= max_length {
            return Ok((ids, false));
        }
        let special = self.encode("", true)?;
        let last = special.last().copied().filter(|last| ids.last() == Some(last));
        let kept = max_length.saturating_sub(usize::from(last.is_some()));
        Ok((ids.into_iter().take(kept).chain(last).collect(), true))
    }

    /// The text of some ids, without the special tokens if `skip_special`.
    ///
    /// # Errors
    ///
    /// What the tokenizer cannot decode.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, ModelError> {
        self.guarded(|inner| inner.decode(ids, skip_special))
    }

    /// The tokens that end a text; the first is the one to train with. May be empty.
    pub fn eos_ids(&self) -> &[u32] {
        &self.eos
    }

    /// The end token that the tokenizer's files name, where the vocabulary does not have it.
    pub fn unknown_eos(&self) -> Option<&str> {
        self.unknown_eos.as_deref()
    }

    /// The text of the token to end texts with in training.
    pub fn eos_token(&self) -> Option<String> {
        self.id_to_token(*self.eos.first()?)
    }

    /// The tokens that generation stops at: those that end a text, and the one that ends an answer of
    /// a conversation, which base models do not count among them.
    pub fn stop_ids(&self) -> Vec<u32> {
        let answer_end = Chat::of(self).answer_end().filter(|id| !self.eos.contains(id));
        self.eos.iter().copied().chain(answer_end).collect()
    }

    /// The token that fills up a batch, if the files name one.
    pub fn pad_id(&self) -> Option<u32> {
        self.pad
    }

    /// The token that begins a text, if the files name one.
    pub fn bos_id(&self) -> Option<u32> {
        self.bos
    }

    /// The token that stands for what has none, if the files name one.
    pub(crate) fn unk_id(&self) -> Option<u32> {
        self.unk
    }

    /// The file that it was read from.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What its `tokenizer.json` says, in the one form that every reader of such files would write.
    pub(crate) fn json(&self) -> Result<Value, ModelError> {
        let text = self.guarded(|inner| inner.to_string(false))?;
        serde_json::from_str(&text)
            .map_err(|source| ModelError::Json { path: self.path.clone(), source })
    }

    /// Whether a token is one of those added to the vocabulary, which no text is split across.
    pub fn is_added(&self, id: u32) -> bool {
        self.inner.get_added_vocabulary().get_added_tokens_decoder().contains_key(&id)
    }

    /// The id of a token, written as in the vocabulary.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token of an id, written as in the vocabulary.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// How many tokens there are, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Its files by name with their contents, to be written beside a model.
    ///
    /// # Errors
    ///
    /// A file that can no longer be read.
    pub fn files(&self) -> Result<Vec<(&'static str, Vec<u8>)>, ModelError> {
        if !self.made.is_empty() {
            let made = self.made.iter().map(|(name, text)| (*name, text.clone().into_bytes()));
            return Ok(made.collect());
        }
        let path = |name: &str| self.path.with_file_name(name);
        let present = FILES.into_iter().filter(|name| path(name).is_file());
        present
            .map(|name| {
                let path = path(name);
                let bytes = burn_lora_files::bytes(&path).map_err(ModelError::io("read", &path))?;
                Ok((name, bytes))
            })
            .collect()
    }

    /// What the crate does, its panics as errors: some of what it reads it takes for granted.
    fn guarded<T>(
        &self,
        work: impl FnOnce(&tokenizers::Tokenizer) -> tokenizers::Result<T>,
    ) -> Result<T, ModelError> {
        caught(|| work(&self.inner))
            .unwrap_or_else(|panic| Err(panic.into()))
            .map_err(failed(&self.path))
    }
}

/// A failure of the tokenizer of this file.
fn failed(path: &Path) -> impl Fn(tokenizers::Error) -> ModelError {
    move |error| {
        let kind = burn_lora_files::kind::of_file(path);
        let reason = kind.map_or_else(|| error.to_string(), |kind| kind.to_string());
        ModelError::Tokenizer { path: path.to_owned(), reason }
    }
}

/// The tokenizer of a `tokenizer.json`, without the truncation and padding that it asks for.
fn parsed(json: impl AsRef<[u8]>, path: &Path) -> Result<tokenizers::Tokenizer, ModelError> {
    let json = burn_lora_files::without_mark(json.as_ref());
    if let Some(reason) = unread::unsound(json) {
        return Err(ModelError::Tokenizer { path: path.to_owned(), reason });
    }
    let read = || -> tokenizers::Result<tokenizers::Tokenizer> {
        let mut tokenizer = tokenizers::Tokenizer::from_bytes(json)?;
        let parts = [
            serde_json::to_value(tokenizer.get_normalizer())?,
            serde_json::to_value(tokenizer.get_pre_tokenizer())?,
            serde_json::to_value(tokenizer.get_post_processor())?,
            serde_json::to_value(tokenizer.get_decoder())?,
        ];
        if let Some(reason) = unread::swelling(&parts) {
            return Err(reason.into());
        }
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None)?;
        Ok(tokenizer)
    };
    let damaged = |panic: String| Err(format!("it is damaged: {panic}").into());
    caught(read).unwrap_or_else(damaged).map_err(|error| match unread::newer(json) {
        Some(reason) => ModelError::Tokenizer { path: path.to_owned(), reason },
        None => failed(path)(error),
    })
}

/// The special tokens that a directory names: in its `tokenizer_config.json`, or else in `special_tokens_map.json`.
fn named_tokens(config: Map<String, Value>, dir: &Path) -> Result<Map<String, Value>, ModelError> {
    let mut texts = config;
    let map_decides = template::map_decides(&texts);
    for (role, token) in object(&dir.join("special_tokens_map.json"))? {
        let known = texts.get(&role).is_some_and(|token| !token.is_null());
        if !known || (map_decides && !token.is_null()) {
            texts.insert(role, token);
        }
    }
    Ok(texts)
}

/// The tokens that `tokenizer_config.json` names and `special_tokens_map.json` names otherwise, where the map decides.
fn overruled(config: &Map<String, Value>, named: &Map<String, Value>) -> Vec<String> {
    let roles = ["bos_token", "eos_token", "pad_token", "unk_token"];
    let other = |role: &&str| {
        let (own, used) = (text(config.get(*role))?, text(named.get(*role))?);
        (own != used).then(|| {
            format!(
                "{CONFIG}: `{role}` is `{own}`, and special_tokens_map.json, which decides here as in transformers, has `{used}`: change \
                 it there too"
            )
        })
    };
    roles.iter().filter_map(other).collect()
}

/// The object in a JSON file; empty where the file does not exist.
fn object(path: &Path) -> Result<Map<String, Value>, ModelError> {
    match burn_lora_files::read_text(path) {
        Err(error) if error.source.kind() == ErrorKind::NotFound => Ok(Map::new()),
        Err(error) => Err(ModelError::io("read", path)(error.source)),
        Ok(text) => serde_json::from_str(&text)
            .map_err(|source| ModelError::Json { path: path.to_owned(), source }),
    }
}

/// The fields of an object.
fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// A token's text, which stands alone or in an object with its properties.
fn text(value: Option<&Value>) -> Option<&str> {
    match value? {
        Value::String(text) => Some(text),
        Value::Object(token) => token.get("content")?.as_str(),
        _ => None,
    }
}

/// One id or several.
fn numbers(value: Option<&Value>) -> Vec<u32> {
    let one = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Some(Value::Array(values)) => values.iter().filter_map(one).collect(),
        Some(value) => one(value).into_iter().collect(),
        None => Vec::new(),
    }
}
