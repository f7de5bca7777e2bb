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
mod table;

use std::path::{Path, PathBuf};

use fixture::Fixture;
pub use measure::largest;
use measure::measure;
use table::Tables;

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
    println!("{}", processor::this());
    let mut tables = Tables::default();
    let columns = ["base logits", "adapted", "merged", "gradients", "curve", "steps"];
    let lines = |fixture: &Fixture| Ok(vec![(fixture.name(), measure(fixture, &device)?.cells())]);
    let tolerances = format!("logits {LOGITS:.0e}, gradients {GRADIENTS:.0e}, curve {CURVE:.0e}");
    tables.print(("model | adapter", &columns), &fixtures, Fixture::name, lines, &tolerances);
    start::compare(&starts, &device, &mut tables);
    many::compare(&several, &device, &mut tables);
    conv::compare(&nets, &device, &mut tables);
    eva::compare(&along, &device, &mut tables);
    loftq::compare(&lost, &device, &mut tables);
    parameters::compare(&bare, &device, &mut tables);
    for line in &tables.skipped {
        println!("skipped {line}");
    }
    match tables.failed {
        0 => Ok(()),
        count => Err(format!("{count} of {} beyond tolerance", tables.lines).into()),
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
}
