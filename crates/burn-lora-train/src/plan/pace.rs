//! Time per step, from a few products of the model's own shapes.
//!
//! Each shape of linear that the model has is multiplied once forward and once backward with as many rows
//! as a batch has tokens, on the device of the run. A step is the sum of those over the linears, plus
//! what is not a product of a weight: the products that the kind of adapter makes and attention, taken at the pace that the
//! measured products had, and passes over activations and over what is trained, at the pace of adding to
//! a tensor. Where blocks are recomputed, their forward pass is added once more.
//!
//! Left out: reading the model, evaluations and checkpoints.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};
use burn_lora_models::footprint::{BatchShape, Learned};
use burn_lora_models::weights::Role;
use burn_lora_models::{Recompute, WeightDtype};
use serde::Serialize;

use super::Outline;
use super::batches::Batches;
use crate::TrainError;
use crate::learner::TrainableModel;
use crate::prepare::ReadRun;

/// Rows of a measured product, at most: beyond it the pace no longer changes.
const ROWS: usize = 1024;

/// Seconds for which each product is repeated, at least: a processor is faster for a moment than for a run.
const MEASURED: f64 = 0.1;

/// Operations on every trained value that a step makes after its gradients: norm and clipping, two
/// moments, the update, decay.
const UPDATES: f64 = 16.0;

/// The share of the forward pass in the passes over what layers keep.
const FORWARD: f64 = 1.0 / 3.0;

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

/// What a device was found to do.
#[derive(Debug)]
struct Speeds {
    /// Of the linears, by `(d_in, d_out)`.
    products: BTreeMap<(usize, usize), PerRow>,
    /// Of the output head.
    head: PerRow,
    flops_per_second: f64,
    values_per_second: f64,
}

/// Measures the products and adds up a mean step; none where there is no step.
pub(super) fn measured<M: TrainableModel>(
    run: &ReadRun<M>,
    outline: &Outline<M>,
    batches: &Batches,
) -> Result<Option<Pace>, TrainError> {
    if batches.looked_at == 0 {
        return Ok(None);
    }
    let rows = batches.tokens() / batches.training.len().max(1);
    let device = run.device.clone().inner();
    let speeds = Speeds::measured(outline, rows.clamp(1, ROWS), run.config.model.held(), &device)?;
    Ok(Some(speeds.pace(outline, batches, run.config.train.recompute)))
}

/// The share of a step's operations in products that recomputing adds to them; 0 where there is no step.
pub(super) fn recomputed<M: TrainableModel>(
    outline: &Outline<M>,
    batches: &Batches,
    recompute: Recompute,
) -> f64 {
    let speeds = Speeds::counting(outline);
    let [all, once] = [recompute, Recompute::None]
        .map(|recompute| speeds.pace(outline, batches, recompute).seconds_per_step);
    if once > 0.0 { all / once - 1.0 } else { 0.0 }
}

impl Batches {
    /// Of all steps that were looked at, padding included.
    fn tokens(&self) -> usize {
        self.training.iter().map(BatchShape::tokens).sum()
    }
}

impl Speeds {
    fn measured<M: TrainableModel>(
        outline: &Outline<M>,
        rows: usize,
        dtype: WeightDtype,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let mut measured = BTreeMap::new();
        let (mut flops, mut seconds) = (0.0, 0.0);
        for linear in outline.scan.linears() {
            let shape = (linear.d_in, linear.d_out);
            if let Entry::Vacant(place) = measured.entry(shape) {
                let per_row = *place.insert(products(rows, shape, dtype, device)?);
                flops += 4.0 * (shape.0 * shape.1) as f64;
                seconds += per_row.forward + per_row.input_gradient;
            }
        }
        let head = outline.model.config().cost().head();
        Ok(Self {
            products: measured,
            head: products(rows.min(128), head, dtype.of_role(Role::Embedding), device)?,
            flops_per_second: flops / seconds,
            values_per_second: adding(device)?,
        })
    }

    /// Those with which a second is a floating-point operation of a product, and nothing else takes time.
    fn counting<M: TrainableModel>(outline: &Outline<M>) -> Self {
        let per_row = |(d_in, d_out): (usize, usize)| {
            let flops = 2.0 * d_in as f64 * d_out as f64;
            PerRow { forward: flops, input_gradient: flops }
        };
        let shapes = outline.scan.linears().iter().map(|linear| (linear.d_in, linear.d_out));
        Self {
            products: shapes.map(|shape| (shape, per_row(shape))).collect(),
            head: per_row(outline.model.config().cost().head()),
            flops_per_second: 1.0,
            values_per_second: f64::INFINITY,
        }
    }

