//! Every operation that has a backward of its own, on a device in f32, against its formula in Burn's
//! own operations in float64 on the host, which differentiate themselves.
//!
//! An error is the norm of the difference over the norm of the float64 result, of the output and of
//! each gradient. f32 arithmetic lands far under 1e-5; a device whose products round their factors to
//! TF32 (a mantissa of 10 bits, so 2^-11 each) near 3e-4.
//!
//! [`operations`] lists them with their sizes and formulas.

mod operations;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use clap::Args;
use operations::OPERATIONS;
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
    /// These alone: linear, norm, gate, gelu, attention, head
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    operations: Vec<String>,
}

/// What f32 may be off by.
const F32: f64 = 1e-5;
/// What products of TF32 may be off by.
const TF32: f64 = 2e-3;
/// What products of bf16 may be off by, whose numbers are within 2^-9 each.
const BF16: f64 = 1e-2;

pub fn run(check: &Check) -> Done {
    let all: Vec<&str> = OPERATIONS.iter().map(|(name, _)| *name).collect();
    let asked: Vec<&str> = match check.operations.is_empty() {
        true => all.clone(),
        false => check.operations.iter().map(String::as_str).collect(),
    };
    if let Some(strange) = asked.iter().find(|name| !all.contains(name)) {
        return Err(format!("no operation `{strange}`: there are {}", all.join(", ")).into());
    }
    let device = burn_lora::device::parse(&check.at.device)?.autodiff();
    let host = burn_lora::device::parse("cpu")?.autodiff();
    // cubecl multiplies f32 on tensor cores where it finds that faster, which rounds to TF32.
    let tolerance = if check.at.device.starts_with("cuda") { TF32 } else { F32 };
    let mut checker = Checker {
        device: Side { device, dtype: DType::F32 },
        host: Side { device: host, dtype: DType::F64 },
        rng: ChaCha8Rng::seed_from_u64(check.seed),
        tolerance,
        halves: check.at.device.starts_with("cuda"),
        failed: 0,
        told: Box::new(|operation, part, error, tolerance| {
            let device = check.at.device.clone();
            let found = Found { device, operation, part, error, tolerance };
            let passes = found.passes();
            println!(
                "{:24} {:8} {error:.1e} {}",
                found.operation,
                found.part,
                if passes { "ok" } else { "BEYOND TOLERANCE" }
            );
            line::append(&check.at.results, &Line::Check(found))?;
            Ok(passes)
        }),
    };
    let by = if check.small { 8 } else { 1 };
    for (_, operation) in OPERATIONS.iter().filter(|(name, _)| asked.contains(name)) {
        operation(&mut checker, by)?;
    }
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

/// Is told of a result, its operation, part, error and what that may be; says whether it passes.
type Told<'a> =
    dyn FnMut(String, String, f64, f64) -> Result<bool, Box<dyn std::error::Error>> + 'a;

struct Checker<'a> {
    device: Side,
    host: Side,
    rng: ChaCha8Rng,
    tolerance: f64,
    /// Whether the device multiplies in bf16.
    halves: bool,
    failed: usize,
    told: Box<Told<'a>>,
}

impl Checker<'_> {
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
            let passes =
                (self.told)(operation.to_owned(), (*part).to_owned(), error, self.tolerance)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_passes_and_a_wrong_number_or_none_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let results = dir.path().join("results.jsonl");
        let at = Where { device: "cpu".to_owned(), results: results.clone() };
        let operations = vec!["no".to_owned()];
        let mut check = Check { at, seed: 1, small: true, operations };
        assert!(run(&check).unwrap_err().to_string().contains("there are linear, norm"));
        check.operations.clear();
        run(&check).unwrap();
        let (lines, strange) = line::read(&results).unwrap();
        assert_eq!(strange, 0);
        // Three linears with an output and three gradients, a norm, a gate, a GELU, four attentions, three heads.
        assert_eq!(lines.len(), 3 * 4 + 2 + 3 + 2 + 4 * 4 + 3 * 3);
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
