//! Starts at what blocks lost of the weights (LoftQ), against PEFT's: the folders of `fixtures/loftq`, below the model as it was.
//!
//! PEFT leaves out that a layer computes with `scale · A B`: its `B A` is compared with our `scale · A B`, and what the layers compute
//! where its scale is 1. PEFT's own loop quantises the magnitudes of blocks no further (`double` is false), which is done here by hand.
//!
//! Of more rounds than one the weights that are held hang on every number that lies next to the middle of two levels, so that PEFT's
//! rounding in f32 moves some of them: there only norms and, roughly, the change are compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use burn_lora::{Adapter, FrozenWeight, Init, sets};
use burn_lora_kernels::quantised::nf4::{BLOCK, LEVELS};
use burn_lora_models::{CausalLm, Model, Storage, WeightDtype};
use burn_lora_patch::{Loftq, LoraConfig, Targets, peft};
use serde::Deserialize;

use super::LOGITS;
use super::fixture::{Curve, Values, having, json, name, read};
use super::measure::{Failure, batch, get, largest, logit_difference, norm, trained};
use super::start::{CURVE, RATE, TRAINED};
use super::table::{Cell, Tables};

/// What says that a folder is one.
const SETTINGS: &str = "loftq.json";
/// The largest difference of a number that is held, of numbers of size 1, that passes: scales of blocks are products of f32.
const HELD: f64 = 1e-6;
/// The largest difference of the norm of what a weight lost, and of what is left of that, relative to it, that passes.
const NORMS: f64 = 1e-4;
/// The largest difference of a change, as a norm, relative to what the weight lost, that passes: f32 times the largest singular value
/// over the gap at the rank.
const CHANGE: f64 = 1e-3;
/// As [`NORMS`] after several rounds: some numbers in ten thousand lie on the other side of a middle.
const NORMS_OF_ROUNDS: f64 = 1e-2;
/// As [`CHANGE`] after several rounds.
const CHANGE_OF_ROUNDS: f64 = 0.1;

/// What PEFT was told, and what it reached.
#[derive(Deserialize)]
struct Settings {
    rounds: usize,
    double: bool,
    rank: usize,
    alpha: f64,
    targets: Vec<String>,
    layers: BTreeMap<String, Norms>,
}

/// What a weight lost, and what the factors leave of that.
#[derive(Deserialize)]
struct Norms {
    lost: f64,
    left: f64,
}

impl Settings {
    fn config(&self) -> LoraConfig {
        LoraConfig::new(self.rank)
            .with_alpha(self.alpha)
            .with_init(Init::Loftq)
            .with_targets(Targets::names(self.targets.iter().cloned()))
    }

    /// Whether PEFT's layers compute with what its factors stand for, which are the same after one round.
    fn is_compared(&self) -> bool {
        self.rounds == 1 && self.alpha == self.rank as f64
    }
}

/// The folders at most two below `root` that are of this kind.
pub fn find(root: &Path) -> Result<Vec<PathBuf>, String> {
    having(SETTINGS, root)
}

/// The table of these folders.
pub fn compare(dirs: &[PathBuf], device: &Device, tables: &mut Tables) {
    let columns =
        ["rounds", "held", "lost", "left", "change", "shown", "logits", "curve", "trained"];
    let lines = |dir: &PathBuf| Ok(vec![(name(dir), measure(dir, device)?.cells())]);
    let tolerances = format!(
        "held {HELD:.0e}, norms {NORMS:.0e} (of several rounds {NORMS_OF_ROUNDS:.0e}), change {CHANGE:.0e} ({CHANGE_OF_ROUNDS:.0e}), logits {LOGITS:.0e}, curve {CURVE:.0e}, trained {TRAINED:.0e}"
    );
    tables.print(("LoftQ", &columns), dirs, |dir| name(dir), lines, &tolerances);
}

/// The largest differences; none of what is not compared.
struct Measured {
    rounds: usize,
    held: Option<f64>,
    lost: f64,
    left: f64,
    change: f64,
    /// As `change`, of a model that was loaded in blocks and is shown its weights.
    shown: Option<f64>,
    start: Option<f64>,
    curve: Option<f64>,
    trained: Option<f64>,
}

