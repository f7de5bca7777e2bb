//! Every operation that has a backward of its own, on a device in f32, against its formula in Burn's
//! own operations in float64 on the host, which differentiate themselves.
//!
//! An error is the norm of the difference over the norm of the float64 result, of the output and of
//! each gradient. f32 arithmetic lands far under 1e-5; a device whose products round their factors to
//! TF32 (a mantissa of 10 bits, so 2^-11 each) near 3e-4.

use burn::tensor::activation::{log_softmax, silu, softmax};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_lora::lora_linear;
use burn_lora_models::fused::{
    HeadLayout, Positional, causal_attention, head_loss, rms_norm, silu_mul,
};
use clap::Args;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::line::{self, Check as Found, Line};
use super::{Done, Where};

/// Checks every operation against float64
#[derive(Args)]
pub struct Check {
    #[command(flatten)]
    at: Where,
    /// Seeds the inputs
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Sizes of a few rows, for a slow device
    #[arg(long)]
    small: bool,
}

/// What f32 may be off by.
const F32: f64 = 1e-5;
/// What products of TF32 may be off by.
const TF32: f64 = 2e-3;

pub fn run(check: &Check) -> Done {
    let device = burn_lora::device::parse(&check.at.device)?.autodiff();
    let host = burn_lora::device::parse("cpu")?.autodiff();
    // cubecl multiplies f32 on tensor cores where it finds that faster, which rounds to TF32.
    let tolerance = if check.at.device.starts_with("cuda") { TF32 } else { F32 };
    let mut checker = Checker {
        device: Side { device, dtype: DType::F32 },
        host: Side { device: host, dtype: DType::F64 },
        rng: ChaCha8Rng::seed_from_u64(check.seed),
        failed: 0,
        told: |operation, part, error| {
            let found =
                Found { device: check.at.device.clone(), operation, part, error, tolerance };
            let passes = found.passes();
            println!(
                "{:24} {:8} {error:.1e} {}",
                found.operation,
                found.part,
                if passes { "ok" } else { "BEYOND TOLERANCE" }
            );
            line::append(&check.at.results, &Line::Check(found))?;
            Ok(passes)
        },
    };
    checker.all(if check.small { 8 } else { 1 })?;
    println!("tolerance {tolerance:.0e}");
    match checker.failed {
        0 => Ok(()),
        count => Err(format!("{count} results beyond tolerance").into()),
    }
}

/// A device and the type that it computes in.
struct Side {
    device: Device,
    dtype: DType,
}

impl Side {
    fn tensor<const D: usize>(&self, values: &Values<D>) -> Tensor<D> {
        let data = TensorData::new(values.values.clone(), values.shape);
        Tensor::from_data(data, (&self.device, self.dtype))
    }

    fn constant<const D: usize>(&self, values: &Values<D>) -> Tensor<D> {
        let data = TensorData::new(values.values.clone(), values.shape);
        Tensor::from_data(data, (&self.device.clone().without_autodiff(), self.dtype))
    }

    fn index(&self, targets: &[i32]) -> Tensor<2, Int> {
        Tensor::from_data(TensorData::new(targets.to_vec(), [targets.len(), 1]), &self.device)
    }
}

/// Numbers that both sides take.
#[derive(Clone)]
struct Values<const D: usize> {
    shape: [usize; D],
    values: Vec<f32>,
}

struct Checker<F> {
    device: Side,
    host: Side,
    rng: ChaCha8Rng,
    failed: usize,
    told: F,
}

impl<F: FnMut(String, String, f64) -> Result<bool, Box<dyn std::error::Error>>> Checker<F> {
    /// Sizes of SmolLM2-135M, with rows of tokens divided by `by`.
    fn all(&mut self, by: usize) -> Done {
        let rows = 512 / by;
        for (d_in, d_out, rank) in [(576, 1536, 16), (1536, 576, 1), (576, 192, 128)] {
            let weight = self.random([d_in, d_out], (d_in as f32).powf(-0.5));
            let inputs = [
                self.random([rows, d_in], 1.0),
                self.random([d_in, rank], (d_in as f32).powf(-0.5)),
                self.random([rank, d_out], (rank as f32).powf(-0.5)),
            ];
            let name = format!("lora {d_in}x{d_out} r={rank}");
            self.compare(
                &name,
                ["x", "A", "B"],
                &inputs,
                |side, [x, a, b]| lora_linear(x, side.constant(&weight), a, b, 2.0, None),
                |side, [x, a, b]| {
                    x.clone().matmul(side.constant(&weight)) + x.matmul(a).matmul(b) * 2.0
                },
            )?;
        }
        self.norm(rows)?;
        self.gate(rows)?;
        for (batch, tokens, heads, shared) in [(2, 128 / by, 9, 3), (1, 200 / by, 4, 4)] {
            self.attention(batch, tokens, heads, shared)?;
        }
        // The second one takes several chunks.
        for (rows, width, vocabulary) in [(64 / by, 576, 4096), (200, 16, 200_000 / by)] {
            self.head(rows, width, vocabulary)?;
        }
        Ok(())
    }

