//! Initialisations that start in a part of the base, against PEFT's: the folders of `fixtures/init`.
//!
//! PEFT's draws are others, so that of a randomised start only what no draw changes is compared: the output at the start,
//! how much of the weights is left, and what PEFT saves, converted, on the base as it was.

use std::collections::BTreeMap;

use burn::tensor::Device;
use burn_lora::{Adapter, AdapterConfig, Init, sets};
use burn_lora_models::{CausalLm, Model};
use burn_lora_patch::peft::{self, LoadOptions, read_config};
use burn_lora_patch::{LoraConfig, patch};

use super::LOGITS;
use super::fixture::{Fixture, RESIDUAL as LEFT_BEHIND, Values, read};
use super::measure::{
    Batch, Failure, batch, get, largest, logit_difference, logits, norm, trained,
};
use super::table::{Cell, Tables};

/// The largest difference of an entry of a weight that a start leaves in the base, that passes.
const RESIDUAL: f64 = 1e-5;
/// The largest relative difference of how much of the weights a randomised start leaves, that passes.
const LEFT: f64 = 0.02;
/// The largest difference of a logit after the steps that passes: a step moves a factor by the learning rate in the
/// direction of a gradient's sign, which rounding decides where the gradient is next to nothing.
pub const TRAINED: f64 = 1e-3;
/// The largest difference of a loss that passes.
pub const CURVE: f64 = 1e-4;
/// PEFT's learning rate.
pub const RATE: f64 = 1e-3;

/// The largest differences; none of what the start does not determine.
pub struct Measured {
    /// Of the logits right after the initialisation.
    pub start: f64,
    /// Of the weights left in the base; of a randomised start, of their norm, relative to it.
    pub residual: f64,
    /// Of the losses of the steps.
    pub curve: Option<f64>,
    /// Of the logits after them.
    pub trained: Option<f64>,
    /// Of the logits of what we save then, on the base as it was, to those of the trained model.
    pub saved: f64,
    /// Of the logits of what PEFT saved, on the base as it was.
    pub converted: Option<f64>,
}

impl Measured {
    fn cells(&self, init: Init) -> Vec<Cell> {
        vec![
            Cell::Within(self.start, LOGITS),
            Cell::Within(self.residual, if is_drawn(init) { LEFT } else { RESIDUAL }),
            Cell::within(self.curve, CURVE),
            Cell::within(self.trained, TRAINED),
            Cell::Within(self.saved, LOGITS),
            Cell::within(self.converted, LOGITS),
        ]
    }
}

/// The table of these.
pub fn compare(fixtures: &[Fixture], device: &Device, tables: &mut Tables) {
    let columns = ["logits", "residual", "curve", "trained", "saved", "PEFT's saved"];
    let lines = |fixture: &Fixture| {
        let init = fixture.adapter.parse::<Init>()?;
        Ok(vec![(fixture.name(), measure(fixture, init, device)?.cells(init))])
    };
    let tolerances = format!(
        "logits {LOGITS:.0e}, residual {RESIDUAL:.0e} (of a randomised start, its norm: {LEFT}), curve {CURVE:.0e}, trained {TRAINED:.0e}"
    );
    tables.print(("model | start", &columns), fixtures, Fixture::name, lines, &tolerances);
}

/// Whether every start of that kind on a weight is the same, but for signs.
fn is_determined(init: Init) -> bool {
    matches!(init, Init::Pissa | Init::Olora)
}

/// Whether what is left of the weight is another one with every draw.
fn is_drawn(init: Init) -> bool {
    matches!(init, Init::PissaNiter(_))
}

