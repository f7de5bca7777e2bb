//! What a check finds, as JSON.

use burn_lora_config::{AdapterSection, LoraSection};
use burn_lora_train::learner::TrainableModel;
use burn_lora_train::prepare::Run;
use serde::Serialize;

/// A run that was checked.
#[derive(Serialize)]
pub struct Checked<'a> {
    /// What PEFT calls the task.
    task: &'static str,
    /// What loading and reading came to, line by line.
    notes: &'a [String],
    /// Absent where every parameter is trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    adapter: Option<Adapter<'a>>,
    /// Parameters that are trained.
    trainable: usize,
    /// Parameters in all, the adapter's included.
    parameters: usize,
    /// Rows to train on; where they are packed, rows after packing.
    train_rows: usize,
    /// Rows held out.
    eval_rows: usize,
    steps: usize,
    steps_per_epoch: usize,
    /// Rows that a step reads.
    rows_per_step: usize,
    /// One training row as the model sees it.
    sample: &'a str,
}

#[derive(Serialize)]
struct Adapter<'a> {
    rank: usize,
    /// None of a kind without a scale.
    alpha: Option<f64>,
    scale: f64,
    /// Linear layers with factors.
    adapted: usize,
    /// Linear layers of the model.
    linears: usize,
    /// What each entry of the configuration picked.
    matched: Vec<Matched<'a>>,
    /// Modules trained whole.
    trained_whole: Vec<&'a str>,
    /// Rows of embeddings trained beside those.
    trained_rows: usize,
    /// Biases trained beside those.
    biases: usize,
    warnings: &'a [String],
    /// With `--layers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    layers: Option<Vec<Layer<'a>>>,
}

#[derive(Serialize)]
struct Matched<'a> {
    /// `target`, `exclude`, …
    role: String,
    entry: &'a str,
    count: usize,
}

#[derive(Serialize)]
struct Layer<'a> {
    path: &'a str,
    d_in: usize,
    d_out: usize,
    /// What became of it.
    status: String,
    /// The rank of its factors; 0 without any.
    rank: usize,
    /// Parameters of its factors.
    adapter_parameters: usize,
}

impl<'a> Checked<'a> {
    /// What the check of this run found; `layers`: with every linear layer.
    pub fn of<M: TrainableModel>(run: &'a Run<M>, layers: bool) -> Self {
        let train = &run.config.train;
        let steps_per_epoch = run.steps_per_epoch();
        let trainable = run.trained();
        let adapter = match &run.config.adapter {
            AdapterSection::Lora(section) => adapter(run, section, layers),
            AdapterSection::Full => None,
        };
        Self {
            task: M::TASK.as_str(),
            notes: &run.notes,
            adapter,
            trainable,
            parameters: run.total(),
            train_rows: run.train.len(),
            eval_rows: run.eval.as_ref().map_or(0, |rows| rows.len()),
            steps: train.length.steps(steps_per_epoch),
            steps_per_epoch,
            rows_per_step: train.batch_size * train.accumulate,
            sample: &run.sample,
        }
    }
}

fn adapter<'a, M: TrainableModel>(
    run: &'a Run<M>,
    section: &LoraSection,
    layers: bool,
) -> Option<Adapter<'a>> {
    let (report, _) = run.patched.as_ref()?;
    let layer = || {
        let all = report.layers().iter().map(|layer| Layer {
            path: &layer.path,
            d_in: layer.d_in,
            d_out: layer.d_out,
            status: layer.status.to_string(),
            rank: layer.rank,
            adapter_parameters: layer.adapter_params,
        });
        all.collect()
    };
    let matched = report.matched().iter().map(|entry| Matched {
        role: entry.role.to_string(),
        entry: &entry.entry,
        count: entry.count,
    });
    Some(Adapter {
        rank: section.lora.rank,
        alpha: section.lora.method.scaled().then_some(section.lora.alpha),
        scale: section.lora.scale(),
        adapted: report.adapted(),
        linears: report.linears(),
        matched: matched.collect(),
        trained_whole: report.saved().iter().map(|module| module.path.as_str()).collect(),
        trained_rows: report.tokens().iter().map(|table| table.rows).sum(),
        biases: report.biases().count,
        warnings: report.warnings(),
        layers: layers.then(layer),
    })
}
