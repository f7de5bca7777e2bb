//! A checkpoint laid over a model: compared with it first, then read.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn_lora_files::floats::{Dtype, is_float};

use super::cause::{Differences, cause};
use super::checkpoint::{Checkpoint, Entry};
use super::manifest::Manifest;
use super::{Builder, Random, Role, Source, Storage, TensorSpec, Values, WeightDtype};
use crate::{ModelError, TensorProblem};

/// What loading a checkpoint came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadReport {
    /// How many tensors were read.
    pub tensors: usize,
    /// How many bytes of the files they are.
    pub bytes: u64,
    /// Keys that no file has and that started afresh from the seed: a classification head.
    pub fresh: Vec<String>,
    /// Keys in the files that the model has no use for and that are known to be harmless.
    pub tolerated: Vec<String>,
}

/// The list of a model's blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks {
    /// Its path, without the family's prefix.
    pub path: &'static str,
    /// The key of `config.json` that counts them.
    pub key: &'static str,
    /// How many there are.
    pub count: usize,
}

/// How the keys of a family's checkpoints may differ from its models'.
#[derive(Debug, Clone, Copy)]
pub struct CheckpointKeys {
    /// The task model's key prefix, such as `model.`, that a bare base model's files lack.
    pub prefix: &'static str,
    /// The list of blocks.
    pub blocks: Blocks,
    /// Groups of keys, by prefix, that start afresh where a file has none of the group.
    pub fresh: &'static [&'static str],
    /// Whether a surplus key, without the prefix, is harmless.
    pub tolerated: fn(&str) -> bool,
    /// Whether the head is the token table, so that a `lm_head.weight` is its copy and harmless.
    pub tied: bool,
    /// Keys of the model that files have under another name, with that name.
    pub renamed: &'static [(&'static str, &'static str)],
    /// What keys begin with, and what in its place where the model is a part of another one.
    pub parts: &'static [(&'static str, &'static str)],
}

impl CheckpointKeys {
    /// What files call the tensor that has that key in the model.
    pub(crate) fn in_files<'a>(&self, key: &'a str) -> &'a str {
        let renamed = self.renamed.iter().find(|(own, _)| *own == key);
        renamed.map_or(key, |&(_, name)| name)
    }

    /// What a file may call the tensor that has that key in the model: with or without the prefix, or as of a part, and
    /// with the names that the first BERT checkpoints have for a norm's tensors.
    fn names(&self, key: &str) -> impl Iterator<Item = String> {
        let bare = key.strip_prefix(self.prefix).map(str::to_owned);
        let part = |(own, part): &(&str, &str)| Some(format!("{part}{}", key.strip_prefix(own)?));
        let names = [Some(self.in_files(key).to_owned()), Some(key.to_owned()), bare];
        names.into_iter().flatten().chain(self.parts.iter().filter_map(part)).flat_map(|name| {
            let legacy = name
                .strip_suffix("LayerNorm.weight")
                .map(|path| format!("{path}LayerNorm.gamma"))
                .or_else(|| {
                    name.strip_suffix("LayerNorm.bias").map(|path| format!("{path}LayerNorm.beta"))
                });
            [Some(name), legacy].into_iter().flatten()
        })
    }

    /// What the model calls the tensor of that name in a file, without the prefix.
    fn bare<'a>(&self, name: &'a str) -> Cow<'a, str> {
        let part = |(own, part): &(&str, &str)| Some(format!("{own}{}", name.strip_prefix(part)?));
        let bare = |name: &str| name.strip_prefix(self.prefix).map(str::to_owned);
        match self.parts.iter().find_map(part) {
            Some(own) => Cow::Owned(bare(&own).unwrap_or(own)),
            None => Cow::Borrowed(name.strip_prefix(self.prefix).unwrap_or(name)),
        }
    }
}

