//! The model card: what a model is, where it comes from, how it did and how it is loaded, as Markdown
//! with the front matter that model hubs read.

use std::fmt;

use burn_lora::Method;
use burn_lora_patch::peft::{Modules, PeftConfig};
use burn_lora_report::figure;
use burn_lora_report::record::EvalRecord;
use burn_lora_text::grouped;

/// What a card says.
#[derive(Debug, Clone)]
pub(super) struct Card<'a> {
    /// The run's name.
    pub(super) title: String,
    /// What was fine-tuned.
    pub(super) base: Base,
    /// The adapter that was trained, if one was.
    pub(super) adapter: Option<&'a PeftConfig>,
    /// Whether base and adapter stand beside the card as one model.
    pub(super) merged: bool,
    /// Whether targets are rows to classify.
    pub(super) classifies: bool,
    /// The data files.
    pub(super) rows: Vec<Rows>,
    /// The classes, in the order of the model's outputs.
    pub(super) labels: &'a [String],
    /// What ends a prompt.
    pub(super) separator: &'a str,
    /// The steps that were taken.
    pub(super) steps: usize,
    /// The first evaluation, and the last one where that is another.
    pub(super) evaluations: [Option<EvalRecord>; 2],
    /// See [`ExportOptions::command`](super::ExportOptions::command).
    pub(super) command: Option<fn(&str, Option<&str>) -> String>,
}

/// A base model, as others know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    /// A model of the hub.
    Hub { repo: String, revision: Option<String> },
    /// A path, which means little elsewhere.
    Path(String),
    /// None: the start was random.
    Random,
}

/// A data file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rows {
    /// `training rows: ` or `evaluation rows: `.
    pub(super) purpose: &'static str,
    /// The file.
    pub(super) file: String,
    /// How many rows it has, where it can be read.
    pub(super) count: Option<usize>,
    /// How often each row was in an epoch.
    pub(super) weight: f64,
    /// The share of the rows that was held out.
    pub(super) held_out: Option<f64>,
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.count.map_or_else(|| "not counted".to_owned(), grouped);
        let weight = told((self.weight != 1.0).then(|| format!(", weight {}", self.weight)));
        let held_out = |share| format!(", of which a share of {share} was held out");
        write!(f, "{count} ({}){weight}{}", code(&self.file), told(self.held_out.map(held_out)))
    }
}

impl fmt::Display for Card<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.front_matter(f)?;
        let what = match (self.adapter.map(|adapter| method(adapter).title()), self.merged) {
            (Some(kind), false) => format!("A {kind} adapter, in PEFT's format,"),
            (Some(kind), true) => format!("A model with a {kind} adapter merged into it,"),
            (None, _) => "A model".to_owned(),
        };
        let version = env!("CARGO_PKG_VERSION");
        writeln!(f, "\n# {}\n\n{what} trained with burn-lora {version}.\n", line(&self.title))?;
        for (name, text) in self.facts().into_iter().filter(|(_, text)| !text.is_empty()) {
            writeln!(f, "- {name}{text}")?;
        }
        self.figures(f)?;
        self.loading(f)?;
        writeln!(
            f,
            "\n## Licence\n\nNone is stated yet: choose one, write it here and as `license:` into the first \
             lines of this file. The licences of the base model and of the data bind it."
        )
    }
}

