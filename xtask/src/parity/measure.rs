//! The differences of one adapter from PEFT's numbers.

use std::collections::BTreeMap;

use burn::module::{ModuleMapper, Param, ParamId};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use burn_lora::{Adapter, sets};
use burn_lora_models::{
    Architecture, CausalLm, Classifier, Decoder, Model, ModelError, SequenceClassifier,
};
use burn_lora_patch::peft::{self, LoadOptions};
use burn_lora_patch::{Layout, ParamRole, PatchError, Scan, merge_and_unload, trainable_ids};

use super::fixture::{Curve, Fixture, Values, read};
use super::table::Cell;
use super::{CURVE, GRADIENTS, LEAST_STEPS, LOGITS};

/// The largest differences; see the tolerances for what they are relative to.
pub struct Measured {
    pub base: f64,
    pub adapted: f64,
    pub merged: f64,
    pub gradients: f64,
    pub curve: f64,
    /// How many steps of the curve are determined, and so compared.
    pub steps: usize,
}

impl Measured {
    pub fn cells(&self) -> Vec<Cell> {
        let logits = [self.base, self.adapted, self.merged].map(|it| Cell::Within(it, LOGITS));
        let learned = [
            Cell::Within(self.gradients, GRADIENTS),
            Cell::Within(self.curve, CURVE),
            Cell::AtLeast(self.steps, LEAST_STEPS),
        ];
        logits.into_iter().chain(learned).collect()
    }
}

/// How far a start is moved, relative to its size, to see which steps float32 determines: about the
/// difference of two correct computations of one gradient.
const NUDGE: f64 = 1e-6;

/// Why there are none.
pub enum Failure {
    /// A kind of model or adapter that is not here yet.
    Unsupported(String),
    /// Something that should have worked.
    Failed(String),
}

impl<E: std::fmt::Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

/// What the model reads, and what it is scored on.
pub(super) struct Batch {
    ids: Tensor<2, Int>,
    lengths: Vec<usize>,
    /// Rows of the flat logits that are no padding.
    rows: Vec<i32>,
    /// Rows of the flat logits that carry loss, and their classes.
    targets: (Vec<i32>, Vec<i32>),
}

/// A model of either kind: flat logits, `[rows, classes]`.
pub(super) trait Logits: Model {
    fn flat(&self, batch: &Batch) -> Tensor<2>;
}

impl Logits for CausalLm {
    fn flat(&self, batch: &Batch) -> Tensor<2> {
        let logits = self.logits(self.hidden(batch.ids.clone(), &batch.lengths, None));
        let [rows, tokens, classes] = logits.dims();
        logits.reshape([rows * tokens, classes])
    }
}

impl Logits for SequenceClassifier {
    fn flat(&self, batch: &Batch) -> Tensor<2> {
        self.logits(batch.ids.clone(), &batch.lengths)
    }
}

