//! Several adapters on one model, against PEFT's: the folder `many` of `generate_more.py`, which has an `operations.json`.
//!
//! Each adapter alone, two active at once, a batch whose rows name theirs, and what `add_weighted_adapter` makes of two: its change of every layer, and
//! the logits of what we write, read again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use burn_lora_models::{CausalLm, Model};
use burn_lora_patch::LoraModule;
use burn_lora_patch::combine::{Combination, CombineOptions, MajoritySign, StoredAdapter, combine};
use burn_lora_patch::peft::{self, LoadOptions};
use serde::Deserialize;

use super::LOGITS;
use super::fixture::{Values, read};
use super::measure::{Batch, Failure, batch, get, largest, logit_difference};
use super::table::{Cell, Tables};

/// What says that a folder is one.
const OPERATIONS: &str = "operations.json";
/// What the rows of the batch name.
const ROWS: [Option<&str>; 3] = [Some("two"), None, Some("one")];
/// The largest difference of an entry of a change that passes, of entries of size 1. PEFT computes in f32: where it cuts a
/// change to a rank, its rounding counts times the largest singular value over the gap at the cut.
const CHANGE: f64 = 1e-4;

/// One call of `add_weighted_adapter`.
#[derive(Deserialize)]
struct Operation {
    adapters: Vec<String>,
    weights: Vec<f64>,
    combination_type: String,
    density: Option<f64>,
    svd_rank: Option<usize>,
    majority_sign_method: Option<String>,
}

/// The folders below `root`, or `root` itself, that are of this kind.
pub fn find(root: &Path) -> Result<Vec<PathBuf>, String> {
    let names = burn_lora_files::names(root).map_err(|error| error.to_string())?;
    let below = names.into_iter().map(|name| root.join(name));
    let all = std::iter::once(root.to_owned()).chain(below);
    Ok(all.filter(|dir| is_one(dir)).collect())
}

/// Whether a folder is of this kind.
pub fn is_one(dir: &Path) -> bool {
    dir.join(OPERATIONS).is_file()
}

/// The table of these folders.
pub fn compare(dirs: &[PathBuf], device: &Device, tables: &mut Tables) {
    let of = |(name, logits, change)| {
        (name, vec![Cell::Within(logits, LOGITS), Cell::within(change, CHANGE)])
    };
    let lines = |dir: &PathBuf| Ok(measure(dir, device)?.into_iter().map(of).collect());
    let tolerances = format!("logits {LOGITS:.0e}, change {CHANGE:.0e}");
    let path = |dir: &PathBuf| dir.display().to_string();
    tables.print(("adapters", &["logits", "change"]), dirs, path, lines, &tolerances);
}

/// A name, the largest difference of a logit, and of an entry of a change where there is one to compare.
type Row = (String, f64, Option<f64>);

fn measure(dir: &Path, device: &Device) -> Result<Vec<Row>, Failure> {
    let (model, _) = CausalLm::load(dir, device, &mut |_, _| {})?;
    let batch = batch(&read(&dir.join("batch.safetensors"))?, true, device)?;
    let expected = read(&dir.join("expected.safetensors"))?;
    let text = burn_lora_files::read_text(&dir.join(OPERATIONS))?;
    let operations: BTreeMap<String, Operation> = serde_json::from_str(&text)?;

    let mut rows = Vec::new();
    let names = burn_lora_files::names(dir)?.into_iter();
    let adapters: Vec<String> =
        names.filter(|name| dir.join(name).join(peft::CONFIG_FILE).is_file()).collect();
    let active = adapters.iter().map(|name| vec![name.as_str()]);
    let several = expected.keys().filter_map(|key| {
        let names = key.strip_prefix("logits.").filter(|names| names.contains('+'))?;
        Some(names.split('+').collect())
    });
    for names in active.chain(several) {
        let mut model = model.clone();
        for name in &names {
            peft::load(&mut model, dir.join(name), &LoadOptions::new().with_name(*name))?;
        }
        let name = names.join("+");
        let logits = difference(&model, &batch, &expected, &name)?;
        rows.push((name, logits, None));
    }
    if let Ok(expected) = get(&expected, "logits.rows") {
        let mut model = model.clone();
        for name in &adapters {
            peft::load(&mut model, dir.join(name), &LoadOptions::new().with_name(name))?;
        }
        let difference =
            model.by_row(&ROWS, |model| logit_difference(model, &batch, expected))??;
        rows.push(("rows".to_owned(), difference, None));
    }
    for (name, operation) in operations {
        let scratch = tempfile::tempdir()?;
        combined(dir, &operation)?.write(scratch.path())?;
        let written = StoredAdapter::read(scratch.path())?;
        let mut model = model.clone();
        peft::load(&mut model, scratch.path(), &LoadOptions::new())?;
        let logits = difference(&model, &batch, &expected, &name)?;
        rows.push((name.clone(), logits, Some(change(&written, &expected, &name)?)));
    }
    Ok(rows)
}

fn difference(
    model: &CausalLm,
    batch: &Batch,
    expected: &BTreeMap<String, Values>,
    name: &str,
) -> Result<f64, Failure> {
    logit_difference(model, batch, get(expected, &format!("logits.{name}"))?)
}

fn combined(dir: &Path, operation: &Operation) -> Result<StoredAdapter, Failure> {
    let way: Combination = operation.combination_type.parse()?;
    let mut options = CombineOptions::new(way, operation.weights.clone());
    (options.density, options.rank) = (operation.density, operation.svd_rank);
    if operation.majority_sign_method.as_deref() == Some("frequency") {
        options.majority_sign = MajoritySign::Frequency;
    }
    let mut adapters = Vec::new();
    for name in &operation.adapters {
        adapters.push(StoredAdapter::read(dir.join(name))?);
    }
    Ok(combine(&adapters, &options)?)
}

/// The largest difference of an entry of a layer's change; of all layers that PEFT has.
fn change(
    adapter: &StoredAdapter,
    expected: &BTreeMap<String, Values>,
    name: &str,
) -> Result<f64, Failure> {
    let prefix = format!("delta.{name}.");
    let mut worst = 0.0;
    let mut layers = 0;
    for (key, values) in expected {
        let Some(path) = key.strip_prefix(&prefix) else { continue };
        let layer = adapter.layers.get(path).ok_or(format!("`{path}` is not adapted"))?;
        let ours = layer.factors.change();
        if ours.len() != values.values.len() {
            return Err(format!("`{path}` has {} entries", ours.len()).into());
        }
        let difference = largest(ours.iter().zip(&values.values).map(|(one, other)| one - other));
        worst = largest([worst, difference].into_iter());
        layers += 1;
    }
    match layers == adapter.layers.len() && layers > 0 {
        true => Ok(worst),
        false => Err(format!("{} layers, PEFT has {layers}", adapter.layers.len()).into()),
    }
}
