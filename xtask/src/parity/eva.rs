//! Starts along what goes into the layers (EVA), against PEFT's: the folders of `fixtures/eva`, below the model and the batches that are
//! looked at.
//!
//! PEFT computes in f32 and finds directions by a randomised decomposition; `generate.py` makes what goes into the layers so that these
//! are well apart. The signs of directions are free: of A each row is compared up to its own, and the sign of a row of A with that of
//! B's column changes nothing of what is computed, in training either.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::Device;
use burn_lora::{Adapter, AdapterConfig, Init, sets};
use burn_lora_models::{CausalLm, Model};
use burn_lora_patch::peft::{self, LoadOptions};
use burn_lora_patch::{Eva, EvaConfig, LoraConfig, LoraModule, Targets};
use serde::Deserialize;

use super::LOGITS;
use super::fixture::{Curve, Values, having, json, name, read};
use super::measure::{Failure, Logits, batch, get, largest, logit_difference, trained};
use super::start::{CURVE, RATE, TRAINED};
use super::table::{Cell, Tables};

/// What says that a folder is one.
const SETTINGS: &str = "eva.json";
/// The largest difference of an entry of a row of A, relative to the row's largest, that passes: some thousand roundings of f32 turn a
/// direction by their size over the distance of its singular value to the next.
const DIRECTIONS: f64 = 1e-3;

/// What PEFT was told, and what it found.
#[derive(Deserialize)]
struct Settings {
    rank: usize,
    alpha: f64,
    rho: f64,
    tau: f64,
    whiten: bool,
    adjust_scaling_factors: bool,
    use_rslora: bool,
    targets: Vec<String>,
    rank_pattern: BTreeMap<String, usize>,
    alpha_pattern: BTreeMap<String, f64>,
    /// Batches that were looked at.
    passes: usize,
    layers: BTreeMap<String, Layer>,
}

#[derive(Deserialize)]
struct Layer {
    rank: usize,
    scale: f64,
}

impl Settings {
    fn config(&self) -> LoraConfig {
        let adapter = AdapterConfig::new(self.rank).with_alpha(self.alpha).with_init(Init::Eva);
        let eva = EvaConfig::default()
            .with_rho(self.rho)
            .with_tau(self.tau)
            .with_whiten(self.whiten)
            .with_adjust_scaling_factors(self.adjust_scaling_factors);
        LoraConfig::from(adapter.with_rslora(self.use_rslora))
            .with_targets(Targets::names(self.targets.iter().cloned()))
            .with_rank_pattern(self.rank_pattern.clone())
            .with_alpha_pattern(self.alpha_pattern.clone())
            .with_eva(eva)
    }
}

/// The folders at most two below `root` that are of this kind.
pub fn find(root: &Path) -> Result<Vec<PathBuf>, String> {
    having(SETTINGS, root)
}

/// The table of these folders.
pub fn compare(dirs: &[PathBuf], device: &Device, tables: &mut Tables) {
    let columns = ["batches", "layers", "directions", "logits", "PEFT's saved", "curve", "trained"];
    let lines = |dir: &PathBuf| {
        let Measured { passes, layers, directions, start, loaded, curve, trained } =
            measure(dir, device)?;
        let cells = vec![
            Cell::Told(passes),
            Cell::Told(layers),
            Cell::Within(directions, DIRECTIONS),
            Cell::Within(start, LOGITS),
            Cell::Within(loaded, LOGITS),
            Cell::Within(curve, CURVE),
            Cell::Within(trained, TRAINED),
        ];
        Ok(vec![(name(dir), cells)])
    };
    let tolerances = format!(
        "directions {DIRECTIONS:.0e}, logits {LOGITS:.0e}, curve {CURVE:.0e}, trained {TRAINED:.0e}"
    );
    tables.print(("EVA", &columns), dirs, |dir| name(dir), lines, &tolerances);
}

/// The largest differences; of numbers of batches, layers, ranks and scales there is none.
struct Measured {
    passes: usize,
    layers: usize,
    directions: f64,
    /// Of the logits at the start.
    start: f64,
    /// Of those of what PEFT saved then.
    loaded: f64,
    curve: f64,
    trained: f64,
}

fn measure(dir: &Path, device: &Device) -> Result<Measured, Failure> {
    let settings: Settings = json(&dir.join(SETTINGS))?;
    let root = dir.parent().ok_or("a folder without a model above it")?;
    let (model, _) = CausalLm::load(root, device, &mut |_, _| {})?;
    let expected = read(&dir.join("expected.safetensors"))?;
    let before = get(&expected, "before")?;
    let own = batch(&read(&root.join("batch.safetensors"))?, true, device)?;

    let mut eva = Eva::new(&model, &settings.config())?;
    let batches = batches(&read(&root.join("looked.safetensors"))?)?;
    look(&mut eva, &model, &batches, settings.passes)?;
    let passes = eva.passes();
    if passes != settings.passes {
        return Err(format!("{passes} batches, PEFT looked at {}", settings.passes).into());
    }
    let (patched, _) = eva.patch(model.clone())?;
    let saved = dir.join("before");
    let directions = directions(&patched, &settings, &read(&saved.join(peft::TENSORS_FILE))?)?;
    let scratch = tempfile::tempdir()?;
    patched.save_adapter(scratch.path())?;
    same_tensors(scratch.path(), &saved)?;
    let start = logit_difference(&patched, &own, before)?;
    let mut from_files = model;
    peft::load(&mut from_files, &saved, &LoadOptions::new())?;
    let loaded = logit_difference(&from_files, &own, before)?;

    let losses = Curve::of(dir)?.losses;
    let (patched, ours) = trained(patched, &own, losses.len(), RATE)?;
    let curve = largest(ours.iter().zip(&losses).map(|(ours, losses)| ours - losses));
    let trained = logit_difference(&patched, &own, get(&expected, "after")?)?;
    let layers = settings.layers.len();
    Ok(Measured { passes, layers, directions, start, loaded, curve, trained })
}

