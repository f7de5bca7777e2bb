//! Turns the values of a reader into the sections, and checks what one key means beside another.
//!
//! Every key is read before the first `?`, so that no problem hides another.

use std::path::PathBuf;

use burn_lora::{Init, LoraConfig, Method};
use burn_lora_patch::Targets;
use toml::Spanned;
use toml::de::DeValue;

use super::reader::{FromToml, Mismatch, Reader};
use super::sections::{
    AdapterSection, DataSection, Dtype, Length, LoraSection, Metric, ModelSection, ModelSource,
    OutputSection, RunConfig, Schedule, TrainSection, Warmup,
};
use crate::data::{Format, OverLong, Source};

/// The run, or `None` where the reader holds a problem.
pub(super) fn run(reader: &mut Reader<'_>) -> Option<RunConfig> {
    let model = model(reader);
    let adapter = adapter(reader);
    let data = data(reader);
    let train = train(reader);
    let dir = path(reader, "output.dir");
    beside_each_other(reader, model.as_ref(), adapter.as_ref(), data.as_ref(), train.as_ref());
    Some(RunConfig {
        model: model?,
        adapter: adapter?,
        data: data?,
        train: train?,
        output: OutputSection { dir: dir? },
    })
}

fn model(reader: &mut Reader<'_>) -> Option<ModelSection> {
    let pretrained = optional_path(reader, "model.path");
    let config = optional_path(reader, "model.config");
    let tokenizer = optional_path(reader, "model.tokenizer");
    let dtype = reader.word("model.dtype", &[("f32", Dtype::F32)]);
    let (pretrained, config, tokenizer) = (pretrained?, config?, tokenizer?);
    let (source, default) = match (pretrained, config) {
        (Some(path), None) => (ModelSource::Pretrained(path.clone()), Some(path)),
        (None, Some(config)) => (ModelSource::Random(config), None),
        (None, None) => {
            reader.missing("model.path", "write `path = …`, the directory of the base model");
            return None;
        }
        (Some(_), Some(_)) => {
            let help = "keep `path` to train a model that there is, `config` for a random start";
            reader.refuse("model.config", "cannot stand beside `path`", help);
            return None;
        }
    };
    let Some(tokenizer) = tokenizer.or(default) else {
        let help = "write `tokenizer = …`, a directory with tokenizer.json: a config has none";
        reader.missing("model.tokenizer", help);
        return None;
    };
    Some(ModelSection { source, tokenizer, dtype: dtype? })
}

fn adapter(reader: &mut Reader<'_>) -> Option<AdapterSection> {
    let kinds = Method::ALL.iter().map(|method| (method.as_str(), Some(*method)));
    let methods: Vec<_> = kinds.chain([("full", None)]).collect();
    let method = reader.word("adapter.method", &methods);
    if method == Some(None) {
        for key in reader.given("adapter").iter().filter(|key| *key != "adapter.method") {
            let help = "leave it out, or write method = \"lora\"";
            reader.refuse(key, "has no meaning with method = \"full\"", help);
        }
        return Some(AdapterSection::Full);
    }
    let rank = reader.value("adapter.rank", |rank: &usize| *rank >= 1);
    let alpha = reader.optional("adapter.alpha", |alpha: &f64| *alpha >= 0.0);
    let dropout = reader.value("adapter.dropout", |share: &f64| (0.0..1.0).contains(share));
    let rslora = reader.value("adapter.rslora", |_| true);
    let init =
        reader.word("adapter.init", &[("kaiming", Init::Kaiming), ("gaussian", Init::Gaussian)]);
    let targets = reader.value("adapter.targets", |_| true);
    let exclude = reader.value("adapter.exclude", |names: &Vec<String>| all_named(names));
    let layers = reader.optional("adapter.layers_to_transform", |_| true);
    let layers_pattern =
        reader.value("adapter.layers_pattern", |names: &Vec<String>| all_named(names));
    let modules_to_save =
        reader.value("adapter.modules_to_save", |names: &Vec<String>| all_named(names));
    let (method, rank) = (method??, rank?);
    let lora = LoraConfig::new(rank, alpha?.unwrap_or(2.0 * rank as f64))
        .with_method(method)
        .with_dropout(dropout?)
        .with_rslora(rslora?)
        .with_init(init?);
    Some(AdapterSection::Lora(LoraSection {
        lora,
        targets: targets?,
        exclude: exclude?,
        layers_to_transform: layers?,
        layers_pattern: layers_pattern?,
        modules_to_save: modules_to_save?,
    }))
}