impl Measured {
    fn cells(&self) -> Vec<Cell> {
        let (norms, change) = match self.rounds {
            1 => (NORMS, CHANGE),
            _ => (NORMS_OF_ROUNDS, CHANGE_OF_ROUNDS),
        };
        vec![
            Cell::Told(self.rounds),
            Cell::within(self.held, HELD),
            Cell::Within(self.lost, norms),
            Cell::Within(self.left, norms),
            Cell::Within(self.change, change),
            Cell::within(self.shown, CHANGE),
            Cell::within(self.start, LOGITS),
            Cell::within(self.curve, CURVE),
            Cell::within(self.trained, TRAINED),
        ]
    }
}

fn measure(dir: &Path, device: &Device) -> Result<Measured, Failure> {
    let settings: Settings = json(&dir.join(SETTINGS))?;
    let root = dir.parent().ok_or("a folder without a model above it")?;
    let weights = read(&root.join("model.safetensors"))?;
    let theirs = read(&dir.join("before").join(peft::TENSORS_FILE))?;
    let (model, _) = CausalLm::load(root, device, &mut |_, _| {})?;
    let mut loftq = Loftq::new(&model, &settings.config())?;
    let layers: Vec<String> = loftq.layers().map(str::to_owned).collect();
    if layers.iter().ne(settings.layers.keys()) {
        return Err(format!("adapted are {}", layers.join(", ")).into());
    }
    let mut held = BTreeMap::new();
    for layer in &layers {
        let weight = matrix(&weights, layer)?;
        let mut last = Vec::new();
        loftq.alternate(layer, &weight, settings.rounds, |matrix| {
            let frozen = match settings.double {
                true => WeightDtype::Nf4.frozen(matrix),
                false => Some(single(&matrix)),
            }?;
            last = frozen.dense().try_into_vec_as::<f32>().ok()?;
            Some(frozen)
        })?;
        held.insert(layer.clone(), last);
    }
    let (patched, _) = loftq.patch(model)?;
    let expected_held = dir.join("held.safetensors");
    let expected_held = expected_held.is_file().then(|| read(&expected_held)).transpose()?;
    let mut off_held = expected_held.is_some().then_some(0.0);
    let (mut lost, mut left, mut change) = (0.0, 0.0, 0.0);
    for (layer, ours) in changes(&patched)? {
        let (weight, held) = (matrix(&weights, &layer)?, &held[&layer]);
        let of_layer: Vec<f64> =
            weight.iter().zip(held).map(|(w, q)| f64::from(*w) - f64::from(*q)).collect();
        let after: Vec<f64> = of_layer.iter().zip(&ours).map(|(lost, ours)| lost - ours).collect();
        let expected = &settings.layers[&layer];
        let more = |worst: &mut f64, value: f64| *worst = largest([*worst, value].into_iter());
        more(&mut lost, norm(&of_layer) / expected.lost - 1.0);
        more(&mut left, norm(&after) / expected.left - 1.0);
        more(&mut change, apart(&ours, &theirs, &layer)? / expected.lost);
        if let (Some(off), Some(all)) = (&mut off_held, &expected_held) {
            let theirs = matrix(all, &layer)?;
            let pairs = held.iter().zip(theirs);
            more(off, largest(pairs.map(|(ours, theirs)| f64::from(*ours) - f64::from(theirs))));
        }
    }
    let shown = match settings.double && settings.rounds == 1 {
        true => Some(shown(root, device, &settings, &weights, &theirs)?),
        false => None,
    };
    let rounds = settings.rounds;
    let mut measured = Measured {
        rounds,
        held: off_held,
        lost,
        left,
        change,
        shown,
        start: None,
        curve: None,
        trained: None,
    };
    if settings.is_compared() {
        let expected = read(&dir.join("expected.safetensors"))?;
        let own = batch(&read(&root.join("batch.safetensors"))?, true, device)?;
        measured.start = Some(logit_difference(&patched, &own, get(&expected, "before")?)?);
        let losses = Curve::of(dir)?.losses;
        let (patched, ours) = trained(patched, &own, losses.len(), RATE)?;
        measured.curve = Some(largest(ours.iter().zip(&losses).map(|(ours, it)| ours - it)));
        measured.trained = Some(logit_difference(&patched, &own, get(&expected, "after")?)?);
    }
    Ok(measured)
}

