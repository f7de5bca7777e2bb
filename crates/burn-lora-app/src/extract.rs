//! An adapter of what two checkpoints of one model differ in: a base, and what training all of it made of it.
//!
//! Each linear's difference is cut to its largest singular values, in f64, a layer at a time: of either checkpoint one
//! tensor is in memory, and what is kept of it. What differs and is no linear (token tables, norms, biases) cannot be in
//! such an adapter, and is named. A classifier's head, which is not adapted but trained whole, is taken over as it is.
//!
//! Left out: GGUF files.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use burn_lora::decomposition::Parts;
use burn_lora_files::lossy;
use burn_lora_models::weights::TensorPair;
use burn_lora_models::{Architecture, CausalLm, Model, ModelConfig, SequenceClassifier};
use burn_lora_patch::combine::{Factors, Place, StoredAdapter, StoredLayer, WholeTensor};
use burn_lora_patch::peft::{Modules, PeftConfig, plain_key};
use burn_lora_patch::{PatchError, TaskType, minimal_suffixes};
use burn_lora_text::{grouped, listed};
use burn_lora_train::located::located;
use burn_lora_train::observe::Observer;
use safetensors::Dtype;
use serde::Serialize;

use crate::AppError;
use crate::combine::{CombineProblem, Keep, LayerKept, least, write};

/// What extracting an adapter came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Extracted {
    /// The directory written.
    #[serde(serialize_with = "lossy")]
    pub out: PathBuf,
    /// The rank of every layer.
    pub rank: usize,
    /// The linears that differ: the rank that each needed, and what is kept of its difference.
    pub layers: Vec<LayerKept>,
    /// Tensors that differ and are not in the adapter.
    pub left_out: Vec<String>,
    /// Tensors that are in it whole.
    pub whole: Vec<String>,
}

/// Why there is no adapter to extract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// The linears are the same.
    #[error(
        "no linear of `{}` differs from that of `{}`{}: name the base and what was trained from it", tuned.display(), base.display(),
        if left_out.is_empty() { String::new() } else { format!(", only {}", listed(left_out)) }
    )]
    Same {
        /// The base.
        base: PathBuf,
        /// What was trained of it.
        tuned: PathBuf,
        /// Tensors that differ and are no linears' weights.
        left_out: Vec<String>,
    },
}

/// Writes an adapter for `base` that makes of it, as far as its rank goes, what `tuned` is, into `out`, a new directory.
/// Both are directories, or models of the hub.
///
/// # Errors
///
/// A directory that is there already; models that are not there, or not of one shape; models whose linears do not differ; a rank or share
/// that is none.
pub fn extract(
    base: &Path,
    tuned: &Path,
    keep: Keep,
    out: &Path,
    observer: &Observer,
) -> Result<Extracted, AppError> {
    AppError::unless_new(out)?;
    let keep = keep.checked().map_err(PatchError::from)?;
    let dirs = [located(base, observer)?, located(tuned, observer)?];
    observer.stage("comparing the two models");
    let mut found = Found::new(keep);
    if Architecture::of_dir(&dirs[1])?.is_causal() {
        found.compare::<CausalLm>(&dirs, observer)?;
    } else {
        found.heads = TaskType::SeqCls.heads();
        found.compare::<SequenceClassifier>(&dirs, observer)?;
    }
    observer.done();
    if found.layers.is_empty() {
        let (base, tuned) = (base.to_owned(), tuned.to_owned());
        return Err(ExtractError::Same { base, tuned, left_out: found.left_out }.into());
    }
    let config = found.config(base);
    let Found { layers, told, left_out, whole, .. } = found;
    let adapter = StoredAdapter::of(config, layers, whole);
    write(&adapter, out)?;
    Ok(Extracted {
        out: out.to_owned(),
        rank: adapter.rank(),
        layers: told,
        left_out,
        whole: adapter.whole.into_iter().map(|tensor| tensor.key).collect(),
    })
}

/// What was found so far.
struct Found {
    keep: Keep,
    /// Modules that are trained whole.
    heads: &'static [&'static str],
    layers: BTreeMap<String, StoredLayer>,
    told: Vec<LayerKept>,
    left_out: Vec<String>,
    whole: Vec<WholeTensor>,
    /// Modules that are not adapted.
    others: Vec<String>,
    /// Whether files store an adapted weight `[d_in, d_out]`.
    is_conv1d: bool,
}

impl Found {
    fn new(keep: Keep) -> Self {
        Self {
            keep,
            heads: &[],
            layers: BTreeMap::new(),
            told: Vec::new(),
            left_out: Vec::new(),
            whole: Vec::new(),
            others: Vec::new(),
            is_conv1d: false,
        }
    }