fn data(reader: &mut Reader<'_>) -> Option<DataSection> {
    let train = reader.value("data.train", |Sources(sources)| {
        !sources.is_empty() && sources.iter().all(|source| !source.path.as_os_str().is_empty())
    });
    let eval = optional_path(reader, "data.eval");
    let held_out = reader.value("data.held_out", |share: &f64| (0.0..1.0).contains(share));
    let mut formats = vec![("auto", None)];
    formats.extend(Format::ALL.map(|format| (format.name(), Some(format))));
    let format = reader.word("data.format", &formats);
    let max_length = reader.value("data.max_length", |length: &usize| *length >= 2);
    let over_long = reader
        .word("data.over_long", &OverLong::ALL.map(|over_long| (over_long.name(), over_long)));
    let packing = reader.value("data.packing", |_| true);
    let separator = reader.value("data.separator", |_| true);
    let eos = reader.value("data.eos", |_| true);
    let labels = reader.optional("data.labels", |names: &Vec<String>| !names.is_empty());
    let eval_limit = reader.optional("data.eval_limit", at_least_one);
    let generate_max_tokens = reader.value("data.generate_max_tokens", at_least_one);
    if let Some(Some(labels)) = &labels {
        let twice = labels.iter().enumerate().find(|(index, name)| labels[..*index].contains(name));
        if let Some((_, name)) = twice {
            let message = format!("names the class \"{name}\" twice");
            reader.refuse("data.labels", message, "name every class once");
            return None;
        }
    }
    Some(DataSection {
        train: train?.0,
        eval: eval?,
        held_out: Some(held_out?).filter(|share| *share > 0.0),
        format: format?,
        max_length: max_length?,
        over_long: over_long?,
        packing: packing?,
        separator: separator?,
        eos: eos?,
        labels: labels?,
        eval_limit: eval_limit?,
        generate_max_tokens: generate_max_tokens?,
    })
}

fn train(reader: &mut Reader<'_>) -> Option<TrainSection> {
    let device = reader.value("train.device", |device: &String| !device.is_empty());
    let length = length(reader);
    let batch_size = reader.value("train.batch_size", at_least_one);
    let accumulate = reader.value("train.accumulate", at_least_one);
    let learning_rate = reader.value("train.learning_rate", |rate: &f64| *rate > 0.0);
    let schedule = reader.word(
        "train.schedule",
        &[
            ("cosine", Schedule::Cosine),
            ("linear", Schedule::Linear),
            ("constant", Schedule::Constant),
        ],
    );
    let warmup = reader.value("train.warmup", |warmup| match warmup {
        Warmup::Share(share) => (0.0..1.0).contains(share),
        Warmup::Steps(_) => true,
    });
    let clip = reader.value("train.clip", |clip: &f64| *clip >= 0.0);
    let weight_decay = reader.value("train.weight_decay", |decay: &f64| *decay >= 0.0);
    let no_decay = reader.value("train.no_decay", |names: &Vec<String>| all_named(names));
    let lora_plus = reader.value("train.lora_plus", |ratio: &f64| *ratio >= 1.0);
    let label_smoothing =
        reader.value("train.label_smoothing", |share: &f64| (0.0..1.0).contains(share));
    let betas = reader.value("train.betas", |betas: &Vec<f64>| {
        betas.len() == 2 && betas.iter().all(|beta| (0.0..1.0).contains(beta))
    });
    let epsilon = reader.value("train.epsilon", |epsilon: &f64| *epsilon > 0.0);
    let seed = reader.value("train.seed", |_| true);
    let eval_every = zero_is_none(reader, "train.eval_every");
    let save_every = zero_is_none(reader, "train.save_every");
    let keep = reader.value("train.keep", at_least_one);
    let threads = zero_is_none(reader, "train.threads");
    let exact_match = reader.value("train.exact_match", |_| true);
    let bleu = reader.value("train.bleu", |_| true);
    let samples = reader.value("train.samples", |_| true);
    let early_stopping = zero_is_none(reader, "train.early_stopping");
    let metric = reader.word(
        "train.metric",
        &[
            ("loss", Metric::Loss),
            ("accuracy", Metric::Accuracy),
            ("exact-match", Metric::ExactMatch),
            ("bleu", Metric::Bleu),
        ],
    );
    let keep_best = reader.value("train.keep_best", |_| true);
    let group_by_length = reader.value("train.group_by_length", |_| true);
    let shuffle = reader.value("train.shuffle", |_| true);
    Some(TrainSection {
        device: device?,
        length: length?,
        batch_size: batch_size?,
        accumulate: accumulate?,
        learning_rate: learning_rate?,
        schedule: schedule?,
        warmup: warmup?,
        clip: Some(clip?).filter(|clip| *clip > 0.0),
        weight_decay: weight_decay?,
        no_decay: no_decay?,
        lora_plus: lora_plus?,
        label_smoothing: label_smoothing?,
        betas: betas?.try_into().ok()?,
        epsilon: epsilon?,
        seed: seed?,
        eval_every: eval_every?,
        save_every: save_every?,
        keep: keep?,
        threads: threads?,
        exact_match: exact_match?,
        bleu: bleu?,
        samples: samples?,
        early_stopping: early_stopping?,
        metric: metric?,
        keep_best: keep_best?,
        group_by_length: group_by_length?,
        shuffle: shuffle?,
    })
}

