//! Time per step, from a few products of the model's own shapes.
//!
//! Each shape of linear that the model has is multiplied once forward and once backward with as many rows
//! as a batch has tokens, on the device of the run. A step is the sum of those over the linears, plus
//! what is not a product of a weight: the low-rank products and attention, taken at the pace that the
//! measured products had, and passes over activations and over what is trained, at the pace of adding to
//! a tensor.
//!
//! Left out: reading the model, evaluations and checkpoints.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};
use burn_lora::FrozenWeight;
use burn_lora_models::WeightDtype;
use burn_lora_models::footprint::{BatchShape, Learned};
use serde::Serialize;

use super::Outline;
use super::batches::Batches;
use crate::TrainError;
use crate::learner::Objective;
use crate::prepare::ReadRun;

/// Rows of a measured product, at most: beyond it the pace no longer changes.
const ROWS: usize = 1024;

/// Seconds for which each product is repeated, at least: a processor is faster for a moment than for a run.
const MEASURED: f64 = 0.1;

/// Operations on every trained value that a step makes after its gradients: norm and clipping, two
/// moments, the update, decay.
const UPDATES: f64 = 16.0;

/// How fast a run will be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pace {
    /// Of the mean step.
    pub seconds_per_step: f64,
    /// Tokens of the mean step, padding included.
    pub tokens_per_step: f64,
    /// Floating-point operations a second of the measured products together.
    pub flops_per_second: f64,
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seconds_per_step, tokens_per_step, flops_per_second } = self;
        write!(
            f,
            "time: {seconds_per_step:.2} s a step of {tokens_per_step:.0} tokens (products at {:.0} GFLOP/s)",
            flops_per_second / 1e9
        )
    }
}

/// Seconds of one row of a linear's products.
#[derive(Debug, Clone, Copy)]
struct PerRow {
    forward: f64,
    input_gradient: f64,
}

/// Measures the products and adds up a mean step; none where there is no step.
pub(super) fn measured<M: Objective>(
    run: &ReadRun<M::Batch>,
    outline: &Outline<M>,
    batches: &Batches,
) -> Result<Option<Pace>, TrainError> {
    if batches.looked_at == 0 {
        return Ok(None);
    }
    let steps = batches.looked_at as f64;
    let tokens: usize = batches.training.iter().map(BatchShape::tokens).sum();
    let rows = (tokens / batches.training.len().max(1)).clamp(1, ROWS);
    let device = run.device.clone().inner();
    let dtype = run.config.model.dtype;
    let mut shapes = BTreeMap::new();
    let mut total = (0.0, 0.0);
    for linear in outline.scan.linears() {
        let shape = (linear.d_in, linear.d_out);
        if let Entry::Vacant(place) = shapes.entry(shape) {
            let per_row = *place.insert(products(rows, shape, dtype, &device)?);
            total.0 += 4.0 * (shape.0 * shape.1) as f64;
            total.1 += per_row.forward + per_row.input_gradient;
        }
    }
    let cost = outline.model.config().cost();
    let head_row = products(rows.min(128), cost.head(), dtype, &device)?;
    let flops_per_second = total.0 / total.1;
    let values_per_second = adding(&device)?;

    let mut seconds = 0.0;
    for batch in &batches.training {
        let rows = batch.tokens() as f64;
        let mut tracked = outline.report.is_none();
        // Logits are formed for targets only, as added below.
        for linear in outline.scan.linears().iter().filter(|linear| !cost.is_of_head(&linear.path))
        {
            let Some(per_row) = shapes.get(&(linear.d_in, linear.d_out)) else { continue };
            seconds += rows * per_row.forward;
            if tracked {
                seconds += rows * per_row.input_gradient;
            }
            match outline.learned(&linear.path) {
                Learned::Nothing => continue,
                // The weight's gradient is a product of the same size.
                Learned::Whole => seconds += rows * per_row.input_gradient,
                Learned::Factors { rank, .. } => {
                    let flops = 6 * rank * (linear.d_in + linear.d_out);
                    seconds += rows * flops as f64 / flops_per_second;
                }
            }
            tracked = true;
        }
        let targets = batch.targets as f64;
        seconds += targets * (head_row.forward + head_row.input_gradient);
        seconds += cost.attention_flops(batch) / flops_per_second;
        let kept = outline.footprint(batch).kept as f64 / 4.0;
        seconds += cost.passes() * kept / values_per_second;
    }
    let trained = outline.trainable() as f64;
    seconds += steps * UPDATES * trained / values_per_second;
    Ok(Some(Pace {
        seconds_per_step: seconds / steps,
        tokens_per_step: tokens as f64 / steps,
        flops_per_second,
    }))
}

/// Seconds a row of `x W` and of `dy Wᵀ`, W: `[d_in, d_out]`.
fn products(
    rows: usize,
    (d_in, d_out): (usize, usize),
    dtype: WeightDtype,
    device: &Device,
) -> Result<PerRow, TrainError> {
    let random = |shape| Tensor::<2>::random(shape, Distribution::Uniform(-1.0, 1.0), device);
    let (x, dy, weight) = (random([rows, d_in]), random([rows, d_out]), random([d_in, d_out]));
    let weight = FrozenWeight::from(weight.cast(dtype.dtype()));
    let forward = mean(device, || weight.multiply(x.clone()))?;
    let input_gradient = mean(device, || weight.multiply_transposed(dy.clone()))?;
    let rows = rows as f64;
    Ok(PerRow { forward: forward / rows, input_gradient: input_gradient / rows })
}

/// Values a second that one is added to in tensors of 16 MiB.
fn adding(device: &Device) -> Result<f64, TrainError> {
    const VALUES: usize = 1 << 22;
    let x = Tensor::<1>::ones([VALUES], device);
    let seconds = mean(device, || x.clone().add_scalar(1.0))?;
    Ok(VALUES as f64 / seconds)
}

/// Seconds that it takes on average.
fn mean<const D: usize>(
    device: &Device,
    compute: impl Fn() -> Tensor<D>,
) -> Result<f64, TrainError> {
    let sync = || device.sync().map_err(TrainError::burn("waiting for the device"));
    // The first one may compile, or wake threads up.
    drop(compute());
    sync()?;
    let started = Instant::now();
    let mut count = 0.0;
    loop {
        drop(compute());
        sync()?;
        count += 1.0;
        let seconds = started.elapsed().as_secs_f64();
        if seconds >= MEASURED {
            return Ok(seconds / count);
        }
    }
}
