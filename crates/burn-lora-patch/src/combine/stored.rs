//! An adapter as its two files have it, without a model: read, and written again.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use burn_lora::Method;
use burn_lora_files::floats::values_f64;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};

use super::targets::of_rank;
use super::{CombineProblem, Factors, Scales};
use crate::config::HEAD;
use crate::error::PatchError;
use crate::peft::files::{self, write_whole};
use crate::peft::keys::{of_tied_head, prefixed, transpose};
use crate::peft::{CONFIG_FILE, PeftConfig, TENSORS_FILE, plain_key, read_config, usable};

/// What follows the path of an embedding in the keys of its factors, A first.
const EMBEDDING: [&str; 2] = ["lora_embedding_A", "lora_embedding_B"];

/// An adapter directory in memory: LoRA, with its factors in f64.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredAdapter {
    /// Where it was read; empty of one that was made.
    pub dir: PathBuf,
    /// Its configuration.
    pub config: PeftConfig,
    /// Its layers by path.
    pub layers: BTreeMap<String, StoredLayer>,
    /// Modules trained whole, as they lie.
    pub whole: Vec<WholeTensor>,
}

/// A layer of an adapter directory.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredLayer {
    /// How its factors lie in the file.
    pub place: Place,
    /// The factors, as matrices.
    pub factors: Factors,
}

/// How a layer's factors lie in a file: keys behind the layer's path, and shapes beside the rank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    keys: [&'static str; 2],
    /// Of A: what follows the rank.
    inputs: Vec<usize>,
    /// Of B: what stands before the rank, and how many ones follow it.
    outputs: (usize, usize),
}

impl Place {
    /// That of a linear layer.
    pub fn linear(d_in: usize, d_out: usize) -> Self {
        Self { keys: of_linear(), inputs: vec![d_in], outputs: (d_out, 0) }
    }

    /// Whether the factors are those of an embedding.
    pub fn is_table(&self) -> bool {
        self.keys == EMBEDDING
    }

    /// Whether the factors are those of a convolution.
    pub fn is_convolution(&self) -> bool {
        self.inputs.len() > 1 || self.outputs.1 > 0
    }

    /// The shape of A in the file, of that rank.
    fn shape_a(&self, rank: usize) -> Vec<usize> {
        [&[rank], &self.inputs[..]].concat()
    }

    /// The shape of B in the file, of that rank.
    fn shape_b(&self, rank: usize) -> Vec<usize> {
        let (d_out, ones) = self.outputs;
        [&[d_out, rank], &vec![1; ones][..]].concat()
    }
}

/// A tensor that is no factor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeTensor {
    /// Its key, with PEFT's prefix.
    pub key: String,
    /// Its number format.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its bytes, as the file has them.
    pub bytes: Vec<u8>,
}

impl StoredAdapter {
    /// Reads an adapter directory.
    ///
    /// # Errors
    ///
    /// Files that are not there or not whole; settings that change what the factors mean, and kinds other than LoRA; factors
    /// that do not fit each other or the configuration's rank; values that are not finite or too large.
    pub fn read(dir: impl AsRef<Path>) -> Result<Self, PatchError> {
        let dir = dir.as_ref();
        let config = read_config(dir)?;
        is_lora(dir, &config)?;
        let (path, bytes) = (dir.join(TENSORS_FILE), files::read(dir, TENSORS_FILE)?);
        let tensors = SafeTensors::deserialize(&bytes)
            .map_err(|error| PatchError::damaged(&path, &error.to_string()))?;
        usable(&tensors, &path, 1.0)?;
        let (mut pairs, whole) = sorted(&tensors);
        if config.ensure_weight_tying && pairs.keys().any(|(_, keys)| *keys == EMBEDDING) {
            // They are the table's, turned, and are written so again.
            pairs.retain(|(layer, _), _| layer != HEAD);
        }
        if let Some(stray) = whole.iter().find(|tensor| tensor.key.contains(".lora_")) {
            let key = stray.key.clone();
            return Err(CombineProblem::Stray { dir: dir.to_owned(), key }.into());
        }
        let scales = Scales::of(&config, dir)?;
        let mut layers = BTreeMap::new();
        for ((layer, keys), pair) in pairs {
            let stored = stored(dir, &layer, keys, &pair, &scales)?;
            layers.insert(layer, stored);
        }
        if layers.is_empty() {
            return Err(CombineProblem::Empty { dir: dir.to_owned() }.into());
        }
        Ok(Self { dir: dir.to_owned(), config, layers, whole })
    }

    /// An adapter of these layers, all of which it gives the largest rank of one: with that rank and the scale 1 in the
    /// configuration, whatever it says else. The layers' own scales must be 1.
    pub fn of(
        config: PeftConfig,
        mut layers: BTreeMap<String, StoredLayer>,
        whole: Vec<WholeTensor>,
    ) -> Self {
        let rank = layers.values().map(|layer| layer.factors.rank).max().unwrap_or(0);
        for (path, StoredLayer { place, factors }) in std::mem::take(&mut layers) {
            layers.insert(path, StoredLayer { place, factors: factors.widened(rank) });
        }
        Self { dir: PathBuf::new(), config: of_rank(config, rank), layers, whole }
    }