impl Card<'_> {
    /// Whether what stands beside the card needs the base.
    fn needs_base(&self) -> bool {
        self.adapter.is_some() && !self.merged
    }

    fn front_matter(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = match &self.base {
            Base::Hub { repo, .. } => format!("base_model: {repo}\n"),
            Base::Path(_) | Base::Random => String::new(),
        };
        let library = if self.needs_base() { "peft" } else { "transformers" };
        let pipeline = if self.classifies { "text-classification" } else { "text-generation" };
        let lora = if self.adapter.is_some() { "- lora\n" } else { "" };
        writeln!(
            f,
            "---\n{base}library_name: {library}\npipeline_tag: {pipeline}\ntags:\n- burn-lora\n{lora}\
             # license: yours to choose\n---"
        )
    }

    /// What it is, by names; what has no text is not told.
    fn facts(&self) -> Vec<(&'static str, String)> {
        let base = match &self.base {
            Base::Hub { repo, revision: None } => code(repo),
            Base::Hub { repo, revision: Some(name) } => {
                format!("{}, revision {}", code(repo), code(name))
            }
            Base::Path(path) => format!("{}, a path where it was trained", code(path)),
            Base::Random => "none, from random weights".to_owned(),
        };
        let mut facts = vec![("base model: ", base)];
        match self.adapter {
            None => facts.push(("method: ", "every parameter trained".to_owned())),
            Some(adapter) => {
                let kind = method(adapter);
                let scale = if adapter.use_rslora { " with rsLoRA's scale" } else { "" };
                let alpha = told(kind.scaled().then(|| format!(", alpha {}", adapter.lora_alpha)));
                let targets = match &adapter.target_modules {
                    None => "none".to_owned(),
                    Some(Modules::Pattern(pattern)) => format!("{}, a pattern", code(pattern)),
                    Some(Modules::Names(names)) => codes(names),
                };
                let whole = adapter.modules_to_save.as_deref().unwrap_or_default();
                facts.extend([
                    ("method: ", format!("{}{scale}, rank {}{alpha}", kind.title(), adapter.r)),
                    ("targets: ", targets),
                    ("trained whole, where the model has them: ", codes(whole)),
                ]);
            }
        }
        facts.extend(self.rows.iter().map(|rows| (rows.purpose, rows.to_string())));
        let separator = Some(self.separator).filter(|text| !self.classifies && !text.is_empty());
        facts.extend([
            ("steps: ", told((self.steps > 0).then(|| grouped(self.steps)))),
            (
                "classes, in the order of the outputs: ",
                told(self.classifies.then(|| codes(self.labels))),
            ),
            ("a prompt ends with ", told(separator.map(|text| code(&format!("{text:?}"))))),
        ]);
        facts
    }

    /// The held-out figures, side by side where there are two evaluations.
    fn figures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records: Vec<EvalRecord> = self.evaluations.into_iter().flatten().collect();
        if records.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n## Held-out rows\n")?;
        let mut row = |name: &str, cell: &dyn Fn(&EvalRecord) -> String| {
            let cells = records.iter().map(|record| format!(" {} |", cell(record)));
            writeln!(f, "|{name} |{}", cells.collect::<String>())
        };
        row("", &|record| format!("after {} steps", grouped(record.step)))?;
        row(" ---", &|_| "---".to_owned())?;
        for figure in figure::telling(self.classifies) {
            if records.iter().any(|record| figure.value(record).is_some()) {
                row(&format!(" {}", figure.name), &|record| told(figure.shown(record)))?;
            }
        }
        Ok(())
    }

    fn loading(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (base, revision) = match &self.base {
            Base::Hub { repo, revision } => (repo.as_str(), revision.as_ref()),
            Base::Path(path) => (path.as_str(), None),
            Base::Random => ("BASE", None),
        };
        let class = match self.classifies {
            true => "AutoModelForSequenceClassification",
            false => "AutoModelForCausalLM",
        };
        let (peft, model) = if self.needs_base() {
            let revision = told(revision.map(|name| format!(", revision={name:?}")));
            let count = Some(self.labels.len()).filter(|&count| self.classifies && count > 0);
            let labels = told(count.map(|count| format!(", num_labels={count}")));
            let load = format!("base = {class}.from_pretrained({base:?}{revision}{labels})");
            (
                "from peft import PeftModel\n",
                format!("{load}\nmodel = PeftModel.from_pretrained(base, \"DIR\")"),
            )
        } else {
            ("", format!("model = {class}.from_pretrained(\"DIR\")"))
        };
        let python = format!(
            "{peft}from transformers import {class}, AutoTokenizer\n\n{model}\n\
             tokenizer = AutoTokenizer.from_pretrained(\"DIR\")"
        );
        let python = block("python", &python);
        writeln!(f, "\n## Loading it\n\n`DIR` is this directory. In Python:\n\n{python}")?;
        match self.with_burn_lora(base) {
            Some((name, burn)) => writeln!(f, "\nWith burn-lora:\n\n{}", block(name, &burn)),
            None => Ok(()),
        }
    }

    fn with_burn_lora(&self, base: &str) -> Option<(&'static str, String)> {
        let (model, adapter) = if self.needs_base() { (base, Some("DIR")) } else { ("DIR", None) };
        if !self.classifies {
            return Some(("console", self.command?(model, adapter)));
        }
        let (labels, then) = match adapter {
            Some(dir) => (
                format!("Some({})", self.labels.len()),
                format!("\nlet (model, _) = model.load_adapter({dir:?})?;"),
            ),
            None => ("None".to_owned(), String::new()),
        };
        let load = "SequenceClassifier::load_with_head";
        let rest = format!("{labels}, 0, &device, &mut |_, _| {{}}");
        Some(("rust", format!("let (model, _) = {load}({model:?}.as_ref(), {rest})?;{then}")))
    }
}

