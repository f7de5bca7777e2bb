//! The table of every key, as it stands in `docs/configuration.md`.

use std::fmt::Write;

use toml::Value;

use crate::keys::{Fallback, Part};
use crate::sections::RunConfig;

/// The configuration reference: a Markdown table of every key, as it stands in `docs/configuration.md`.
pub fn reference() -> String {
    let mut table = String::from(
        "| section | key | value | default | meaning |\n| --- | --- | --- | --- | --- |\n",
    );
    for key in RunConfig::keys() {
        let default = match key.default {
            Fallback::Required => "required".to_owned(),
            // As short as it can be: 1e-8.
            Fallback::Value(Value::Float(number)) => format!("`{number:?}`"),
            Fallback::Value(value) => format!("`{value}`"),
            Fallback::Words(words) => words.to_owned(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            "| `[{}]` | `{}` | {} | {default} | {} |",
            key.section, key.name, key.allowed, key.help
        );
    }
    table
}
