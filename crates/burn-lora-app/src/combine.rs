//! Several adapters as one directory, and one adapter as a smaller one, from their files alone.

use std::fmt;
use std::path::{Path, PathBuf};

use burn_lora_files::{self as files, atomic, lossy};
pub use burn_lora_patch::PatchError;
use burn_lora_patch::combine::{self, StoredAdapter};
pub use burn_lora_patch::combine::{
    Combination, CombineOptions, CombineProblem, Keep, LayerKept, MajoritySign,
};
use burn_lora_text::{grouped, listed, significant};
use serde::Serialize;

use crate::AppError;
use crate::inspect::adapter_of;

/// What combining adapters came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Combined {
    /// The directory written.
    #[serde(serialize_with = "lossy")]
    pub out: PathBuf,
    /// The rank of every layer.
    pub rank: usize,
    /// How many layers there are.
    pub layers: usize,
    /// What should be looked at.
    pub notes: Vec<String>,
}

/// Writes the adapters of these directories (PEFT's, or runs') as one into `out`, a new directory.
///
/// # Errors
///
/// A directory that is there already, an adapter that cannot be read, options that do not fit.
pub fn combine(
    adapters: &[PathBuf],
    options: &CombineOptions,
    out: &Path,
) -> Result<Combined, AppError> {
    AppError::unless_new(out)?;
    let mut read = Vec::with_capacity(adapters.len());
    for adapter in adapters {
        read.push(StoredAdapter::read(adapter_of(adapter)?)?);
    }
    let combined = combine::combine(&read, options)?;
    write(&combined, out)?;
    let told = read
        .iter()
        .filter_map(|it| Some(format!("{}: {}", it.dir.display(), it.config.passed_over()?)));
    let mut notes: Vec<String> = told.collect();
    let mut bases: Vec<&str> =
        read.iter().filter_map(|it| it.config.base_model_name_or_path.as_deref()).collect();
    bases.sort_unstable();
    bases.dedup();
    if bases.len() > 1 {
        notes.push(format!(
            "the adapters name several bases, {}: together they mean something on one that all were trained on",
            listed(&bases)
        ));
    }
    if !combined.whole.is_empty() {
        notes.push(format!(
            "{} tensors that one adapter trained whole are taken over as they are, whatever its weight",
            combined.whole.len()
        ));
    }
    let (rank, layers) = (combined.rank(), combined.layers.len());
    Ok(Combined { out: out.to_owned(), rank, layers, notes })
}

/// What compressing an adapter came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compressed {
    /// The directory written.
    #[serde(serialize_with = "lossy")]
    pub out: PathBuf,
    /// The largest rank that a layer had.
    pub rank_before: usize,
    /// The rank of every layer now.
    pub rank: usize,
    /// What is kept of each layer's change.
    pub layers: Vec<LayerKept>,
    /// What should be known.
    pub notes: Vec<String>,
}

/// Writes the adapter of that directory (PEFT's, or a run's) with a smaller rank into `out`, a new directory.
///
/// # Errors
///
/// A directory that is there already, an adapter that cannot be read, a rank that is no smaller.
pub fn compress(adapter: &Path, keep: Keep, out: &Path) -> Result<Compressed, AppError> {
    AppError::unless_new(out)?;
    let read = StoredAdapter::read(adapter_of(adapter)?)?;
    let (compressed, layers) = combine::compress(&read, keep)?;
    write(&compressed, out)?;
    let (rank_before, rank) = (read.rank(), compressed.rank());
    let notes = read.config.passed_over().into_iter().collect();
    Ok(Compressed { out: out.to_owned(), rank_before, rank, layers, notes })
}

/// Writes an adapter beside its place and renames it, so that what is there is whole.
pub(crate) fn write(adapter: &StoredAdapter, out: &Path) -> Result<(), AppError> {
    let scratch = files::scratch_dir(atomic::parent(out))?;
    let inside = scratch.path().join("adapter");
    adapter.write(&inside)?;
    Ok(files::put_in_place(&inside, out)?)
}

/// The least share that is kept of a layer's change, and that layer, in words.
pub(crate) fn least(layers: &[LayerKept]) -> String {
    let least = layers.iter().min_by(|one, other| one.energy.total_cmp(&other.energy));
    least.map_or_else(String::new, |layer| {
        format!(
            "kept of the changes' squared norms: at least {} % ({})",
            significant(100.0 * layer.energy),
            layer.layer
        )
    })
}

impl fmt::Display for Combined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "combined: {}", self.out.display())?;
        write!(f, "{} layers of rank {}", grouped(self.layers), self.rank)?;
        self.notes.iter().try_for_each(|note| write!(f, "\nnote: {note}"))
    }
}

impl fmt::Display for Compressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "compressed: {}", self.out.display())?;
        let layers = grouped(self.layers.len());
        writeln!(f, "{layers} layers, rank {} -> {}", self.rank_before, self.rank)?;
        f.write_str(&least(&self.layers))?;
        self.notes.iter().try_for_each(|note| write!(f, "\nnote: {note}"))
    }
}
