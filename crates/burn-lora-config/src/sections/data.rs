//! `[data]`.

use std::path::PathBuf;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use crate::allowed::{
    Allowed, Mismatch, above, flag, list, name, number, path_of, text, whole, word, word_or,
};
use crate::keys::keys;
use burn_lora_data::{Answers, Format, OverLong, Source, SquadTemplate};

keys! {
    /// `[data]`: what the model is trained on.
    pub struct DataSection in "data" {
        /// Training rows: .jsonl, .json, .csv or .parquet; a weight says how often a file's rows are in an epoch.
        train: Vec<Source>, sources();
        /// Rows held out of training, of the same format.
        eval: Option<PathBuf> = None, path_of("a file").optional();
        /// Share of the training rows to hold out instead of `eval`.
        held_out: Option<f64> = None, number(0.0..1.0).or_off(0.0);
        /// What a row holds; `auto` goes by the keys of the first row.
        format: Option<Format> = None, word_or("auto");
        /// Longest row in tokens.
        max_length: usize = 512, whole(2..);
        /// What becomes of longer rows.
        over_long: OverLong = OverLong::Cut, word();
        /// Put several short rows into one of `max_length`, attention kept apart.
        packing: bool = false, flag();
        /// Put between prompt and completion, as part of the prompt.
        separator: String = String::new(), text();
        /// End each completion or text with the tokenizer's end token.
        eos: bool = true, flag();
        /// Which answers of a conversation are learned: all in one example, the last one, or each in an example that ends with it.
        answers: Answers = Answers::All, word();
        /// How a question of format `squad` is written, with {title} if need be: what stands before {answer} is the prompt.
        squad_template: SquadTemplate = SquadTemplate::default()
            => "`{context}\\n\\nQuestion: {question}\\nAnswer: {answer}`", squad_template();
        /// Answer of format `squad` to a question that its context does not answer.
        squad_no_answer: String = "unanswerable".to_owned(), name();
        /// Classes in the order of the model's outputs.
        labels: Option<Vec<String>> = None => "those of the training rows, sorted; the head's, where it names them all",
            list(text()).only(|names| !names.is_empty()).called("list of class names").optional();
        /// Use only the first rows of `eval`.
        eval_limit: Option<usize> = None => "all", whole(1..).optional(), decides Evaluation;
        /// Longest text to generate where generated text is scored or shown.
        generate_max_tokens: usize = 64, whole(1..), decides Evaluation;
    }
}

fn squad_template() -> Allowed<SquadTemplate> {
    let read = |value: &Spanned<DeValue<'_>>| {
        let text = text().read(value)?;
        SquadTemplate::parse(&text)
            .map_err(|error| Mismatch::found(value, format!("a template in which {error}")))
    };
    let write = |template: &SquadTemplate| Value::String(template.to_string());
    Allowed::new("text with {context}, {question} and {answer}", read, write)
}

/// A path, or a table with one; several of them in a list.
fn sources() -> Allowed<Vec<Source>> {
    let read = |value: &Spanned<DeValue<'_>>| match value.get_ref() {
        DeValue::Array(_) => list(source()).only(|sources| !sources.is_empty()).read(value),
        _ => Ok(vec![source().read(value)?]),
    };
    // As it is most often written.
    let write = |sources: &Vec<Source>| match &sources[..] {
        [one @ Source { weight: 1.0, .. }] => path_of("a file").write(&one.path),
        _ => list(source()).write(sources),
    };
    let words = "path of a file, or a list of paths and { path = \"…\", weight = … }";
    Allowed::new_fallible(words, read, write)
}

fn source() -> Allowed<Source> {
    let read = |value: &Spanned<DeValue<'_>>| match value.get_ref() {
        DeValue::Table(table) => weighted(value, table),
        _ => path_of("a file").read(value).map(Source::new),
    };
    let write = |source: &Source| {
        let Some(path) = path_of("a file").write(&source.path)? else { return Ok(None) };
        Ok(Some(match source.weight {
            1.0 => path,
            weight => Value::Table(Table::from_iter([
                ("path".to_owned(), path),
                ("weight".to_owned(), Value::Float(weight)),
            ])),
        }))
    };
    Allowed::new_fallible("path of a file or { path = \"…\", weight = … }", read, write)
}

fn weighted(value: &Spanned<DeValue<'_>>, table: &DeTable<'_>) -> Result<Source, Mismatch> {
    let wrong = |found: String| Mismatch::found(value, format!("a table with{found}"));
    if let Some(key) = table.keys().find(|key| !["path", "weight"].contains(&&**key.get_ref())) {
        return Err(wrong(format!(" the key `{}`", key.get_ref())));
    }
    let file = table.get("path").ok_or_else(|| wrong("out the key `path`".to_owned()))?;
    let weight = table.get("weight").map_or(Ok(1.0), |weight| number(above(0.0)).read(weight));
    let weight = weight.map_err(|inner| wrong(format!(" the weight {}", inner.found)))?;
    Ok(Source { path: path_of("a file").read(file)?, weight })
}
