//! What keys that are right in themselves cannot mean beside each other.

use crate::reader::Reader;
use crate::sections::{
    AdapterSection, DataSection, Length, Metric, ModelSection, ModelSource, OF_EVA, TrainSection,
    Warmup, meaningless,
};
use burn_lora::{AdapterConfig, Init, Method};
use burn_lora_data::{Format, Squad};
use burn_lora_models::WeightDtype;

/// Two keys of which only one can hold, and what to do. In a file the second is refused beside the
/// first; an override drops the other one.
pub(crate) const EXCLUSIVE: [(&str, &str, &str); 3] = [
    (
        "model.path",
        "model.config",
        "keep `path` to train a model that there is, `config` for a random start",
    ),
    ("data.eval", "data.held_out", "keep one of the two"),
    ("train.steps", "train.epochs", "keep one of the two"),
];

/// Keys outside of `[adapter]` that mean something for adapters only: `method = "full"` in an override
/// drops them too.
pub(crate) const OF_ADAPTERS: [&str; 2] = ["train.lora_plus", "train.keep_best"];

/// Two keys that say what the base is held in, of which one has a default: an override of one drops the other.
const OF_THE_BASE: [&str; 2] = ["model.dtype", "model.base"];

/// Devices without weights in blocks.
const WITHOUT_BLOCKS: [&str; 3] = ["cuda", "wgpu", "ndarray"];

/// Whether an override of `key` takes back what was said of `other`; `method`: the one that it chooses.
pub(crate) fn drops(key: &str, other: &str, method: Option<&str>) -> bool {
    let full = method == Some("full");
    let kind = Method::ALL.iter().find(|kind| method == Some(kind.as_str()));
    let of_other_kinds = |kind: &Method| {
        let name = other.strip_prefix("adapter.");
        name.is_some_and(|name| meaningless(*kind).any(|key| key == name))
    };
    let both = |pair: [&str; 2]| pair.contains(&key) && pair.contains(&other);
    EXCLUSIVE.iter().any(|&(a, b, _)| both([a, b]))
        || both(OF_THE_BASE)
        || full && (other.starts_with("adapter.") || OF_ADAPTERS.contains(&other))
        || kind.is_some_and(of_other_kinds)
}

const FULL: &str = "has no meaning with method = \"full\"";
const NO_ROWS: &str = "needs rows to evaluate on";

/// Reports everything that cannot be meant, as far as the sections could be read.
pub(crate) fn check(
    reader: &mut Reader<'_>,
    model: Option<&ModelSection>,
    adapter: Option<&AdapterSection>,
    data: Option<&DataSection>,
    train: Option<&TrainSection>,
) {
    let full = matches!(adapter, Some(AdapterSection::Full));
    for (first, second, help) in EXCLUSIVE {
        let (_, name) = first.split_once('.').unwrap_or(("", first));
        let both = reader.is_on(first) && reader.is_on(second);
        reader.refuse_if(both, second, format!("cannot stand beside `{name}`"), help);
    }
    for key in reader.given_in("adapter") {
        let wrong = full && key != "adapter.method";
        reader.refuse_if(wrong, &key, FULL, "leave it out, or write method = \"lora\"");
    }
    if let Some(AdapterSection::Lora(section)) = adapter {
        let method = section.lora.method;
        for key in meaningless(method) {
            let (path, kind) = (format!("adapter.{key}"), method.as_str());
            let given = reader.has(&path);
            let message = format!("has no meaning with method = \"{kind}\"");
            reader.refuse_if(given, &path, message, "leave it out, or write method = \"lora\"");
        }
    }
    if let Some(model) = model {
        let random = matches!(model.source, ModelSource::Random(_));
        let wrong = random && !model.random && matches!(adapter, Some(AdapterSection::Lora(_)));
        let message = "is a random start, which has nothing to adapt";
        let help = "write method = \"full\" in [adapter], or random = true in [model] to measure memory and speed";
        reader.refuse_if(wrong, "model.config", message, help);
        let wrong = model.random && !random;
        let help = "leave it out, or give `config` in place of `path`";
        reader.refuse_if(wrong, "model.random", "is said of a model that there is", help);
        let wrong = full && model.dtype != WeightDtype::F32;
        let help = "leave it out: what is trained is f32, or write method = \"lora\"";
        reader.refuse_if(wrong, "model.dtype", "holds weights that cannot be trained", help);
        let quantised = model.base.is_some();
        let message = "holds weights that cannot be trained";
        reader.refuse_if(full && quantised, "model.base", message, help);
        let wrong = quantised && model.dtype != WeightDtype::F32;
        let help =
            "keep `base` to hold blocks of a few bits, `dtype` to hold each number by itself";
        reader.refuse_if(wrong, "model.base", "cannot stand beside `dtype`", help);
        let loftq = matches!(adapter, Some(AdapterSection::Lora(section)) if section.lora.init == Init::Loftq);
        let message = "starts from what the base lost in blocks, and it is held in none";
        let help = "write `base` in [model], such as base = \"nf4\", or leave `init` out";
        reader.refuse_if(loftq && !quantised, "adapter.init", message, help);
        let path = model.source.path().extension();
        let wrong = loftq && (random || path.is_some_and(|it| it.eq_ignore_ascii_case("gguf")));
        let message =
            "starts from the weights before they were put into blocks, of which there are no files";
        let help = "give the model's Hugging Face directory as `path`, or leave `init` out";
        reader.refuse_if(wrong && quantised, "adapter.init", message, help);
        let kind = train.and_then(|train| train.device.split(':').next()).unwrap_or_default();
        let wrong = quantised && WITHOUT_BLOCKS.contains(&kind);
        let help = "write device = \"cpu\" in [train], or give `dtype` in place of `base`";
        reader.refuse_if(wrong, "model.base", format!("is not held on {kind}"), help);
    }
    if let Some(AdapterSection::Lora(section)) = adapter {
        check_start(reader, &section.lora);
    }
    if let Some(data) = data {
        check_data(reader, data);
    }
    if let Some(train) = train {
        check_train(reader, train, full);
    }
    if let (Some(data), Some(train)) = (data, train) {
        check_evaluation(reader, data, train);
    }
}

