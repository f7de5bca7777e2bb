//! Where a model directory keeps its chat template, and the special tokens that it names.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use burn_lora_files::stream;
use serde_json::{Map, Value};

use super::limits::MAX_SOURCE;
use super::{ChatTemplate, TemplateError};

/// The special tokens that transformers hands to a template.
const TOKENS: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
/// The most bytes of a JSON file; a `tokenizer_config.json` with many added tokens has about one
/// million.
const MAX_JSON: u64 = 64 << 20;

impl ChatTemplate {
    /// The template of a model directory: `chat_template.jinja`, or else what
    /// `tokenizer_config.json` has under `chat_template`, or else `chat_template.json`, where models that also see keep it;
    /// `None` if it has none.
    ///
    /// The special tokens that `tokenizer_config.json` and `special_tokens_map.json` name become
    /// variables; where both name one, the first counts if it has an `added_tokens_decoder`, else the second, as in transformers.
    ///
    /// # Errors
    ///
    /// Files that cannot be read or are damaged, and what [`parse`](Self::parse) refuses.
    pub fn of_dir(dir: &Path) -> Result<Option<Self>, TemplateError> {
        let path = dir.join("tokenizer_config.json");
        let config = object(&path)?;
        let own = dir.join("chat_template.jinja");
        let source = match read(&own, MAX_SOURCE as u64)? {
            Some(bytes) => Some(as_text(&bytes, own)?),
            None => match named_default(config.get("chat_template"), path)? {
                Some(source) => Some(source),
                None => {
                    let of_processor = dir.join("chat_template.json");
                    named_default(object(&of_processor)?.get("chat_template"), of_processor)?
                }
            },
        };
        let Some(source) = source else { return Ok(None) };
        let more = object(&dir.join("special_tokens_map.json"))?;
        Self::with_tokens(&source, &config, &more).map(Some)
    }

    /// The template that a `tokenizer_config.json` of this content has; `None` if it has none.
    pub(crate) fn of_config(config: &Map<String, Value>) -> Result<Option<Self>, TemplateError> {
        let source = named_default(config.get("chat_template"), PathBuf::new())?;
        source.map(|source| Self::with_tokens(&source, config, &Map::new())).transpose()
    }

    fn with_tokens(
        source: &str,
        config: &Map<String, Value>,
        more: &Map<String, Value>,
    ) -> Result<Self, TemplateError> {
        let mut template = Self::parse(source)?;
        for name in TOKENS {
            let (own, of_map) = (config.get(name), more.get(name).filter(|it| !it.is_null()));
            let token = if map_decides(config) { of_map.or(own) } else { own.or(of_map) };
            if let Some(token) = token.and_then(text) {
                template = template.with_variable(name, &token.into());
            }
        }
        Ok(template)
    }
}

/// Whether `special_tokens_map.json` decides over this `tokenizer_config.json`: one of before transformers 4.34, which had no
/// `added_tokens_decoder`.
pub(crate) fn map_decides(config: &Map<String, Value>) -> bool {
    !config.contains_key("added_tokens_decoder")
}

/// A template by itself, or the one named `default` of a list.
fn named_default(value: Option<&Value>, path: PathBuf) -> Result<Option<String>, TemplateError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(source)) => Ok(Some(source.clone())),
        Some(Value::Array(templates)) => {
            let part = |template: &Value, key: &str| {
                template.get(key).and_then(Value::as_str).map(str::to_owned)
            };
            let pairs: Option<Vec<_>> = templates
                .iter()
                .map(|template| Some((part(template, "name")?, part(template, "template")?)))
                .collect();
            let Some(pairs) = pairs else { return Err(TemplateError::Form { path }) };
            let names = pairs.iter().map(|(name, _)| name.clone()).collect();
            match pairs.into_iter().find(|(name, _)| name == "default") {
                Some((_, source)) => Ok(Some(source)),
                None => Err(TemplateError::NoDefault { path, names }),
            }
        }
        Some(_) => Err(TemplateError::Form { path }),
    }
}

/// A token's text, which stands alone or in an object with its properties.
fn text(token: &Value) -> Option<&str> {
    match token {
        Value::String(text) => Some(text),
        Value::Object(token) => token.get("content")?.as_str(),
        _ => None,
    }
}

/// The object in a JSON file; empty where the file does not exist.
fn object(path: &Path) -> Result<Map<String, Value>, TemplateError> {
    match read(path, MAX_JSON)? {
        None => Ok(Map::new()),
        Some(bytes) => {
            serde_json::from_slice(burn_lora_files::without_mark(&bytes)).map_err(|source| {
                let path = path.to_owned();
                match burn_lora_files::kind::recognised(&bytes) {
                    None => TemplateError::Json { path, source },
                    Some(kind) => {
                        let source = std::io::Error::new(ErrorKind::InvalidData, kind.to_string());
                        TemplateError::Io { path, source }
                    }
                }
            })
        }
    }
}

/// The text that bytes are; what is none is told by what it is.
fn as_text(bytes: &[u8], path: PathBuf) -> Result<String, TemplateError> {
    let text = stream::text(bytes, &path.display().to_string(), MAX_SOURCE as u64);
    text.map_err(|error| TemplateError::Io { path, source: error.source })
}

/// The bytes of a file that may not exist.
fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, TemplateError> {
    let failed = |source| TemplateError::Io { path: path.to_owned(), source };
    let file = match burn_lora_files::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(TemplateError::FileTooLarge { path: path.to_owned(), limit });
    }
    Ok(Some(bytes))
}