fn method(adapter: &PeftConfig) -> Method {
    adapter.method().unwrap_or_default()
}

/// What there is to tell, or nothing.
fn told(text: Option<String>) -> String {
    text.unwrap_or_default()
}

/// A text on one line, with nothing in it that Markdown or HTML would take for its own.
fn line(text: &str) -> String {
    let escaped = |c: char| match c {
        c if c.is_control() => " ".to_owned(),
        c if "\\`*_[]<>#|&".contains(c) => format!("\\{c}"),
        c => c.to_string(),
    };
    text.chars().map(escaped).collect()
}

/// A text as code, on one line.
fn code(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let fence = "`".repeat(longest_run(&text) + 1);
    // A space keeps a backtick at the end apart from the fence, and is not shown.
    let pad = if text.contains('`') { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

fn codes(texts: &[String]) -> String {
    texts.iter().map(|text| code(text)).collect::<Vec<_>>().join(", ")
}

/// Lines as a block of code.
fn block(language: &str, text: &str) -> String {
    let fence = "`".repeat(longest_run(text).max(2) + 1);
    format!("{fence}{language}\n{text}\n{fence}")
}

/// The longest run of backticks.
fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(step: usize, eval_loss: f64, accuracy: f64, exact_match: Option<f64>) -> EvalRecord {
        let (perplexity, bleu) = (2.0 * eval_loss, exact_match.map(|share| share / 2.0));
        EvalRecord { step, eval_loss, perplexity, accuracy, exact_match, bleu }
    }

    fn adapter() -> PeftConfig {
        PeftConfig {
            r: 16,
            lora_alpha: 32.0,
            target_modules: Some(Modules::Names(vec!["q_proj".into(), "up_proj".into()])),
            ..PeftConfig::default()
        }
    }

    fn card(adapter: &PeftConfig) -> Card<'_> {
        Card {
            title: "quick_start".into(),
            base: Base::Hub { repo: "org/name".into(), revision: None },
            adapter: Some(adapter),
            merged: false,
            classifies: false,
            rows: vec![Rows {
                purpose: "training rows: ",
                file: "train.jsonl".into(),
                count: Some(2000),
                weight: 1.0,
                held_out: None,
            }],
            labels: &[],
            separator: "\n",
            steps: 450,
            evaluations: [
                Some(record(0, 4.9919, 0.25, Some(0.0))),
                Some(record(450, 0.0267, 0.5, Some(0.915))),
            ],
            command: Some(|model, adapter| format!("write with {model} and {adapter:?}")),
        }
    }

    #[test]
    fn the_card_of_an_adapter_reads_like_this() {
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!(
            r##"---
base_model: org/name
library_name: peft
pipeline_tag: text-generation
tags:
- burn-lora
- lora
# license: yours to choose
---

# quick\_start

A LoRA adapter, in PEFT's format, trained with burn-lora {version}.

- base model: `org/name`
- method: LoRA, rank 16, alpha 32
- targets: `q_proj`, `up_proj`
- training rows: 2,000 (`train.jsonl`)
- steps: 450
- a prompt ends with `"\n"`

## Held-out rows

| | after 0 steps | after 450 steps |
| --- | --- | --- |
| held-out loss | 4.9919 | 0.0267 |
| perplexity | 9.984 | 0.053 |
| exact match | 0.0 % | 91.5 % |
| BLEU | 0.00 | 45.75 |

## Loading it

`DIR` is this directory. In Python:

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = AutoModelForCausalLM.from_pretrained("org/name")
model = PeftModel.from_pretrained(base, "DIR")
tokenizer = AutoTokenizer.from_pretrained("DIR")
```

With burn-lora:

```console
write with org/name and Some("DIR")
```

## Licence

None is stated yet: choose one, write it here and as `license:` into the first lines of this file. The licences of the base model and of the data bind it.
"##
        );
        assert_eq!(card(&adapter()).to_string(), expected);
    }

    fn check_says(card: &Card<'_>, lines: &[&str]) {
        let text = card.to_string();
        for line in lines {
            assert!(text.lines().any(|other| other == *line), "no line {line:?} in:\n{text}");
        }
    }

    #[test]
    fn a_classifier_names_its_classes_and_accuracy() {
        let adapter = PeftConfig { modules_to_save: Some(vec!["classifier".into()]), ..adapter() };
        let labels = ["no".to_owned(), "yes".to_owned()];
        let base = Base::Hub { repo: "org/name".into(), revision: Some("v1".into()) };
        let card = Card { classifies: true, labels: &labels, base, ..card(&adapter) };
        check_says(
            &card,
            &[
                "pipeline_tag: text-classification",
                "- base model: `org/name`, revision `v1`",
                "- trained whole, where the model has them: `classifier`",
                "- classes, in the order of the outputs: `no`, `yes`",
                "| accuracy | 25.0 % | 50.0 % |",
                "base = AutoModelForSequenceClassification.from_pretrained(\"org/name\", revision=\"v1\", num_labels=2)",
                "let (model, _) = SequenceClassifier::load_with_head(\"org/name\".as_ref(), Some(2), 0, &device, &mut |_, _| {})?;",
            ],
        );
        assert!(!card.to_string().contains("perplexity"));
    }

    #[test]
    fn a_whole_model_is_loaded_without_peft() {
        let merged = adapter();
        let card = Card { merged: true, ..card(&merged) };
        check_says(
            &card,
            &[
                "library_name: transformers",
                "model = AutoModelForCausalLM.from_pretrained(\"DIR\")",
                "write with DIR and None",
            ],
        );
        let full = Card { adapter: None, base: Base::Random, ..card };
        check_says(
            &full,
            &["- base model: none, from random weights", "- method: every parameter trained"],
        );
        assert!(!full.to_string().contains("- lora\n"), "no LoRA in it");
    }

    #[test]
    fn what_is_not_known_is_left_out_or_said() {
        let adapter = adapter();
        let rows = Rows {
            purpose: "training rows: ",
            file: "t.jsonl".into(),
            count: None,
            weight: 0.5,
            held_out: Some(0.05),
        };
        let card = Card {
            base: Base::Path("models/my base".into()),
            rows: vec![rows],
            evaluations: [Some(record(10, 1.0, 0.0, None)), None],
            ..card(&adapter)
        };
        check_says(
            &card,
            &[
                "- base model: `models/my base`, a path where it was trained",
                "- training rows: not counted (`t.jsonl`), weight 0.5, of which a share of 0.05 was held out",
                "| | after 10 steps |",
                "| --- | --- |",
                "write with models/my base and Some(\"DIR\")",
            ],
        );
        let text = card.to_string();
        assert!(!text.contains("base_model:") && !text.contains("exact match"), "{text}");
        let without = Card { evaluations: [None; 2], command: None, ..card };
        let text = without.to_string();
        assert!(!text.contains("Held-out") && !text.contains("With burn-lora"), "{text}");
    }

    /// It was called LoRA.
    #[test]
    fn a_dora_is_called_one() {
        let dora = PeftConfig { use_dora: true, ..adapter() };
        let text = card(&dora).to_string();
        assert!(text.contains("A DoRA adapter") && text.contains("method: DoRA, rank"), "{text}");
    }

    #[test]
    fn a_kind_without_a_scale_is_told_without_alpha() {
        let miss = PeftConfig { peft_type: "MISS".into(), ..adapter() };
        let text = card(&miss).to_string();
        assert!(text.contains("A MiSS adapter"), "{text}");
        assert!(text.contains("- method: MiSS, rank 16\n"), "{text}");
    }

    #[test]
    fn names_cannot_break_the_page() {
        assert_eq!(code("a`b"), "`` a`b ``");
        assert_eq!(code("a\nb"), "`a b`");
        assert_eq!(line("a_b\n<i>"), "a\\_b \\<i\\>");
        assert_eq!(block("text", "```"), "````text\n```\n````");
    }
}