/// Builds a model from the checkpoint in `dir`.
///
/// `build` runs twice: dry, for the list of tensors, and for good. What may start afresh comes from
/// `random`.
pub(crate) fn load<M>(
    dir: &Path,
    at: Storage<'_>,
    keys: &CheckpointKeys,
    random: Random,
    progress: &mut dyn FnMut(u64, u64),
    build: impl Fn(&mut Builder<'_>) -> Result<M, ModelError>,
) -> Result<(M, LoadReport), ModelError> {
    let (outline, checkpoint, plan) = fitted(dir, at, keys, &build)?;
    drop(outline);
    let report = LoadReport {
        tensors: plan.entries.len(),
        bytes: plan.entries.values().map(|entry| entry.len).sum(),
        fresh: plan.fresh,
        tolerated: plan.tolerated,
    };
    let mut source = Reader {
        checkpoint,
        entries: plan.entries,
        random,
        done: 0,
        total: report.bytes,
        progress,
    };
    (source.progress)(0, report.bytes);
    Ok((build(&mut Builder::new(&mut source, at))?, report))
}

/// The model of the checkpoint in `dir` by its shapes; its headers are read and compared, and nothing else.
pub(crate) fn outline<M>(
    dir: &Path,
    at: Storage<'_>,
    keys: &CheckpointKeys,
    build: impl Fn(&mut Builder<'_>) -> Result<M, ModelError>,
) -> Result<M, ModelError> {
    fitted(dir, at, keys, &build).map(|(model, ..)| model)
}

/// The model by its shapes, and the checkpoint that fits it.
pub(super) fn fitted<M>(
    dir: &Path,
    at: Storage<'_>,
    keys: &CheckpointKeys,
    build: &impl Fn(&mut Builder<'_>) -> Result<M, ModelError>,
) -> Result<(M, Checkpoint, Plan), ModelError> {
    let checkpoint = Checkpoint::open(dir)?;
    enough_blocks(dir, &checkpoint, keys)?;
    let mut manifest = Manifest::default();
    let model = build(&mut Builder::new(&mut manifest, at))?;
    let plan = plan(dir, &manifest.specs, &checkpoint, keys)?;
    Ok((model, checkpoint, plan))
}

/// Sees to it that no more blocks are made, even by their shapes, than there are tensors for. Where the tensors are of
/// no block at all, they are told by their names.
fn enough_blocks(
    dir: &Path,
    checkpoint: &Checkpoint,
    keys: &CheckpointKeys,
) -> Result<(), ModelError> {
    let Blocks { path, key, count } = keys.blocks;
    let block = |name: &String| -> Option<usize> {
        keys.bare(name).strip_prefix(path)?.strip_prefix('.')?.split('.').next()?.parse().ok()
    };
    match checkpoint.tensors.keys().filter_map(block).max() {
        Some(last) if count > last.saturating_add(1) => {
            Err(ModelError::Blocks { dir: dir.to_owned(), key, count, found: last + 1 })
        }
        _ => Ok(()),
    }
}

pub(super) struct Plan {
    /// By the model's key.
    pub(super) entries: BTreeMap<String, Entry>,
    fresh: Vec<String>,
    tolerated: Vec<String>,
}

fn plan(
    dir: &Path,
    specs: &[TensorSpec],
    checkpoint: &Checkpoint,
    keys: &CheckpointKeys,
) -> Result<Plan, ModelError> {
    let mut used = BTreeSet::new();
    let mut found = BTreeMap::new();
    for spec in specs {
        let key = keys.names(&spec.key).find_map(|name| checkpoint.tensors.get_key_value(&name));
        if let Some((key, entry)) = key {
            used.insert(key.as_str());
            found.insert(spec.key.as_str(), (key, entry));
        }
    }
    let starts_fresh = |key: &str| {
        keys.fresh.iter().any(|group| {
            key.starts_with(group) && !found.keys().any(|found| found.starts_with(group))
        })
    };

    let mut plan = Plan { entries: BTreeMap::new(), fresh: Vec::new(), tolerated: Vec::new() };
    let mut problems = Vec::new();
    for spec in specs {
        let Some(&(key, entry)) = found.get(spec.key.as_str()) else {
            match starts_fresh(&spec.key) {
                true => plan.fresh.push(spec.key.clone()),
                false => problems.push(TensorProblem::Missing { key: spec.key.clone() }),
            }
            continue;
        };
        let (key, file) = (key.clone(), checkpoint.file(entry).to_owned());
        if entry.shape != spec.shape {
            let (found, expected) = (entry.shape.clone(), spec.shape.clone());
            problems.push(TensorProblem::Shape { key, file, found, expected });
        } else if !is_float(entry.dtype) {
            problems.push(TensorProblem::Dtype { key, file, found: entry.dtype.to_string() });
        } else {
            plan.entries.insert(spec.key.clone(), entry.clone());
        }
    }
    for (key, entry) in &checkpoint.tensors {
        if used.contains(key.as_str()) {
            continue;
        }
        let bare = keys.bare(key);
        let is_head = ["lm_head.weight", keys.in_files("lm_head.weight")].contains(&&*bare);
        match (keys.tolerated)(&bare) || keys.tied && is_head {
            true => plan.tolerated.push(key.clone()),
            false => problems.push(TensorProblem::Surplus {
                key: key.clone(),
                file: checkpoint.file(entry).to_owned(),
            }),
        }
    }
    if problems.is_empty() {
        return Ok(plan);
    }
    let dir = dir.to_owned();
    if let Some((group, found, wanted)) = other_head(&problems, keys.fresh) {
        return Err(ModelError::Head { dir, found, wanted, group });
    }
    let (mut missing, mut unused) = (BTreeSet::new(), BTreeSet::new());
    for problem in &problems {
        match problem {
            TensorProblem::Missing { key } => missing.insert(key.as_str()),
            TensorProblem::Surplus { key, .. } => unused.insert(key.as_str()),
            _ => false,
        };
    }
    let needed = found.values().filter(|(_, entry)| !is_float(entry.dtype));
    let mut unread: BTreeMap<&str, Dtype> =
        needed.map(|(key, entry)| (key.as_str(), entry.dtype)).collect();
    // One among other problems is a line of theirs.
    if unread.len() < problems.len().min(2) {
        unread.clear();
    }
    let has = |format: Dtype| checkpoint.tensors.values().any(|entry| entry.dtype == format);
    let cause = cause(&Differences { missing, unused, unread }, has, keys.prefix);
    Err(match cause {
        Some(cause) => ModelError::OtherTensors { dir, cause },
        None => ModelError::Tensors { dir, problems },
    })
}

/// The head, its outputs and those that are wanted, where nothing differs but their number.
fn other_head(
    problems: &[TensorProblem],
    heads: &'static [&'static str],
) -> Option<(&'static str, usize, usize)> {
    let of = |problem: &TensorProblem| match problem {
        TensorProblem::Shape { key, found, expected, .. } => {
            let group = heads.iter().copied().find(|head| key.starts_with(head))?;
            let ([found, rest @ ..], [wanted, others @ ..]) = (&found[..], &expected[..]) else {
                return None;
            };
            (rest == others).then_some((group, *found, *wanted))
        }
        _ => None,
    };
    let first = of(problems.first()?)?;
    problems.iter().all(|problem| of(problem) == Some(first)).then_some(first)
}

/// The planned tensors from the files, the rest from the random source.
struct Reader<'a> {
    checkpoint: Checkpoint,
    entries: BTreeMap<String, Entry>,
    random: Random,
    done: u64,
    total: u64,
    progress: &'a mut dyn FnMut(u64, u64),
}

impl Source for Reader<'_> {
    fn values(&mut self, spec: &TensorSpec) -> Result<Option<Values>, ModelError> {
        let Some(entry) = self.entries.get(&spec.key) else {
            return self.random.values(spec);
        };
        let (done, total, progress) = (&mut self.done, self.total, &mut self.progress);
        let read = &mut |bytes| {
            *done += bytes;
            progress(*done, total);
        };
        Ok(Some(match spec.dtype {
            WeightDtype::F32 => Values::F32(self.checkpoint.read(entry, spec, read)?),
            WeightDtype::F16 => Values::F16(self.checkpoint.read(entry, spec, read)?),
            WeightDtype::Bf16 => Values::Bf16(self.checkpoint.read(entry, spec, read)?),
            WeightDtype::Q8 | WeightDtype::Q4 | WeightDtype::Nf4 => {
                let shape = [spec.shape[0], spec.shape[1]];
                let mut quantiser = spec.quantiser(shape, spec.role == Role::Linear);
                self.checkpoint.rows(entry, read, &mut |rows| quantiser.take(rows))?;
                Values::finished(quantiser, spec)?
            }
        }))
    }
}