    /// The largest rank of a layer.
    pub fn rank(&self) -> usize {
        self.layers.values().map(|layer| layer.factors.rank).max().unwrap_or(0)
    }

    /// Writes the two files, in f32, into `dir`, which is made if need be.
    ///
    /// # Errors
    ///
    /// Values that f32 cannot hold or that are too large to compute with; what the system says.
    pub fn write(&self, dir: impl AsRef<Path>) -> Result<(), PatchError> {
        let dir = dir.as_ref();
        let files = self.files()?;
        std::fs::create_dir_all(dir).map_err(|source| PatchError::Io {
            action: "create",
            path: dir.to_owned(),
            source,
        })?;
        files.iter().try_for_each(|(name, bytes)| write_whole(&dir.join(name), bytes))
    }

    /// The names and the bytes of the two files that [`write`](Self::write) writes: the tensors', then the configuration's.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write), but for what the system says.
    pub fn files(&self) -> Result<[(&'static str, Vec<u8>); 2], PatchError> {
        let text = self.config.to_json().map_err(|error| PatchError::Config {
            path: CONFIG_FILE.into(),
            reason: error.to_string(),
        })?;
        Ok([(TENSORS_FILE, self.tensors()?), (CONFIG_FILE, text.into_bytes())])
    }

    /// The table with an adapter that is the head's, too.
    fn tied(&self) -> Option<(&String, &StoredLayer)> {
        let tied = self.config.ensure_weight_tying && !self.layers.contains_key(HEAD);
        self.layers.iter().find(|(_, layer)| tied && layer.place.keys == EMBEDDING)
    }

    /// The bytes of the tensor file.
    fn tensors(&self) -> Result<Vec<u8>, PatchError> {
        let bytes = |values: &[f64]| -> Vec<u8> {
            values.iter().flat_map(|value| (*value as f32).to_le_bytes()).collect()
        };
        let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
        for (path, StoredLayer { place, factors }) in &self.layers {
            let [a, b] = place.keys.map(|key| prefixed(path, key));
            tensors.push((a, Dtype::F32, place.shape_a(factors.rank), bytes(&factors.a)));
            tensors.push((b, Dtype::F32, place.shape_b(factors.rank), bytes(&factors.b)));
        }
        if let Some((table, StoredLayer { factors, .. })) = self.tied() {
            let [(a, _), (b, _)] = of_tied_head(table);
            let Factors { rank, d_in, d_out, .. } = *factors;
            let turned = [
                (a, [rank, d_out], transpose(&factors.b, d_out, rank)),
                (b, [d_in, rank], transpose(&factors.a, rank, d_in)),
            ];
            tensors.extend(
                turned
                    .map(|(key, shape, values)| (key, Dtype::F32, shape.to_vec(), bytes(&values))),
            );
        }
        for WholeTensor { key, dtype, shape, bytes } in &self.whole {
            tensors.push((key.clone(), *dtype, shape.clone(), bytes.clone()));
        }
        let damaged = |error: safetensors::SafeTensorError| PatchError::Damaged {
            path: TENSORS_FILE.into(),
            reason: error.to_string(),
        };
        let mut views = Vec::with_capacity(tensors.len());
        for (key, dtype, shape, bytes) in &tensors {
            views.push((key, TensorView::new(*dtype, shape.clone(), bytes).map_err(damaged)?));
        }
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let whole = serialize(views, Some(metadata)).map_err(damaged)?;
        let tensors = SafeTensors::deserialize(&whole).map_err(damaged)?;
        usable(&tensors, Path::new(TENSORS_FILE), 1.0)?;
        Ok(whole)
    }
}

/// The keys of a linear layer's factors behind its path, A first; those of a convolution's, too.
fn of_linear() -> [&'static str; 2] {
    ["a", "b"].map(|name| Method::Lora.factor(name).map_or("", |factor| factor.key))
}

/// That the change is the product of the factors and nothing else.
fn is_lora(dir: &Path, config: &PeftConfig) -> Result<(), PatchError> {
    let path = || dir.join(CONFIG_FILE);
    let unsupported = |settings| PatchError::Unsupported { path: path(), settings };
    let method = config.method().map_err(|setting| unsupported(vec![setting]))?;
    let reason = match method {
        Method::Dora => {
            "its magnitudes scale the columns of the base, so that its change is no product of factors: merge it into its base, and \
             extract a LoRA adapter from the two models"
        }
        Method::LoraBias => {
            "the bias of its factor B is no part of a product of factors: merge it into its base, where its layers have biases; an adapter \
             that is extracted from the two models lacks them"
        }
        Method::Miss => {
            "its change repeats a block and is no product of trained factors: merge it into its base, and extract a LoRA adapter from \
             the two models"
        }
        _ => {
            // Patterns are read layer by layer.
            let mut plain = config.clone();
            plain.rank_pattern.clear();
            plain.alpha_pattern.clear();
            let tokens = &config.trainable_token_indices;
            if !tokens.is_null() {
                let why = "its rows are no factors: merge it into its base first";
                return Err(unsupported(vec![format!(
                    "trainable_token_indices = {tokens} ({why})"
                )]));
            }
            if let Some(parameters) = config.target_parameters.as_ref().filter(|it| !it.is_empty())
            {
                let (dir, parameters) = (dir.to_owned(), parameters.clone());
                return Err(CombineProblem::Parameters { dir, parameters }.into());
            }
            return plain.to_config().map(drop).map_err(unsupported);
        }
    };
    let (dir, title) = (dir.to_owned(), method.title());
    Err(CombineProblem::Kind { dir, title, reason }.into())
}

/// The two tensors of a layer, as far as they are there.
type Pair<'a> = [Option<TensorView<'a>>; 2];

