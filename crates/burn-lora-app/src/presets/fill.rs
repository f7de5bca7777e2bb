//! Values put into a configuration's text, which stays as it is around them.

use std::ops::Range;

use toml::Value;
use toml::de::DeTable;

use super::{Preset, PresetError};

/// What somebody fills in; what is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fill {
    /// `[model] path`.
    pub model: Option<String>,
    /// `[data] train`.
    pub data: Option<String>,
    /// `[data] eval`.
    pub eval: Option<String>,
    /// `[output] dir`.
    pub dir: Option<String>,
}

impl Preset {
    /// The text with these places filled in. Whether the values can be used is not looked at.
    ///
    /// # Errors
    ///
    /// The configuration does not have the key.
    pub fn filled(&self, fill: &Fill) -> Result<String, PresetError> {
        let Fill { model, data, eval, dir } = fill;
        let places = [
            ("model", "path", model),
            ("data", "train", data),
            ("data", "eval", eval),
            ("output", "dir", dir),
        ];
        let mut text = self.text.to_owned();
        for (section, key, value) in places {
            let Some(value) = value else { continue };
            let span = value_of(&text, section, key);
            let span = span.ok_or(PresetError::NoKey { name: self.name, section, key })?;
            text.replace_range(span, &Value::String(value.clone()).to_string());
        }
        Ok(text)
    }
}

/// Where the value of a key stands in the text.
fn value_of(text: &str, section: &str, key: &str) -> Option<Range<usize>> {
    let file = DeTable::parse(text).ok()?;
    let section = file.get_ref().get(section)?.get_ref().as_table()?;
    Some(section.get(key)?.span())
}

#[cfg(test)]
mod tests {
    use burn_lora_config::{ModelSource, RunConfig};

    use super::*;
    use crate::presets::find;

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn only_the_lines_of_the_filled_keys_change() {
        let fill = Fill { model: some("m"), data: some("t"), eval: some("e"), dir: some("d") };
        let preset = find("quickstart").unwrap();
        let text = preset.filled(&fill).unwrap();
        let changed: Vec<&str> = text
            .lines()
            .zip(preset.text.lines())
            .filter(|(new, old)| new != old)
            .map(|(new, _)| new)
            .collect();
        assert_eq!(changed, ["path = \"m\"", "train = \"t\"", "eval = \"e\"", "dir = \"d\""]);
        assert_eq!(text.lines().count(), preset.text.lines().count());
        assert_eq!(preset.filled(&Fill::default()).unwrap(), preset.text);
    }

    #[test]
    fn whatever_is_filled_in_is_read_back_as_it_was() {
        for path in
            ["C:\\models\\new", "a \"quoted\" name", "it's", "'\"\"\"'", "tab\there", "ä # ]"]
        {
            let fill = Fill { model: some(path), dir: some(path), ..Fill::default() };
            let text = find("smollm2-chat").unwrap().filled(&fill).unwrap();
            let config = RunConfig::parse(&text, "run.toml", &[]).unwrap();
            assert_eq!(config.model.source, ModelSource::Pretrained(path.into()), "{text}");
            assert_eq!(config.output.dir.to_str(), Some(path));
        }
    }

    #[test]
    fn a_key_that_is_not_there_is_named() {
        let fill = Fill { eval: some("e"), ..Fill::default() };
        let error = find("smollm2-chat").unwrap().filled(&fill).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`smollm2-chat` has no `eval` in [data] to fill in: copy it and write the key by hand"
        );
        // The random start has a `config` in its place.
        let fill = Fill { model: some("m"), ..Fill::default() };
        assert!(find("pretrain-quickstart").unwrap().filled(&fill).is_err());
    }
}
