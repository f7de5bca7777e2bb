//! How fast a device multiplies square matrices and copies memory: what a training step is held against.
//!
//! A product of f32 is told as `tf32` where its numbers are off by as much as factors rounded to TF32 are: which
//! kernels a backend takes is its own affair, so the result is asked.

use std::time::Instant;

use burn::tensor::{DType, Device, Distribution, Tensor};
use clap::Args;

use super::line::{self, Line, Rate};
use super::turn::Turn;
use super::{Done, Where};

/// Measures matrix products and copies
#[derive(Args)]
pub struct Rates {
    #[command(flatten)]
    at: Where,
    #[command(flatten)]
    turn: Turn,
    /// Rows and columns
    #[arg(long, default_value_t = 8192)]
    size: usize,
}

/// Runs that are timed together, after as many that are not: a backend that tries several kernels
/// has chosen by then.
const RUNS: usize = 10;
/// What f32 products may be off by, relative to the largest entry; rounding to TF32 lands near 3e-4.
const F32: f64 = 2e-5;

/// What is done over and over, and how many operations, or bytes, that is.
struct Job {
    what: String,
    work: f64,
    run: Box<dyn Fn() -> Tensor<2>>,
}

pub fn run(rates: &Rates) -> Done {
    let device = burn_lora::device::parse(&rates.at.device)?;
    let size = rates.size;
    let x = random(size, DType::F32, &device);
    let mut jobs = vec![Job {
        what: "copy f32".to_owned(),
        work: (2 * 4 * size * size) as f64,
        run: Box::new(move || x.clone() + 1.0),
    }];
    for (name, dtype) in [("f32", DType::F32), ("bf16", DType::BF16), ("f16", DType::F16)] {
        if !device.supports_dtype(dtype) {
            println!("matmul {name}: not on this device");
            continue;
        }
        let (lhs, rhs) = (random(size, dtype, &device), random(size, dtype, &device));
        let name = match dtype {
            DType::F32 if rounding(&lhs, &rhs)? > F32 => "tf32",
            _ => name,
        };
        jobs.push(Job {
            what: format!("matmul {name}"),
            work: 2.0 * (size as f64).powi(3),
            run: Box::new(move || lhs.clone().matmul(rhs.clone())),
        });
    }
    for job in &jobs {
        seconds(&device, &job.run)?;
    }
    rates.turn.wait()?;
    for Job { what, work, run } in jobs {
        let per_second = work / seconds(&device, &run)?;
        println!("{what} {size}: {:.1} G/s", per_second / 1e9);
        let (who, device) = ("burn-lora".to_owned(), rates.at.device.clone());
        let rate = Rate { who, device, what, size, per_second };
        line::append(&rates.at.results, &Line::Rate(rate))?;
    }
    Ok(())
}

fn random(size: usize, dtype: DType, device: &Device) -> Tensor<2> {
    Tensor::random([size, size], Distribution::Uniform(-1.0, 1.0), (device, dtype))
}

/// How far a corner of the whole product is from float64, relative to its largest entry.
fn rounding(lhs: &Tensor<2>, rhs: &Tensor<2>) -> Result<f64, Box<dyn std::error::Error>> {
    let [size, _] = lhs.dims();
    let corner = size.min(8);
    let read = |tensor: Tensor<2>| -> Result<Vec<f64>, Box<dyn std::error::Error>> {
        Ok(tensor.into_data().convert_dtype(DType::F64).try_to_vec::<f64>()?)
    };
    let got = read(lhs.clone().matmul(rhs.clone()).slice([0..corner, 0..corner]))?;
    let rows = read(lhs.clone().slice([0..corner, 0..size]))?;
    let columns = read(rhs.clone().slice([0..size, 0..corner]))?;
    let (mut worst, mut largest) = (0.0_f64, f64::MIN_POSITIVE);
    for (at, got) in got.iter().enumerate() {
        let (row, column) = (at / corner, at % corner);
        let expected: f64 =
            (0..size).map(|k| rows[row * size + k] * columns[k * corner + column]).sum();
        worst = worst.max((got - expected).abs());
        largest = largest.max(expected.abs());
    }
    Ok(worst / largest)
}

/// How long one run takes.
fn seconds(device: &Device, run: &dyn Fn() -> Tensor<2>) -> Result<f64, String> {
    let timed = || {
        let started = Instant::now();
        let kept: Vec<Tensor<2>> = (0..RUNS).map(|_| run()).collect();
        // A backend that computes lazily has to be asked while the results are wanted.
        let done = device.sync().map_err(|error| error.to_string());
        let taken = started.elapsed().as_secs_f64();
        drop(kept);
        done.map(|()| taken / RUNS as f64)
    };
    timed()?;
    timed()
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;

    /// The last 13 bits of each factor's mantissa taken away, as tensor cores do.
    #[test]
    fn factors_rounded_to_tf32_are_told_from_f32() {
        let device = burn_lora::device::parse("cpu").unwrap();
        let factor = || random(64, DType::F32, &device);
        let values = |tensor: &Tensor<2>| tensor.to_data().try_to_vec::<f32>().unwrap();
        let cut = |tensor: &Tensor<2>| {
            let cut = values(tensor).into_iter().map(|v| f32::from_bits(v.to_bits() & !0x1fff));
            let data = TensorData::new(cut.collect::<Vec<f32>>(), tensor.dims());
            Tensor::<2>::from_data(data, &device)
        };
        let (lhs, rhs) = (factor(), factor());
        assert!(rounding(&lhs, &rhs).unwrap() < F32);
        let exact = values(&lhs.clone().matmul(rhs.clone()));
        let cut = values(&cut(&lhs).matmul(cut(&rhs)));
        let largest = exact.iter().fold(0.0_f32, |largest, v| largest.max(v.abs()));
        let worst = exact.iter().zip(cut).fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs()));
        assert!(f64::from(worst / largest) > F32, "{worst} of {largest}");
    }
}