/// The tensors of all layers, by the layer's path and the keys behind it.
type Pairs<'a> = BTreeMap<(String, [&'static str; 2]), Pair<'a>>;

/// Factors by layer and keys, and all else.
fn sorted<'a>(tensors: &SafeTensors<'a>) -> (Pairs<'a>, Vec<WholeTensor>) {
    let mut pairs = Pairs::new();
    let mut whole = Vec::new();
    for (key, view) in tensors.tensors() {
        let key = plain_key(&key);
        let bare = crate::peft::bare(&key);
        let place = [of_linear(), EMBEDDING].into_iter().find_map(|keys| {
            let at = keys.iter().position(|end| bare.ends_with(end))?;
            let layer = bare.strip_suffix(keys[at])?.strip_suffix('.')?;
            Some((layer.to_owned(), keys, at))
        });
        match place {
            Some((layer, keys, at)) => {
                pairs.entry((layer, keys)).or_insert([None, None])[at] = Some(view);
            }
            None => whole.push(WholeTensor {
                key,
                dtype: view.dtype(),
                shape: view.shape().to_vec(),
                bytes: view.data().to_vec(),
            }),
        }
    }
    whole.sort_by(|one, other| one.key.cmp(&other.key));
    (pairs, whole)
}

fn stored(
    dir: &Path,
    layer: &str,
    keys: [&'static str; 2],
    pair: &Pair<'_>,
    scales: &Scales,
) -> Result<StoredLayer, CombineProblem> {
    let dir = || dir.to_owned();
    let (a, b) = match pair {
        [Some(a), Some(b)] => (a, b),
        [a, _] => {
            let missing = prefixed(layer, keys[usize::from(a.is_some())]);
            return Err(CombineProblem::Unpaired { dir: dir(), missing });
        }
    };
    let (&[rank, ref inputs @ ..], &[d_out, columns, ref rest @ ..]) = (a.shape(), b.shape())
    else {
        return Err(shapes(dir(), layer, a, b));
    };
    let d_in: usize = inputs.iter().product();
    let is_pair = columns == rank && rest.iter().all(|size| *size == 1);
    if !is_pair || inputs.is_empty() || rank * d_in * d_out == 0 {
        return Err(shapes(dir(), layer, a, b));
    }
    let configured = scales.rank(layer);
    if rank != configured {
        let layer = layer.to_owned();
        return Err(CombineProblem::OtherRank { dir: dir(), layer, rank, configured });
    }
    let values = |view: &TensorView<'_>, key: &str| {
        values_f64(view).ok_or_else(|| CombineProblem::Dtype {
            dir: dir(),
            key: prefixed(layer, key),
            dtype: view.dtype().to_string().to_lowercase(),
        })
    };
    let (a, b) = (values(a, keys[0])?, values(b, keys[1])?);
    let scale = scales.of_layer(layer, rank);
    if !(scale >= 0.0 && (scale as f32).is_finite()) {
        let alpha = scales.alpha(layer);
        return Err(CombineProblem::Scale { dir: dir(), layer: layer.to_owned(), alpha });
    }
    let place = Place { keys, inputs: inputs.to_vec(), outputs: (d_out, rest.len()) };
    Ok(StoredLayer { place, factors: Factors { a, b, rank, d_in, d_out, scale } })
}

fn shapes(dir: PathBuf, layer: &str, a: &TensorView<'_>, b: &TensorView<'_>) -> CombineProblem {
    let (a, b) = (a.shape().to_vec(), b.shape().to_vec());
    // Of a convolution with groups, B sees the rank over the groups.
    let grouped = a.len() > 2
        && b.get(1).is_some_and(|columns| *columns > 0 && a[0] > *columns && a[0] % columns == 0);
    CombineProblem::Shapes { dir, layer: layer.to_owned(), a, b, grouped }
}
