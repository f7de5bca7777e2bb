//! `cargo xtask parity [DIR …]`: ours against PEFT, number by number.
//!
//! A directory is what `fixtures/golden/generate.py` writes (`generate_more.py`: its `models` and `kinds`): one folder per architecture, in it the
//! model, a batch, PEFT's base logits, and one folder per adapter as PEFT saved it, with PEFT's
//! logits, merged logits, gradients and 20-step loss curve; or what `fixtures/init/generate.py` writes,
//! one folder per initialisation (`start.rs`); or the folder `many` of `generate_more.py`, several adapters on one model
//! (`many.rs`); or its folder `conv` (`conv.rs`); or what `generate.py` of `fixtures/eva`, `fixtures/loftq` and
//! `fixtures/parameters` write, one folder per setting (`eva.rs`, `loftq.rs`, `parameters.rs`). Whatever sizes and seeds it was made with, everything is
//! read from the files.

mod conv;
mod eva;
mod fixture;
mod loftq;
mod many;
mod measure;
mod parameters;
mod start;

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use fixture::Fixture;
pub use measure::largest;
use measure::{Measured, measure};

use crate::processor;

/// Compare with PEFT, number by number
#[derive(clap::Args)]
pub struct Parity {
    /// Directories such as fixtures/golden, init, many, conv, eva, loftq and parameters there [default: those]
    dirs: Vec<PathBuf>,
    /// The device to compute on
    #[arg(long, default_value = "cpu")]
    device: String,
}

/// The largest absolute difference of a logit that passes.
pub const LOGITS: f64 = 1e-4;
/// The largest difference of a gradient, relative to the tensor's largest entry, that passes.
const GRADIENTS: f64 = 1e-3;
/// The largest absolute difference of a loss in the curve that passes.
const CURVE: f64 = 2e-3;
/// The fewest determined steps that pass: the first loss says nothing of the optimiser.
const LEAST_STEPS: usize = 3;

pub fn run(parity: &Parity) -> Result<(), Box<dyn std::error::Error>> {
    let device = burn_lora::device::parse(&parity.device)?.autodiff();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    let default = ["golden", "init", "many", "conv", "eva", "loftq", "parameters"]
        .map(|name| fixtures.join(name));
    let roots = if parity.dirs.is_empty() { &default[..] } else { &parity.dirs[..] };
    let (mut fixtures, mut several, mut nets) = (Vec::new(), Vec::new(), Vec::new());
    let (mut along, mut lost, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for root in roots {
        fixtures.extend(Fixture::find(root)?.into_iter().filter(|found| !many::is_one(&found.dir)));
        several.extend(many::find(root)?);
        nets.extend(conv::find(root)?);
        along.extend(eva::find(root)?);
        lost.extend(loftq::find(root)?);
        bare.extend(parameters::find(root)?);
    }
    let folders = several.len() + nets.len() + along.len() + lost.len() + bare.len();
    if fixtures.is_empty() && folders == 0 {
        return Err(
            "no adapter found: a directory needs <architecture>/<adapter>/adapter_config.json"
                .into(),
        );
    }

    let (starts, fixtures): (Vec<_>, Vec<_>) = fixtures.into_iter().partition(Fixture::is_start);
    println!("{}\n", processor::this());
    println!("| model | adapter | base logits | adapted | merged | gradients | curve | steps | |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let (mut failed, mut skipped) = (0, Vec::new());
    for fixture in &fixtures {
        match measure(fixture, &device) {
            Ok(measured) => {
                let verdict = verdict(&measured);
                failed += usize::from(verdict != "ok");
                let Measured { base, adapted, merged, gradients, curve, steps } = measured;
                println!(
                    "| {} | {} | {base:.1e} | {adapted:.1e} | {merged:.1e} | {gradients:.1e} | {curve:.1e} | {steps} | {verdict} |",
                    fixture.model, fixture.adapter,
                );
            }
            Err(measure::Failure::Unsupported(reason)) => {
                skipped.push(format!("{}/{}: {reason}", fixture.model, fixture.adapter));
            }
            Err(measure::Failure::Failed(error)) => {
                failed += 1;
                println!("| {} | {} | | | | | | | {error} |", fixture.model, fixture.adapter);
            }
        }
    }
    println!("\ntolerances: logits {LOGITS:.0e}, gradients {GRADIENTS:.0e}, curve {CURVE:.0e}");
    failed += compare_starts(&starts, &device);
    let (of_several, rows) = many::compare(&several, &device);
    failed += of_several + conv::compare(&nets, &device);
    failed += eva::compare(&along, &device) + loftq::compare(&lost, &device);
    failed += parameters::compare(&bare, &device);
    for line in &skipped {
        println!("skipped {line}");
    }
    match failed {
        0 => Ok(()),
        count => {
            let folders = nets.len() + along.len() + lost.len() + bare.len();
            let all = fixtures.len() + starts.len() + rows + folders - skipped.len();
            Err(format!("{count} of {all} beyond tolerance").into())
        }
    }
}

/// The table of initialisations, and how many are beyond tolerance.
fn compare_starts(starts: &[Fixture], device: &Device) -> usize {
    if starts.is_empty() {
        return 0;
    }
    println!("\n| model | start | logits | residual | curve | trained | saved | PEFT's saved | |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let told = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.1e}"));
    let mut failed = 0;
    for fixture in starts {
        let (model, name) = (&fixture.model, &fixture.adapter);
        let measured = start::init_of(fixture)
            .and_then(|init| Ok((init, start::measure(fixture, init, device)?)));
        match measured {
            Ok((init, measured)) => {
                let verdict = measured.verdict(init);
                failed += usize::from(verdict != "ok");
                let start::Measured { start, residual, curve, trained, saved, converted } =
                    measured;
                println!(
                    "| {model} | {name} | {start:.1e} | {residual:.1e} | {} | {} | {saved:.1e} | {} | {verdict} |",
                    told(curve),
                    told(trained),
                    told(converted),
                );
            }
            Err(measure::Failure::Unsupported(error) | measure::Failure::Failed(error)) => {
                failed += 1;
                println!("| {model} | {name} | | | | | | | {error} |");
            }
        }
    }
    println!("\n{}", start::tolerances());
    failed
}

fn verdict(measured: &Measured) -> &'static str {
    let Measured { base, adapted, merged, gradients, curve, steps } = *measured;
    // Written so that NaN fails.
    let logits = [base, adapted, merged].into_iter().all(|difference| difference <= LOGITS);
    match (logits, gradients <= GRADIENTS, curve <= CURVE && steps >= LEAST_STEPS) {
        (true, true, true) => "ok",
        (false, _, _) => "logits differ",
        (_, false, _) => "gradients differ",
        (_, _, false) => "curve differs",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixtures_in_the_repository_are_within_tolerance() {
        let parity = Parity { dirs: Vec::new(), device: "cpu".into() };
        run(&parity).unwrap();
    }

    #[test]
    fn not_a_number_and_too_much_are_no_passes() {
        let good = Measured {
            base: 0.0,
            adapted: 0.0,
            merged: 0.0,
            gradients: 0.0,
            curve: 0.0,
            steps: 20,
        };
        assert_eq!(verdict(&good), "ok");
        assert_eq!(verdict(&Measured { merged: f64::NAN, ..good }), "logits differ");
        assert_eq!(verdict(&Measured { gradients: 2e-3, ..good }), "gradients differ");
        assert_eq!(verdict(&Measured { curve: 3e-3, ..good }), "curve differs");
        assert_eq!(verdict(&Measured { steps: 2, ..good }), "curve differs");
    }
}