fn length(reader: &mut Reader<'_>) -> Option<Length> {
    let steps = reader.optional("train.steps", at_least_one);
    let epochs = reader.optional("train.epochs", |epochs: &f64| *epochs > 0.0);
    match (steps?, epochs?) {
        (Some(_), Some(_)) => {
            reader.refuse("train.epochs", "cannot stand beside `steps`", "keep one of the two");
            None
        }
        (Some(steps), None) => Some(Length::Steps(steps)),
        (None, epochs) => Some(Length::Epochs(epochs.unwrap_or(1.0))),
    }
}

/// What is right in itself but cannot be meant beside another section.
fn beside_each_other(
    reader: &mut Reader<'_>,
    model: Option<&ModelSection>,
    adapter: Option<&AdapterSection>,
    data: Option<&DataSection>,
    train: Option<&TrainSection>,
) {
    let random = model.is_some_and(|model| matches!(model.source, ModelSource::Random(_)));
    if random && matches!(adapter, Some(AdapterSection::Lora(_))) {
        let message = "is a random start, which has nothing to adapt";
        reader.refuse("model.config", message, "write method = \"full\" in [adapter]");
    }
    if let Some(data) = data
        && data.labels.is_some()
        && data.format.is_some_and(|format| format != Format::Classification)
    {
        let help = "leave it out, or write format = \"classification\"";
        reader.refuse("data.labels", "has a meaning only in classification", help);
    }
    if let Some(data) = data {
        data_alone(reader, data);
    }
    let Some(train) = train else { return };
    if train.lora_plus > 1.0 && matches!(adapter, Some(AdapterSection::Full)) {
        let help = "leave it out, or write method = \"lora\"";
        reader.refuse("train.lora_plus", "has no meaning with method = \"full\"", help);
    }
    let generated = match train.metric {
        Metric::ExactMatch if !train.exact_match => Some("write exact_match = true"),
        Metric::Bleu if !train.bleu => Some("write bleu = true"),
        _ => None,
    };
    if let Some(help) = generated {
        reader.refuse("train.metric", "needs generated texts", help);
    }
    if train.keep_best && matches!(adapter, Some(AdapterSection::Full)) {
        let help = "leave it out: only adapters are kept this way";
        reader.refuse("train.keep_best", "has no meaning with method = \"full\"", help);
    }
    if let (Length::Steps(total), Warmup::Steps(warmup)) = (train.length, train.warmup)
        && warmup >= total
        && reader.has("train.warmup")
    {
        let message = format!("is {warmup} steps, but the run ends after {total}");
        reader.refuse("train.warmup", message, "give fewer steps, or a share below 1");
    }
    if train.early_stopping.is_some() && train.eval_every.is_none() {
        let help = "give `eval_every`, the steps between evaluations";
        reader.refuse("train.early_stopping", "needs evaluations during the run", help);
    }
    let Some(data) = data else { return };
    let of_generated = [("train.exact_match", train.exact_match), ("train.bleu", train.bleu)];
    for (key, _) in of_generated.into_iter().filter(|(_, given)| *given) {
        if matches!(data.format, Some(Format::Classification | Format::Text)) {
            let help = "leave it out: `classification` is scored by accuracy, `text` by perplexity";
            reader.refuse(key, "has no text to expect in this `data.format`", help);
        }
    }
    let needs_eval = [
        ("train.exact_match", train.exact_match),
        ("train.bleu", train.bleu),
        ("train.eval_every", train.eval_every.is_some()),
        ("train.keep_best", train.keep_best),
    ];
    for (key, given) in needs_eval {
        if given && data.eval.is_none() && data.held_out.is_none() {
            reader.refuse(key, "needs rows to evaluate on", "give `eval` or `held_out` in [data]");
        }
    }
}