#[rustfmt::skip]
fn check_start(reader: &mut Reader<'_>, lora: &AdapterConfig) {
    let init = lora.init;
    let mut rule = |wrong, message, help| reader.refuse_if(wrong, "adapter.init", message, help);
    rule(init == Init::Orthogonal && lora.rank % 2 == 1,
        "needs an even rank", "write an even `rank`");
    for key in OF_EVA {
        let key = format!("adapter.{key}");
        let wrong = init != Init::Eva && lora.method.drawn() && reader.has(&key);
        reader.refuse_if(wrong, &key, "has no meaning without init = \"eva\"", "leave it out, or write init = \"eva\"");
    }
    let mut rule = |wrong, message, help| reader.refuse_if(wrong, "adapter.init", message, help);
    rule(init.moves_base() && lora.alpha == 0.0,
        "takes a part out of the base that a scale of 0 cannot give back", "write an `alpha` above 0");
    rule(init.needs_dense() && lora.alpha == 0.0,
        "gives back what the base lost, which a scale of 0 cannot", "write an `alpha` above 0");
    let one = lora.method.starts_by_default();
    rule(init != Init::default() && one,
        "has no meaning with this `method`, which has one start", "leave it out, or write method = \"lora\"");
    rule((init.moves_base() || init.needs_dense()) && !lora.method.subtracts() && !one,
        "has no meaning with this `method`", "write method = \"lora\", or leave `init` out");
}

#[rustfmt::skip]
fn check_data(reader: &mut Reader<'_>, data: &DataSection) {
    let classes = data.format == Some(Format::Classification);
    let labels = data.labels.as_deref().unwrap_or_default();
    if let Some((_, twice)) = labels.iter().enumerate().find(|(index, name)| labels[..*index].contains(name)) {
        reader.refuse_if(true, "data.labels", format!("names the class \"{twice}\" twice"), "name every class once");
    }
    let mut rule = |wrong, key, message, help| reader.refuse_if(wrong, key, message, help);
    rule(!labels.is_empty() && data.format.is_some() && !classes, "data.labels",
        "has a meaning only in classification", "leave it out, or write format = \"classification\"");
    rule(data.held_out.is_some() && data.train.len() > 1, "data.held_out",
        "needs a single training file", "hold rows out of one file, or give `eval`");
    rule(data.eval_limit.is_some() && data.eval.is_none(), "data.eval_limit",
        NO_ROWS, "give `eval` in [data]");
    let (squad, other) = (Squad::default(), data.format.is_some_and(|format| format != Format::Squad));
    for (key, given) in [
        ("data.squad_template", data.squad_template != squad.template),
        ("data.squad_no_answer", data.squad_no_answer != squad.no_answer),
    ] {
        rule(given && other, key,
            "has a meaning only for questions on a text", "leave it out, or write format = \"squad\"");
    }
    rule(data.packing && classes, "data.packing",
        "has no meaning in classification", "leave it out: a row that is classified stands alone");
}

#[rustfmt::skip]
fn check_train(reader: &mut Reader<'_>, train: &TrainSection, full: bool) {
    if let (Length::Steps(total), Warmup::Steps(warmup)) = (train.length, train.warmup) {
        reader.refuse_if(warmup > total, "train.warmup",
            format!("is {warmup} steps, but the run ends after {total}"), "give fewer steps, or a share below 1");
    }
    let mut rule = |wrong, key, message, help| reader.refuse_if(wrong, key, message, help);
    rule(train.lora_plus > 1.0 && full, "train.lora_plus",
        FULL, "leave it out, or write method = \"lora\"");
    rule(train.keep_best && full, "train.keep_best",
        FULL, "leave it out: only adapters are kept this way");
    rule(train.metric == Metric::ExactMatch && !train.exact_match, "train.metric",
        "needs generated texts", "write exact_match = true");
    rule(train.metric == Metric::Bleu && !train.bleu, "train.metric",
        "needs generated texts", "write bleu = true");
    rule(train.early_stopping.is_some() && train.eval_every.is_none(), "train.early_stopping",
        "needs evaluations during the run", "give `eval_every`, the steps between evaluations");
}

fn check_evaluation(reader: &mut Reader<'_>, data: &DataSection, train: &TrainSection) {
    let no_text = matches!(data.format, Some(Format::Classification | Format::Text));
    for (key, given) in [("train.exact_match", train.exact_match), ("train.bleu", train.bleu)] {
        let help = "leave it out: `classification` is scored by accuracy, `text` by perplexity";
        let message = "has no text to expect in this `data.format`";
        reader.refuse_if(given && no_text, key, message, help);
    }
    let no_rows = data.eval.is_none() && data.held_out.is_none();
    for (key, given) in [
        ("train.exact_match", train.exact_match),
        ("train.bleu", train.bleu),
        ("train.eval_every", train.eval_every.is_some()),
        ("train.keep_best", train.keep_best),
    ] {
        reader.refuse_if(given && no_rows, key, NO_ROWS, "give `eval` or `held_out` in [data]");
    }
}