    fn norm(&mut self, rows: usize) -> Done {
        let gamma = self.random([576], 1.0);
        let inputs = [self.random([rows, 576], 1.0)];
        self.compare(
            "rms_norm",
            ["x"],
            &inputs,
            |side, [x]| rms_norm(x, side.constant(&gamma), 1e-5),
            |side, [x]| {
                let mean = x.clone().powf_scalar(2.0).mean_dim(1);
                x / (mean + 1e-5).sqrt() * side.constant(&gamma).unsqueeze()
            },
        )
    }

    fn gate(&mut self, rows: usize) -> Done {
        let inputs = [self.random([rows, 1536], 4.0), self.random([rows, 1536], 1.0)];
        self.compare(
            "silu_mul",
            ["gate", "up"],
            &inputs,
            |_, [gate, up]| silu_mul(gate, up),
            |_, [gate, up]| silu(gate) * up,
        )
    }

    fn attention(&mut self, batch: usize, tokens: usize, heads: usize, shared: usize) -> Done {
        let width = 64;
        let angles = self.random([tokens, width / 2], 3.0);
        let table = |f: fn(f32) -> f32| Values {
            shape: angles.shape,
            values: angles.values.iter().map(|&angle| f(angle)).collect(),
        };
        let (cos, sin) = (table(f32::cos), table(f32::sin));
        let inputs = [
            self.random([batch, tokens, heads, width], 1.0),
            self.random([batch, tokens, shared, width], 1.0),
            self.random([batch, tokens, shared, width], 1.0),
        ];
        self.compare(
            &format!("attention {tokens}x{heads}/{shared}"),
            ["q", "k", "v"],
            &inputs,
            |side, [q, k, v]| {
                let table = |table| side.constant::<2>(table).unsqueeze::<3>();
                let positional = Positional::Rotary { cos: table(&cos), sin: table(&sin) };
                causal_attention(q, k, v, positional, None)
            },
            |side, [q, k, v]| attention_by_formula(side, [q, k, v], &cos, &sin),
        )
    }

    fn head(&mut self, rows: usize, width: usize, vocabulary: usize) -> Done {
        let rows = rows.max(1);
        let targets: Vec<i32> = (0..rows).map(|row| (row * 31 % vocabulary) as i32).collect();
        let inputs = [self.random([rows, width], 1.0), self.random([vocabulary, width], 0.2)];
        self.compare(
            &format!("head_loss {rows}x{vocabulary}"),
            ["hidden", "table"],
            &inputs,
            |_, [hidden, table]| {
                head_loss(hidden, table, HeadLayout::Table, targets.clone()).unsqueeze()
            },
            |side, [hidden, table]| {
                let logs = log_softmax(hidden.matmul(table.transpose()), 1);
                logs.gather(1, side.index(&targets)).sum().neg().unsqueeze()
            },
        )
    }

    /// Uniform numbers with that standard deviation.
    fn random<const D: usize>(&mut self, shape: [usize; D], deviation: f32) -> Values<D> {
        let largest = deviation * 3.0_f32.sqrt();
        let count = shape.iter().product();
        let values = (0..count).map(|_| self.rng.random_range(-largest..=largest)).collect();
        Values { shape, values }
    }

    fn compare<const D: usize, const N: usize>(
        &mut self,
        operation: &str,
        names: [&str; N],
        inputs: &[Values<D>; N],
        fused: impl Fn(&Side, [Tensor<D>; N]) -> Tensor<D>,
        formula: impl Fn(&Side, [Tensor<D>; N]) -> Tensor<D>,
    ) -> Done {
        let got = traced(&self.device, inputs, fused)?;
        let expected = traced(&self.host, inputs, formula)?;
        for ((part, got), expected) in ["output"].iter().chain(&names).zip(got).zip(expected) {
            let error = off(&got, &expected);
            let passes = (self.told)(operation.to_owned(), (*part).to_owned(), error)?;
            self.failed += usize::from(!passes);
        }
        Ok(())
    }
}