    fn compare<M: Model>(
        &mut self,
        [base, tuned]: &[PathBuf; 2],
        observer: &Observer,
    ) -> Result<(), AppError> {
        let config = M::Config::from_path(tuned)?;
        let device = burn_lora::device::parse("cpu")?;
        let mut failed = None;
        let mut show = |pair: TensorPair<'_>| match self.take(pair) {
            Ok(()) => true,
            Err(problem) => {
                failed = Some(problem);
                false
            }
        };
        let progress = &mut |done, total| observer.progress(done, total);
        M::compare(&config, [base.as_path(), tuned.as_path()], &device, &mut show, progress)?;
        Ok(failed.map_or(Ok(()), Err).map_err(PatchError::from)?)
    }

    fn take(&mut self, pair: TensorPair<'_>) -> Result<(), CombineProblem> {
        let (is_linear, is_conv1d) = (pair.is_linear(), pair.is_conv1d());
        let TensorPair { spec, one, other } = pair;
        let Some(tuned) = other else { return Ok(()) };
        let module = spec.key.rsplit_once('.').map_or("", |(module, _)| module);
        let first = module.split('.').next().unwrap_or_default();
        if self.heads.contains(&first) {
            self.whole.push(WholeTensor {
                key: plain_key(&spec.key),
                dtype: Dtype::F32,
                shape: spec.shape.clone(),
                bytes: tuned.iter().flat_map(|value| value.to_le_bytes()).collect(),
            });
            return Ok(());
        }
        let is_same = one.as_ref() == Some(&tuned);
        match (one, <[usize; 2]>::try_from(spec.shape.as_slice())) {
            (Some(base), Ok(shape)) if is_linear && !is_same => {
                let [d_out, d_in] = if is_conv1d { [shape[1], shape[0]] } else { shape };
                let mut change: Vec<f64> = tuned
                    .iter()
                    .zip(&base)
                    .map(|(tuned, base)| f64::from(*tuned) - f64::from(*base))
                    .collect();
                drop((tuned, base));
                if is_conv1d {
                    change = transposed(&change, d_out);
                }
                self.is_conv1d |= is_conv1d;
                self.add(module, &change, [d_out, d_in])
            }
            _ => {
                if !is_same {
                    self.left_out.push(spec.key.clone());
                }
                self.others.push(module.to_owned());
                Ok(())
            }
        }
    }

    fn add(
        &mut self,
        layer: &str,
        change: &[f64],
        [d_out, d_in]: [usize; 2],
    ) -> Result<(), CombineProblem> {
        let parts = Parts::of(change, [d_out, d_in])
            .ok_or_else(|| CombineProblem::NoConvergence { layer: layer.to_owned() })?;
        let rank = self.keep.rank_of(parts.singular());
        let shares = burn_lora_patch::combine::kept(parts.singular());
        let energy = shares.get(rank - 1).copied().unwrap_or(1.0);
        self.told.push(LayerKept { layer: layer.to_owned(), rank, energy });
        let factors = Factors::halved(&parts, rank, [d_out, d_in]);
        let place = Place::linear(d_in, d_out);
        self.layers.insert(layer.to_owned(), StoredLayer { place, factors });
        Ok(())
    }

    /// The adapter's configuration, but for its rank.
    fn config(&self, base: &Path) -> PeftConfig {
        let is_causal = self.heads.is_empty();
        let others = self.others.iter().map(String::as_str);
        let others = others.filter(|module| !self.layers.contains_key(*module));
        let targets = minimal_suffixes(self.layers.keys().map(String::as_str), others);
        let task = if is_causal { TaskType::CausalLm } else { TaskType::SeqCls };
        PeftConfig {
            base_model_name_or_path: Some(base.display().to_string()),
            fan_in_fan_out: self.is_conv1d,
            modules_to_save: (!is_causal)
                .then(|| self.heads.iter().map(|head| (*head).to_owned()).collect()),
            target_modules: Some(Modules::Names(targets)),
            task_type: Some(task.as_str().to_owned()),
            ..PeftConfig::default()
        }
    }
}

/// `[rows, columns]` to `[columns, rows]`.
fn transposed(values: &[f64], columns: usize) -> Vec<f64> {
    let column = |at: usize| values.iter().skip(at).step_by(columns).copied();
    (0..columns).flat_map(column).collect()
}

impl fmt::Display for Extracted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "extracted: {}", self.out.display())?;
        writeln!(f, "{} layers of rank {}", grouped(self.layers.len()), self.rank)?;
        f.write_str(&least(&self.layers))?;
        if !self.whole.is_empty() {
            write!(f, "\ntaken over whole: {}", listed(&self.whole))?;
        }
        if !self.left_out.is_empty() {
            let count = self.left_out.len();
            write!(
                f,
                "\nnot in the adapter, and not as in the base ({count}): {}",
                listed(&self.left_out)
            )?;
        }
        Ok(())
    }
}