    /// A mean step of the batches that were looked at, without what ranks exchange.
    fn pace<M: TrainableModel>(
        &self,
        outline: &Outline<M>,
        batches: &Batches,
        recompute: Recompute,
    ) -> Pace {
        let cost = outline.model.config().cost();
        let steps = batches.looked_at as f64;
        let mut seconds = 0.0;
        for batch in &batches.training {
            let rows = batch.tokens() as f64;
            let mut tracked = outline.report.is_none();
            // Of the linears: the operations of all forward passes, and of those taken again.
            let (mut once, mut again) = (0.0, 0.0);
            // Logits are formed for targets only, as added below.
            for linear in outline.scan.linears().iter().filter(|l| !cost.is_of_head(&l.path)) {
                let shape = (linear.d_in, linear.d_out);
                let Some(per_row) = self.products.get(&shape) else { continue };
                seconds += rows * per_row.forward;
                if tracked {
                    seconds += rows * per_row.input_gradient;
                }
                let learned = outline.learned(&linear.path);
                tracked |= learned != Learned::Nothing;
                let recomputed = tracked && recompute == Recompute::Block;
                let flops = (linear.d_in * linear.d_out) as f64;
                once += flops;
                if recomputed {
                    again += flops;
                    seconds += rows * per_row.forward;
                }
                match learned {
                    Learned::Nothing | Learned::Rows => {}
                    // The weight's gradient is a product of the same size.
                    Learned::Whole => seconds += rows * per_row.input_gradient,
                    Learned::Factors { rank, .. } => {
                        let products = outline.products(shape, rank);
                        // Forward once more where they are made again.
                        let passes = if recomputed { 2.0 } else { 1.0 };
                        let forward = rows * products.forward as f64 + products.once as f64;
                        let backward = rows * products.backward as f64;
                        let flops = 2.0 * (passes * forward + backward);
                        seconds += flops / self.flops_per_second;
                    }
                }
            }
            seconds += batch.targets as f64 * (self.head.forward + self.head.input_gradient);
            let attention = cost.attention_flops(batch);
            let attention_again = cost.attention_forward_flops(batch) * again / f64::max(once, 1.0);
            seconds += (attention + attention_again) / self.flops_per_second;
            let step = outline.footprint(batch);
            let mut passed = cost.passes() * (step.kept + step.again) as f64;
            if recompute == Recompute::Block {
                let blocks = step.blocks.kept + step.blocks.again;
                passed += FORWARD * cost.passes() * blocks as f64;
            }
            seconds += passed / 4.0 / self.values_per_second;
        }
        seconds *= batches.share;
        seconds += steps * UPDATES * outline.trainable() as f64 / self.values_per_second;
        Pace {
            seconds_per_step: seconds / steps,
            tokens_per_step: batches.tokens() as f64 / steps,
            flops_per_second: self.flops_per_second,
        }
    }
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
    // Numbers of at most 1 fit every format, and the base is on this device.
    let Some(weight) = dtype.frozen(weight) else {
        return Ok(PerRow { forward: 0.0, input_gradient: 0.0 });
    };
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

#[cfg(test)]
mod tests {
    use burn_lora_models::{CausalConfig, CausalLm, Model, ModelConfig};

    use super::*;
    use burn_lora_config::RunConfig;

    /// A second for a row of any linear's product and ten for its gradient's, 100 and 1000 for the
    /// head's; an operation and a value a second.
    const SPEEDS: PerRow = PerRow { forward: 1.0, input_gradient: 10.0 };

    fn seconds_per_step(adapter: &str, recompute: Recompute) -> f64 {
        seconds_of_share(1.0, adapter, recompute)
    }