/// Compares.
pub fn measure(fixture: &Fixture, init: Init, device: &Device) -> Result<Measured, Failure> {
    let base = || CausalLm::load(&fixture.dir, device, &mut |_, _| {}).map(|(model, _)| model);
    let batch = batch(&read(&fixture.dir.join("batch.safetensors"))?, true, device)?;
    let dir = fixture.adapter_dir();
    let expected = read(&dir.join("expected.safetensors"))?;

    let plain = read_config(dir.join("before"))?.to_config();
    let plain = plain.map_err(|settings| settings.join(", "))?.config;
    let adapter = AdapterConfig::new(plain.adapter.rank).with_alpha(plain.adapter.alpha);
    let config = LoraConfig::from(adapter.with_init(init)).with_targets(plain.targets);
    let mut model = base()?;
    patch(&mut model, &config)?;
    let start = logit_difference(&model, &batch, get(&expected, "before")?)?;
    let weights = read(&fixture.dir.join("model.safetensors"))?;
    let residual = residual(&model, &weights, &read(&dir.join(LEFT_BEHIND))?, init)?;

    let losses = fixture.curve()?.losses;
    let (model, ours) = trained(model, &batch, losses.len(), RATE)?;
    let after = logit_difference(&model, &batch, get(&expected, "after")?)?;
    let curve = largest(ours.iter().zip(&losses).map(|(ours, losses)| ours - losses));
    let saved = saved(&model, base()?, &batch)?;
    let converted = match get(&expected, "converted") {
        Ok(logits) => {
            let mut model = base()?;
            peft::load(&mut model, dir.join("after"), &LoadOptions::new())?;
            Some(logit_difference(&model, &batch, logits)?)
        }
        Err(_) => None,
    };
    let determined = |value| is_determined(init).then_some(value);
    let (curve, trained) = (determined(curve), determined(after));
    Ok(Measured { start, residual, curve, trained, saved, converted })
}

/// What the adapter of the model is on the base as it was, once it is saved, against what it is on its own.
fn saved(model: &CausalLm, mut base: CausalLm, batch: &Batch) -> Result<f64, Failure> {
    let dir = tempfile::tempdir()?;
    peft::save(model, dir.path(), &peft::config_of(model, None)?)?;
    peft::load(&mut base, dir.path(), &LoadOptions::new())?;
    logit_difference(&base, batch, &logits(model, batch)?)
}

/// What is left of every adapted weight, against PEFT's.
fn residual(
    model: &CausalLm,
    weights: &BTreeMap<String, Values>,
    expected: &BTreeMap<String, Values>,
    init: Init,
) -> Result<f64, Failure> {
    let sets = sets(model);
    if sets.len() != expected.len() {
        return Err(format!("{} adapted weights, PEFT has {}", sets.len(), expected.len()).into());
    }
    let mut worst = 0.0_f64;
    for (path, set) in sets {
        let adapter = set.iter().next().ok_or("a set without adapters")?;
        let expected = &get(expected, &path)?.values;
        let left = left(get(weights, &path)?, adapter)?;
        let difference = if is_drawn(init) {
            norm(&left) / norm(expected) - 1.0
        } else {
            largest(left.iter().zip(expected).map(|(left, expected)| left - expected))
        };
        worst = largest([worst, difference].into_iter());
    }
    Ok(worst)
}

/// `W - scale A B` of the factors that training starts from, `[d_out, d_in]` as files have it.
fn left(weight: &Values, adapter: &Adapter) -> Result<Vec<f64>, Failure> {
    let mut left = weight.values.clone();
    let beside = |name: &str| -> Result<Option<Vec<f32>>, Failure> {
        let factor = adapter.method().factor(name).ok_or("an adapter without that factor")?;
        Ok(match adapter.beside(factor) {
            Some(tensor) => Some(tensor.clone().try_into_vec_as::<f32>()?),
            None => None,
        })
    };
    // B stands there with the other sign.
    let (Some(a), Some(b)) = (beside("a")?, beside("b")?) else { return Ok(left) };
    let ([d_in, d_out], rank) = (adapter.weight_shape(), adapter.rank());
    for output in 0..d_out {
        for input in 0..d_in {
            let products = (0..rank)
                .map(|k| f64::from(a[input * rank + k]) * f64::from(b[k * d_out + output]));
            left[output * d_in + input] += adapter.scale() * products.sum::<f64>();
        }
    }
    Ok(left)
}