type Tensors = BTreeMap<String, Values>;

/// Every batch of a file that has them side by side.
fn batches(all: &Tensors) -> Result<Vec<Tensors>, Failure> {
    let [count, rows, tokens] = get(all, "input_ids")?.shape[..] else {
        return Err("the batches looked at are not [batches, rows, tokens]".into());
    };
    let of = |batch: usize, values: &Values| {
        let values = values.values[batch * rows * tokens..][..rows * tokens].to_vec();
        Values { shape: vec![rows, tokens], values }
    };
    let one = |batch| all.iter().map(|(key, values)| (key.clone(), of(batch, values))).collect();
    Ok((0..count).map(one).collect())
}

/// Looks at the batches, again and again, until directions stay, or for longer than PEFT.
fn look(eva: &mut Eva, model: &CausalLm, batches: &[Tensors], peft: usize) -> Result<(), Failure> {
    let looking = model.clone().valid();
    let device = looking.devices().swap_remove(0);
    for one in batches.iter().cycle().take(peft + batches.len()) {
        if eva.has_converged() {
            break;
        }
        // PEFT's default: no padding, and no token without a label of its own.
        let (mask, labels) = (get(one, "attention_mask")?, get(one, "labels")?);
        let counts = mask.values.iter().zip(&labels.values);
        let counts: Vec<bool> = counts.map(|(kept, label)| *kept != 0.0 && *label >= 0.0).collect();
        let one = batch(one, true, &device)?;
        eva.pass(Some(&counts), || looking.flat(&one))?;
    }
    Ok(())
}

/// The largest difference of A, whose rows have PEFT's signs; ranks and scales are PEFT's.
fn directions(model: &CausalLm, settings: &Settings, expected: &Tensors) -> Result<f64, Failure> {
    let sets = sets(model);
    let adapted: Vec<&str> =
        sets.iter().filter_map(|(path, _)| path.strip_suffix(".weight")).collect();
    if adapted.len() != settings.layers.len()
        || !adapted.iter().all(|layer| settings.layers.contains_key(*layer))
    {
        return Err(format!("adapted are {}", adapted.join(", ")).into());
    }
    let mut worst = 0.0;
    for (layer, (_, set)) in adapted.into_iter().zip(&sets) {
        let adapter = set.iter().next().ok_or("a set without adapters")?;
        let Layer { rank, scale } = settings.layers[layer];
        if adapter.rank() != rank || (adapter.scale() - scale).abs() > 1e-9 {
            let (our_rank, our_scale) = (adapter.rank(), adapter.scale());
            let ours = format!("`{layer}` has rank {our_rank} and scale {our_scale}");
            return Err(format!("{ours}, PEFT's {rank} and {scale}").into());
        }
        let key = format!("base_model.model.{layer}.lora_A.weight");
        let apart = apart(adapter, get(expected, &key)?)?;
        worst = largest([worst, apart].into_iter());
    }
    Ok(worst)
}

/// The largest difference of a row of A, `[rank, d_in]` in files, up to its sign, relative to the row's largest entry; B is zero.
fn apart(adapter: &Adapter, expected: &Values) -> Result<f64, Failure> {
    let factor = |name: &str| -> Result<Vec<f32>, Failure> {
        let factor = adapter.factor::<2>(name).ok_or("an adapter without that factor")?;
        Ok(factor.val().try_into_vec_as::<f32>()?)
    };
    if factor("b")?.iter().any(|value| *value != 0.0) {
        return Err("B is not zero".into());
    }
    let (a, rank) = (factor("a")?, adapter.rank());
    let d_in = a.len() / rank;
    if expected.shape != [rank, d_in] {
        return Err(format!("A is [{rank}, {d_in}], PEFT's {:?}", expected.shape).into());
    }
    let mut worst = 0.0;
    for (k, theirs) in expected.values.chunks_exact(d_in).enumerate() {
        let ours: Vec<f64> = (0..d_in).map(|i| f64::from(a[i * rank + k])).collect();
        let along: f64 = ours.iter().zip(theirs).map(|(ours, theirs)| ours * theirs).sum();
        let size = largest(theirs.iter().copied());
        let pairs = ours.iter().zip(theirs);
        let difference = largest(pairs.map(|(ours, theirs)| along.signum() * ours - theirs));
        worst = largest([worst, difference / size].into_iter());
    }
    Ok(worst)
}

/// That both folders have the same tensors by key and shape.
fn same_tensors(ours: &Path, theirs: &Path) -> Result<(), Failure> {
    let shapes = |dir: &Path| -> Result<BTreeMap<String, Vec<usize>>, Failure> {
        let tensors = read(&dir.join(peft::TENSORS_FILE))?;
        Ok(tensors.into_iter().map(|(key, values)| (key, values.shape)).collect())
    };
    match shapes(ours)? == shapes(theirs)? {
        true => Ok(()),
        false => Err("saved are other tensors than PEFT's".into()),
    }
}