    fn seconds_of_share(share: f64, adapter: &str, recompute: Recompute) -> f64 {
        let text = r#"{"model_type": "llama", "vocab_size": 32, "hidden_size": 8,
            "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "num_key_value_heads": 1, "max_position_embeddings": 16, "tie_word_embeddings": true}"#;
        let model = CausalConfig::from_json(text, "config.json".as_ref()).unwrap();
        let device = burn_lora::device::parse("cpu").unwrap();
        let text = format!(
            "[model]\npath = \"m\"\n[adapter]\n{adapter}\n[data]\ntrain = \"t.jsonl\"\n\
             [train]\nsteps = 2\n[output]\ndir = \"o\"\n"
        );
        let config = RunConfig::parse(&text, "run.toml", &[]).unwrap();
        let outline = Outline::of(CausalLm::outline(&model, &device).unwrap(), &config).unwrap();
        let shapes = outline.scan.linears().iter().map(|linear| (linear.d_in, linear.d_out));
        let speeds = Speeds {
            products: shapes.map(|shape| (shape, SPEEDS)).collect(),
            head: PerRow { forward: 100.0, input_gradient: 1000.0 },
            flops_per_second: 1.0,
            values_per_second: 1.0,
        };
        let batch = BatchShape { rows: 2, width: 3, segments: None, targets: 4 };
        let training = vec![batch; 2];
        let batches = Batches { training, looked_at: 2, evaluation: None, steps: 2, share };
        let pace = speeds.pace(&outline, &batches, recompute);
        assert_eq!(pace.tokens_per_step, 6.0);
        pace.seconds_per_step
    }

    /// Counted by hand, six tokens a step: what is slower than it was planned, or faster, shows here.
    #[test]
    fn a_step_is_the_sum_of_its_products_its_attention_and_its_passes() {
        let (head, attention) = (4.0 * 1100.0, 7.0 * 18.0 * 8.0);
        // Seven products; a gradient passes all but the queries', below which nothing is learned.
        let products = 6.0 * 7.0 + 60.0 * 6.0;
        // Of queries (8 to 8) and values (8 to 4), three low-rank products forward and back.
        let low_rank = 6.0 * 6.0 * 2.0 * (16.0 + 12.0);
        // Input of the queries and values 48, two low-rank products 24; queries, keys and values 96; two
        // norms 96; gate and up 192. They are passed six times, and 56 trained values sixteen times.
        let passes = 6.0 * 456.0 + 16.0 * 56.0;
        let expected = products + low_rank + head + attention + passes;
        let adapter = "rank = 2\ntargets = [\"q_proj\", \"v_proj\"]";
        assert_eq!(seconds_per_step(adapter, Recompute::None), expected);
        // Every rank updates all of what is trained, whatever its share of the batches.
        let of_half = (expected - 16.0 * 56.0) / 2.0 + 16.0 * 56.0;
        assert_eq!(seconds_of_share(0.5, adapter, Recompute::None), of_half);
        // Recomputed: all seven products, those of a low rank and attention's two once more; a third of the
        // passes over what the block keeps, which is all but the input of the last norm.
        let again = 6.0 * 7.0 + 6.0 * 2.0 * 2.0 * 28.0 + 2.0 * 18.0 * 8.0 + 2.0 * 408.0;
        let recomputed = seconds_per_step(adapter, Recompute::Block);
        // A third is no number of binary digits.
        assert!((recomputed - expected - again).abs() < 1e-6, "{recomputed}");

        // A third of the gradients' products fewer, two of A's, and none of A is trained or needs an input.
        let of_others = |low_rank: f64, passed: f64, trained: f64| {
            6.0 * 7.0 + 60.0 * 6.0 + low_rank + head + attention + 6.0 * passed + 16.0 * trained
        };
        let others = |method: &str| {
            seconds_per_step(&format!("method = \"{method}\"\n{adapter}"), Recompute::None)
        };
        let forward_and_back = 28.0 + (8.0 + 16.0) + (8.0 + 8.0);
        let fa = of_others(6.0 * 2.0 * 2.0 * forward_and_back, 456.0 - 48.0, 24.0);
        assert_eq!(others("lora-fa"), fa);
        // The block's product, and two back: of outputs alone, 8 and 4.
        let miss = of_others(6.0 * 2.0 * 2.0 * 3.0 * 12.0, 456.0 - 48.0, 24.0);
        assert_eq!(others("miss"), miss);
        // Beside LoRA's, of each step: Aᵀ W, Aᵀ A and that times B; an output more is kept of each linear,
        // and a magnitude of each output is trained.
        let once = 2.0 * (2.0 * (64.0 + 32.0) + 4.0 * (16.0 + 12.0));
        assert_eq!(others("dora"), of_others(low_rank + once, 456.0 + 6.0 * 12.0, 56.0 + 12.0));

        // Everything is trained: a product more for each weight's gradient, and none of a low rank.
        let products = 6.0 * 21.0 * 7.0;
        // Three norms 144; inputs of the linears 48 + 48 + 48 + 96; queries, keys and values 96; gate and
        // up 192. 856 values are trained.
        let passes = 6.0 * 672.0 + 16.0 * 856.0;
        let expected = products + head + attention + passes;
        assert_eq!(seconds_per_step("method = \"full\"", Recompute::None), expected);
    }
}