/// The largest difference of a change, relative to what the weight lost, of the model that was loaded in blocks.
fn shown(
    root: &Path,
    device: &Device,
    settings: &Settings,
    weights: &BTreeMap<String, Values>,
    theirs: &BTreeMap<String, Values>,
) -> Result<f64, Failure> {
    let at = Storage { device, dtype: WeightDtype::Nf4 };
    let (model, _) = CausalLm::load(root, at, &mut |_, _| {})?;
    let mut loftq = Loftq::new(&model, &settings.config())?;
    let layers: Vec<String> = loftq.layers().map(str::to_owned).collect();
    for layer in &layers {
        loftq.show(layer, &matrix(weights, layer)?)?;
    }
    let (patched, _) = loftq.patch(model)?;
    let mut worst = 0.0;
    for (layer, ours) in changes(&patched)? {
        let apart = apart(&ours, theirs, &layer)? / settings.layers[&layer].lost;
        worst = largest([worst, apart].into_iter());
    }
    Ok(worst)
}

/// `scale · A B` of every adapted layer, `[d_in, d_out]`.
fn changes(model: &CausalLm) -> Result<Vec<(String, Vec<f64>)>, Failure> {
    let mut changes = Vec::new();
    for (path, set) in sets(model) {
        let layer = path.strip_suffix(".weight").ok_or("an adapter on no weight")?;
        let adapter = set.iter().next().ok_or("a set without adapters")?;
        changes.push((layer.to_owned(), change(adapter)?));
    }
    Ok(changes)
}

fn change(adapter: &Adapter) -> Result<Vec<f64>, Failure> {
    let factor = |name: &str| -> Result<Vec<f32>, Failure> {
        let factor = adapter.factor::<2>(name).ok_or("an adapter without that factor")?;
        Ok(factor.val().try_into_vec_as::<f32>()?)
    };
    let (a, b) = (factor("a")?, factor("b")?);
    let ([d_in, d_out], rank) = (adapter.weight_shape(), adapter.rank());
    let entry = |at: usize| {
        let (i, o) = (at / d_out, at % d_out);
        let products = (0..rank).map(|k| f64::from(a[i * rank + k]) * f64::from(b[k * d_out + o]));
        adapter.scale() * products.sum::<f64>()
    };
    Ok((0..d_in * d_out).map(entry).collect())
}

/// The norm of the difference to PEFT's `B A`, of files' `[d_out, rank]` and `[rank, d_in]`.
fn apart(ours: &[f64], theirs: &BTreeMap<String, Values>, layer: &str) -> Result<f64, Failure> {
    let factor = |name: &str| get(theirs, &format!("base_model.model.{layer}.{name}.weight"));
    let (a, b) = (factor("lora_A")?, factor("lora_B")?);
    let (&[rank, d_in], &[d_out, _]) = (a.shape.as_slice(), b.shape.as_slice()) else {
        return Err(format!("`{layer}` has factors that are no matrices").into());
    };
    let difference = ours.iter().enumerate().map(|(at, ours)| {
        let (i, o) = (at / d_out, at % d_out);
        let products = (0..rank).map(|k| a.values[k * d_in + i] * b.values[o * rank + k]);
        ours - products.sum::<f64>()
    });
    Ok(norm(&difference.collect::<Vec<f64>>()))
}

/// A layer's weight, `[d_in, d_out]`; files have `[d_out, d_in]`.
fn matrix(tensors: &BTreeMap<String, Values>, layer: &str) -> Result<Vec<f32>, Failure> {
    let weight = get(tensors, &format!("{layer}.weight"))?;
    let &[d_out, d_in] = weight.shape.as_slice() else {
        return Err(format!("`{layer}` has a weight that is no matrix").into());
    };
    let at = |index: usize| weight.values[index % d_out * d_in + index / d_out] as f32;
    Ok((0..d_in * d_out).map(at).collect())
}

/// A matrix `[d_in, d_out]` as NF4 makes it whose blocks have their largest magnitude in f32: along the inputs, as bitsandbytes has it.
fn single(matrix: &Tensor<2>) -> FrozenWeight {
    let ([d_in, d_out], device) = (matrix.dims(), matrix.device());
    let values: Vec<f32> = matrix.clone().transpose().into_data().iter::<f32>().collect();
    let mut held = Vec::with_capacity(values.len());
    for block in values.chunks(BLOCK) {
        let magnitude = block.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        held.extend(block.iter().map(|value| level(value / magnitude) * magnitude));
    }
    let held = Tensor::<2>::from_data(TensorData::new(held, [d_out, d_in]), &device);
    held.transpose().into()
}

/// The nearest of the levels, the lower one halfway.
fn level(value: f32) -> f32 {
    let above = LEVELS.windows(2).filter(|pair| value > f32::midpoint(pair[0], pair[1])).count();
    LEVELS[above]
}