/// Output and gradients, the output weighted so that every element counts differently.
fn traced<const D: usize, const N: usize>(
    side: &Side,
    inputs: &[Values<D>; N],
    f: impl Fn(&Side, [Tensor<D>; N]) -> Tensor<D>,
) -> Result<Vec<Vec<f64>>, Box<dyn std::error::Error>> {
    let inputs: [Tensor<D>; N] =
        std::array::from_fn(|index| side.tensor(&inputs[index]).require_grad());
    let y = f(side, inputs.clone());
    let shape = y.dims();
    let values = (0..shape.iter().product::<usize>()).map(|i| (i as f32).sin() + 1.5).collect();
    let weights = side.constant(&Values { shape, values });
    let grads = (y.clone() * weights).sum().backward();
    let mut all = vec![numbers(y)?];
    for (index, input) in inputs.iter().enumerate() {
        let grad = input.grad(&grads).ok_or(format!("input {index} got no gradient"))?;
        all.push(numbers(grad)?);
    }
    Ok(all)
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f64>, Box<dyn std::error::Error>> {
    Ok(tensor.into_data().convert_dtype(DType::F64).try_to_vec::<f64>()?)
}

/// The norm of the difference over the norm of what was expected.
fn off(got: &[f64], expected: &[f64]) -> f64 {
    if got.len() != expected.len() {
        return f64::NAN;
    }
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = squares(&mut got.iter().zip(expected).map(|(got, expected)| got - expected));
    difference / squares(&mut expected.iter().copied()).max(f64::MIN_POSITIVE)
}

/// Keys and values repeated for every query head, whole scores, a mask.
fn attention_by_formula(
    side: &Side,
    [q, k, v]: [Tensor<4>; 3],
    cos: &Values<2>,
    sin: &Values<2>,
) -> Tensor<4> {
    let [batch, tokens, heads, width] = q.dims();
    let shared = k.dims()[2];
    let half = width / 2;
    let table = |values| side.constant(values).reshape([1, tokens, 1, half]);
    let (cos, sin) = (table(cos), table(sin));
    let turn = |x: Tensor<4>| {
        let (a, b) = (x.clone().narrow(3, 0, half), x.narrow(3, half, half));
        let first = a.clone() * cos.clone() - b.clone() * sin.clone();
        Tensor::cat(vec![first, b * cos.clone() + a * sin.clone()], 3).swap_dims(1, 2)
    };
    let repeat = |x: Tensor<4>| {
        x.reshape([batch, shared, 1, tokens * width])
            .repeat_dim(2, heads / shared)
            .reshape([batch, heads, tokens, width])
    };
    let (q, k, v) = (turn(q), repeat(turn(k)), repeat(v.swap_dims(1, 2)));
    let mask = (0..tokens * tokens)
        .map(|at| if at % tokens <= at / tokens { 0.0 } else { f32::NEG_INFINITY })
        .collect();
    let mask = side.constant(&Values { shape: [1, 1, tokens, tokens], values: mask });
    let scores = q.matmul(k.swap_dims(2, 3)) / (width as f64).sqrt() + mask;
    softmax(scores, 3).matmul(v).swap_dims(1, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_passes_and_a_wrong_number_or_none_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let results = dir.path().join("results.jsonl");
        let at = Where { device: "cpu".to_owned(), results: results.clone() };
        run(&Check { at, seed: 1, small: true }).unwrap();
        let (lines, strange) = line::read(&results).unwrap();
        assert_eq!(strange, 0);
        // Three linears with an output and three gradients, a norm, a gate, two attentions, two heads.
        assert_eq!(lines.len(), 3 * 4 + 2 + 3 + 2 * 4 + 2 * 3);
        assert!(off(&[1.0, 2.0], &[1.0, 2.1]) > 0.04);
        assert!(off(&[f64::NAN], &[1.0]).is_nan());
        let nan = Found {
            device: String::new(),
            operation: String::new(),
            part: String::new(),
            error: f64::NAN,
            tolerance: 1.0,
        };
        assert!(!nan.passes());
    }
}