/// What the keys of `[data]` cannot mean beside each other.
fn data_alone(reader: &mut Reader<'_>, data: &DataSection) {
    if data.held_out.is_some() && data.eval.is_some() {
        reader.refuse("data.held_out", "cannot stand beside `eval`", "keep one of the two");
    }
    if data.held_out.is_some() && data.train.len() > 1 {
        let help = "hold rows out of one file, or give `eval`";
        reader.refuse("data.held_out", "needs a single training file", help);
    }
    if data.eval_limit.is_some() && data.eval.is_none() {
        reader.refuse("data.eval_limit", "needs rows to evaluate on", "give `eval` in [data]");
    }
    if data.packing && data.format == Some(Format::Classification) {
        let help = "leave it out: a row that is classified stands alone";
        reader.refuse("data.packing", "has no meaning in classification", help);
    }
}

fn path(reader: &mut Reader<'_>, key: &str) -> Option<PathBuf> {
    reader.value(key, |path: &String| !path.is_empty()).map(PathBuf::from)
}

fn optional_path(reader: &mut Reader<'_>, key: &str) -> Option<Option<PathBuf>> {
    let path = reader.optional(key, |path: &String| !path.is_empty())?;
    Some(path.map(PathBuf::from))
}

fn zero_is_none(reader: &mut Reader<'_>, key: &str) -> Option<Option<usize>> {
    let count = reader.value(key, |_| true)?;
    Some(Some(count).filter(|count| *count > 0))
}

fn at_least_one(count: &usize) -> bool {
    *count >= 1
}

fn all_named(names: &[String]) -> bool {
    names.iter().all(|name| !name.is_empty())
}

impl FromToml for Warmup {
    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Mismatch> {
        match value.get_ref() {
            DeValue::Float(_) => f64::from_toml(value).map(Self::Share),
            _ => usize::from_toml(value).map(Self::Steps),
        }
    }
}

/// A path, or a table with one; several of them in a list.
struct Sources(Vec<Source>);

impl FromToml for Sources {
    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Mismatch> {
        match value.get_ref() {
            DeValue::Array(_) => Vec::from_toml(value).map(Self),
            _ => Source::from_toml(value).map(|source| Self(vec![source])),
        }
    }
}

impl FromToml for Source {
    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Mismatch> {
        let DeValue::Table(table) = value.get_ref() else {
            return Ok(Self::new(String::from_toml(value)?));
        };
        let wrong = |found: String| Err(Mismatch { span: value.span(), found });
        let strange = table.keys().find(|key| !["path", "weight"].contains(&&**key.get_ref()));
        if let Some(key) = strange {
            return wrong(format!("a table with the key `{}`", key.get_ref()));
        }
        let Some(path) = table.get("path") else {
            return wrong("a table without the key `path`".to_owned());
        };
        let path = String::from_toml(path)?;
        let weight = table.get("weight").map_or(Ok(1.0), f64::from_toml)?;
        if weight <= 0.0 {
            return wrong(format!("a table with the weight {weight}"));
        }
        Ok(Self { path: path.into(), weight })
    }
}

impl FromToml for Targets {
    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Mismatch> {
        match value.get_ref() {
            DeValue::Array(names) if !names.is_empty() => Vec::from_toml(value).map(Self::Names),
            DeValue::String(text) if text.eq_ignore_ascii_case("all-linear") => Ok(Self::AllLinear),
            DeValue::String(text) => Err(Mismatch {
                span: value.span(),
                found: format!(
                    "the string \"{text}\" (a module name stands in a list, [\"{text}\"])"
                ),
            }),
            DeValue::Table(table) => match (table.get("regex"), table.len()) {
                (Some(pattern), 1) => String::from_toml(pattern).map(Self::Regex),
                _ => Err(Mismatch {
                    span: value.span(),
                    found: "a table without exactly the key `regex`".to_owned(),
                }),
            },
            _ => Vec::<String>::from_toml(value).and_then(|_| {
                Err(Mismatch { span: value.span(), found: "an empty list".to_owned() })
            }),
        }
    }
}