pub fn measure(fixture: &Fixture, device: &Device) -> Result<Measured, Failure> {
    match Architecture::of_dir(&fixture.dir) {
        Ok(architecture) if architecture.is_causal() => compare::<CausalLm>(fixture, true, device),
        Ok(_) => compare::<SequenceClassifier>(fixture, false, device),
        Err(error @ ModelError::UnknownArchitecture { .. }) => {
            Err(Failure::Unsupported(error.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

fn compare<M: Logits>(
    fixture: &Fixture,
    causal: bool,
    device: &Device,
) -> Result<Measured, Failure> {
    let (model, _) = M::load(&fixture.dir, device, &mut |_, _| {})?;
    let batch = batch(&read(&fixture.dir.join("batch.safetensors"))?, causal, device)?;
    let base = read(&fixture.dir.join("base.safetensors"))?;
    let expected = read(&fixture.adapter_dir().join("expected.safetensors"))?;
    let base = logit_difference(&model, &batch, get(&base, "logits")?)?;

    let mut model = model;
    let options = LoadOptions::new().with_trainable(true);
    match peft::load(&mut model, fixture.adapter_dir(), &options) {
        Ok(_) => {}
        Err(error @ PatchError::Unsupported { .. }) => {
            return Err(Failure::Unsupported(error.to_string()));
        }
        Err(error) => return Err(error.into()),
    }
    let adapted = logit_difference(&model, &batch, get(&expected, "logits")?)?;
    let gradients = gradient_difference(&model, &batch, &expected)?;
    let unloaded = merge_and_unload(model.clone())?;
    let merged = logit_difference(&unloaded, &batch, get(&expected, "merged_logits")?)?;
    let (curve, steps) = curve_difference(model, &batch, &fixture.curve()?, CURVE)?;
    Ok(Measured { base, adapted, merged, gradients, curve, steps })
}

pub(super) fn batch(
    tensors: &BTreeMap<String, Values>,
    causal: bool,
    device: &Device,
) -> Result<Batch, Failure> {
    let ids = get(tensors, "input_ids")?;
    let &[rows, width] = ids.shape.as_slice() else {
        return Err("input_ids are not [rows, tokens]".into());
    };
    let mask = get(tensors, "attention_mask")?;
    let lengths: Vec<usize> = mask
        .values
        .chunks(width)
        .map(|row| row.iter().filter(|&&kept| kept != 0.0).count())
        .collect();
    let labels = &get(tensors, "labels")?.values;
    let mut targets = (Vec::new(), Vec::new());
    let flat_rows = if causal {
        for (at, label) in labels.iter().enumerate() {
            // Position t predicts the label at t + 1; PyTorch leaves -100 out.
            if at % width > 0 && *label >= 0.0 {
                targets.0.push(at as i32 - 1);
                targets.1.push(*label as i32);
            }
        }
        let position =
            |row: usize, length: usize| (0..length).map(move |at| (row * width + at) as i32);
        lengths.iter().enumerate().flat_map(|(row, &length)| position(row, length)).collect()
    } else {
        targets = (0..rows as i32).zip(labels.iter().map(|&label| label as i32)).unzip();
        (0..rows as i32).collect()
    };
    let ids: Vec<i32> = ids.values.iter().map(|&id| id as i32).collect();
    let ids = Tensor::from_data(TensorData::new(ids, [rows, width]), device);
    Ok(Batch { ids, lengths, rows: flat_rows, targets })
}

pub(super) fn get<'a>(
    tensors: &'a BTreeMap<String, Values>,
    key: &str,
) -> Result<&'a Values, String> {
    tensors.get(key).ok_or_else(|| format!("the file has no `{key}`"))
}

fn index(values: &[i32], device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

/// The largest absolute difference over the rows that are no padding.
pub(super) fn logit_difference<M: Logits>(
    model: &M,
    batch: &Batch,
    expected: &Values,
) -> Result<f64, Failure> {
    let logits = model.flat(batch);
    let [_, classes] = logits.dims();
    let kept = logits.clone().select(0, index(&batch.rows, &logits.device()));
    let got: Vec<f32> = kept.into_data().try_to_vec()?;
    let expected = batch.rows.iter().flat_map(|&row| {
        let first = row as usize * classes;
        &expected.values[first..first + classes]
    });
    Ok(largest(got.iter().zip(expected).map(|(&got, &expected)| f64::from(got) - expected)))
}

/// All logits.
pub(super) fn logits<M: Logits>(model: &M, batch: &Batch) -> Result<Values, Failure> {
    let logits = model.flat(batch);
    let shape = logits.dims().to_vec();
    let values: Vec<f32> = logits.into_data().try_to_vec()?;
    Ok(Values { shape, values: values.into_iter().map(f64::from).collect() })
}

fn loss<M: Logits>(model: &M, batch: &Batch) -> Tensor<1> {
    let logits = model.flat(batch);
    let device = logits.device();
    let (rows, classes) = &batch.targets;
    let classes = index(classes, &device).reshape([classes.len(), 1]);
    let log_probabilities = activation::log_softmax(logits.select(0, index(rows, &device)), 1);
    log_probabilities.gather(1, classes).mean().neg()
}

/// PEFT's gradient of a parameter. A factor of a table that is adapted as one with the head stands in PEFT for two in one
/// memory, each with what its own place teaches: it learns their sum.
fn learned(
    expected: &BTreeMap<String, Values>,
    key: &str,
    is_tied: bool,
) -> Result<Values, String> {
    // PEFT's files leave out `.weight` after some names that its parameters have it in.
    let own = get(expected, &format!("grad.{key}"))
        .or_else(|_| get(expected, &format!("grad.{key}.weight")))?;
    let mut own = own.clone();
    // The table's change is A B, and the head's the same turned: its B is the table's A, and its A the table's B.
    let of_head = [("lora_embedding_A", "lora_B"), ("lora_embedding_B", "lora_A")]
        .into_iter()
        .find_map(|(table, head)| (is_tied && key.ends_with(table)).then_some(head));
    if let (Some(factor), &[_, columns]) = (of_head, own.shape.as_slice()) {
        let head = get(expected, &format!("grad.base_model.model.lm_head.{factor}.weight"))?;
        let rows = own.values.len() / columns;
        for (at, value) in own.values.iter_mut().enumerate() {
            *value += head.values[at % columns * rows + at / columns];
        }
    }
    Ok(own)
}

/// The largest difference of any gradient, relative to the largest entry of PEFT's.
fn gradient_difference<M: Logits>(
    model: &M,
    batch: &Batch,
    expected: &BTreeMap<String, Values>,
) -> Result<f64, Failure> {
    let grads = GradientsParams::from_grads(loss(model, batch).backward(), model);
    let ids = trainable_ids(model);
    let scan = Scan::of(model);
    // Factors and weights of linears lie the other way round in PEFT's files, tables as they do here.
    let turned = |id: ParamId| {
        let param = scan.params().iter().find(|param| param.id == id);
        param.is_some_and(|it| it.role == ParamRole::Factor || it.layout == Some(Layout::InOut))
    };
    // Rows of a table are the head's too, but stand there once.
    let of_both = |adapter: &Adapter| adapter.is_tied() && adapter.token_ids().is_none();
    let is_tied = sets(model).iter().any(|(_, set)| set.iter().any(of_both));
    let known = expected.keys().filter(|key| key.starts_with("grad.")).count();
    if known != ids.len() + if is_tied { 2 } else { 0 } {
        return Err(format!("{} trainable tensors, PEFT has {known}", ids.len()).into());
    }
    let mut worst = 0.0_f64;
    for (key, id) in ids {
        let expected = learned(expected, &key, is_tied)?;
        let got = gradient(&grads, id, expected.shape.len(), turned(id))
            .ok_or_else(|| format!("`{key}` has no gradient"))?;
        let got: Vec<f32> = got.try_to_vec()?;
        let scale = largest(expected.values.iter().copied()).max(f64::MIN_POSITIVE);
        let difference =
            largest(got.iter().zip(&expected.values).map(|(&got, &e)| f64::from(got) - e));
        worst = worst.max(difference / scale);
    }
    Ok(worst)
}

/// The gradient in PEFT's layout, of a parameter whose rows and columns are exchanged there or not.
fn gradient(
    grads: &GradientsParams,
    id: ParamId,
    dimensions: usize,
    turned: bool,
) -> Option<TensorData> {
    match dimensions {
        1 => Some(grads.get::<1>(id)?.into_data()),
        2 if turned => Some(grads.get::<2>(id)?.transpose().into_data()),
        2 => Some(grads.get::<2>(id)?.into_data()),
        _ => None,
    }
}

/// The largest absolute difference of the losses of PEFT's steps, and the number of steps compared.
///
/// AdamW divides each gradient by its own size, so an entry near zero steps by its sign, and
/// rounding decides it: from some step on, two correct float32 runs drift apart (PEFT's from itself
/// with another number of threads, too). The curve is compared for as long as moving the start up by
/// [`NUDGE`] moves it by less than a tenth of `tolerance`; one that leaves PEFT's before that, for as
/// long as moving it by turns up and down does.
fn curve_difference<M: Logits>(
    model: M,
    batch: &Batch,
    expected: &Curve,
    tolerance: f64,
) -> Result<(f64, usize), Failure> {
    let ours = curve(model.clone(), batch, expected)?;
    let nudged = Nudge::ALL.map(|mut nudge| curve(model.clone().map(&mut nudge), batch, expected));
    let nudged = nudged.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(determined(&ours, &nudged, &expected.losses, tolerance))
}

/// The largest absolute difference of the losses before a nudge shows, and how many those are: the first nudge, and the others as well
/// where the difference is beyond the tolerance so.
pub(super) fn determined(
    ours: &[f64],
    nudged: &[Vec<f64>],
    expected: &[f64],
    tolerance: f64,
) -> (f64, usize) {
    let mut steps = expected.len();
    let mut off = 0.0;
    for nudged in nudged {
        let mut pairs = ours.iter().zip(nudged);
        let shows = pairs.position(|(ours, nudged)| (ours - nudged).abs() > tolerance / 10.0);
        steps = steps.min(shows.unwrap_or(steps));
        off = largest(ours.iter().zip(expected).take(steps).map(|(o, e)| o - e));
        if off <= tolerance {
            break;
        }
    }
    (off, steps)
}

/// The losses before each of as many steps.
fn curve<M: Logits>(model: M, batch: &Batch, like: &Curve) -> Result<Vec<f64>, Failure> {
    let steps = like.losses.len();
    let (_, losses) = match like.descent {
        Some(rate) => stepped(SgdConfig::new().init(), model, batch, steps, rate)?,
        None => trained(model, batch, steps, 1e-2)?,
    };
    Ok(losses)
}

/// The model after as many AdamW steps at that rate, and the losses before each.
pub(super) fn trained<M: Logits>(
    model: M,
    batch: &Batch,
    steps: usize,
    rate: f64,
) -> Result<(M, Vec<f64>), Failure> {
    let optimizer = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.0).init();
    stepped(optimizer, model, batch, steps, rate)
}

fn stepped<M: Logits>(
    mut optimizer: ModuleOptimizer,
    mut model: M,
    batch: &Batch,
    steps: usize,
    rate: f64,
) -> Result<(M, Vec<f64>), Failure> {
    let mut losses = Vec::with_capacity(steps);
    for _ in 0..steps {
        let loss = loss(&model, batch);
        losses.push(f64::from(loss.clone().try_into_scalar::<f32>()?));
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(rate, model, grads);
    }
    Ok((model, losses))
}

/// Moves every trainable parameter by [`NUDGE`], relative to it.
#[derive(Clone, Copy)]
pub(super) enum Nudge {
    Up,
    /// One value up, the next down.
    Turns,
}

impl Nudge {
    pub(super) const ALL: [Self; 2] = [Self::Up, Self::Turns];

    /// What the value at that place is multiplied by.
    fn factor(self, place: usize) -> f32 {
        let up = match self {
            Self::Up => true,
            Self::Turns => place.is_multiple_of(2),
        };
        (if up { 1.0 + NUDGE } else { 1.0 - NUDGE }) as f32
    }
}

impl ModuleMapper for Nudge {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !param.is_require_grad() {
            return param;
        }
        param.map(|value| {
            let shape = value.shape();
            let factors: Vec<f32> = (0..shape.num_elements()).map(|at| self.factor(at)).collect();
            let factors = Tensor::from_data(TensorData::new(factors, shape), &value.device());
            (value * factors).detach().require_grad()
        })
    }
}

/// The Euclidean norm.
pub(super) fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// A tensor of a file as a parameter.
pub(super) fn param<const D: usize>(
    tensors: &BTreeMap<String, Values>,
    key: &str,
    device: &Device,
) -> Result<Param<Tensor<D>>, Failure> {
    Ok(Param::from_tensor(tensor(get(tensors, key)?, device)))
}

/// A tensor of a file.
pub(super) fn tensor<const D: usize>(values: &Values, device: &Device) -> Tensor<D> {
    let numbers: Vec<f32> = values.values.iter().map(|value| *value as f32).collect();
    Tensor::from_data(TensorData::new(numbers, values.shape.clone()), device)
}

/// The largest absolute value; not a number where one of them is none.
pub fn largest(values: impl Iterator<Item = f64>) -> f64 {
    // `f64::max` would pass over NaN.
    values.fold(
        0.0,
        |largest, value| {
            if value.abs() > largest || value.is_nan() { value.abs() } else { largest }
        },
    )
}
