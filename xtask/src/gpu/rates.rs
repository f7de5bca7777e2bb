//! How fast a device multiplies square matrices and copies memory: what a training step is held
//! against.

use std::time::Instant;

use burn::tensor::{DType, Device, Distribution, Tensor};
use clap::Args;

use super::line::{self, Line, Rate};
use super::{Done, Where};

/// Measures matrix products and copies
#[derive(Args)]
pub struct Rates {
    #[command(flatten)]
    at: Where,
    /// Rows and columns
    #[arg(long, default_value_t = 8192)]
    size: usize,
}

/// Runs that are timed together, after as many that are not: a backend that tries several kernels
/// has chosen by then.
const RUNS: usize = 10;

pub fn run(rates: &Rates) -> Done {
    let device = burn_lora::device::parse(&rates.at.device)?;
    let size = rates.size;
    let tell = |what: String, per_second: f64| {
        println!("{what} {size}: {:.1} G/s", per_second / 1e9);
        let rate = Rate {
            who: "burn-lora".to_owned(),
            device: rates.at.device.clone(),
            what,
            size,
            per_second,
        };
        line::append(&rates.at.results, &Line::Rate(rate))
    };
    let x = random(size, DType::F32, &device);
    let bytes = (2 * 4 * size * size) as f64;
    tell("copy f32".to_owned(), bytes / seconds(&device, || x.clone() + 1.0)?)?;
    drop(x);
    for (name, dtype) in [("f32", DType::F32), ("bf16", DType::BF16), ("f16", DType::F16)] {
        if !device.supports_dtype(dtype) {
            println!("matmul {name}: not on this device");
            continue;
        }
        let (lhs, rhs) = (random(size, dtype, &device), random(size, dtype, &device));
        let operations = 2.0 * (size as f64).powi(3);
        let once = seconds(&device, || lhs.clone().matmul(rhs.clone()))?;
        tell(format!("matmul {name}"), operations / once)?;
    }
    Ok(())
}

fn random(size: usize, dtype: DType, device: &Device) -> Tensor<2> {
    Tensor::random([size, size], Distribution::Uniform(-1.0, 1.0), (device, dtype))
}

/// How long one run takes.
fn seconds(device: &Device, run: impl Fn() -> Tensor<2>) -> Result<f64, String> {
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
