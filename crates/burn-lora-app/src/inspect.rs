//! What an adapter is, from its two files alone: no model is needed, and no setting is refused that
//! PEFT may have written. Where the base is at hand, the norms of its adapted weights stand beside.
//!
//! Norms are Frobenius norms, in float64. That of the change `scale · B A` tells which layers an
//! adapter moves and how far; it is computed from the factors ([`product_norm`]), never from a matrix of the
//! weight's shape. DoRA's magnitudes scale the columns of the base weight with that change, so that what they
//! add follows from no file alone: their own norm stands beside. The singular values of the change say which smaller
//! rank would do ([`Spectrum`]). How often a MiSS block repeats, and so the norm of its change, follows from the base.
//! Left out: the values of what is no pair of matrices (embeddings, convolutions, modules trained whole), which is listed
//! with its shapes.

mod base;
mod lines;
mod norms;
mod page;
mod spectrum;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn_lora::{Factor, Method};
use burn_lora_files::floats::values_f64;
use burn_lora_patch::PatchError;
use burn_lora_patch::combine::{Factors as LayerFactors, Scales};
use burn_lora_patch::peft::{
    self, CONFIG_FILE, Modules, PeftConfig, TENSORS_FILE, bare, factor_key, factor_of,
    unwrapped_key,
};
use burn_lora_text::listed;
use burn_lora_train::TrainError;
use burn_lora_train::directory::RunDirectory;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde::Serialize;

use crate::AppError;

pub use norms::product_norm;
pub use spectrum::Spectrum;

/// An adapter, as its files have it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// The adapter's directory.
    pub directory: PathBuf,
    /// The size of its tensor file.
    pub bytes: u64,
    /// The base model's name or path.
    pub base_model: Option<String>,
    /// What PEFT calls the task, such as `CAUSAL_LM`.
    pub task: Option<String>,
    /// The rank that layers have unless a pattern gives them another.
    pub rank: usize,
    /// The alpha that layers have unless a pattern gives them another; none of a kind without a scale.
    pub alpha: Option<f64>,
    /// Whether the scale is alpha / √rank.
    pub rslora: bool,
    /// The kind of adapter.
    pub method: Method,
    /// The targets: names, or one pattern.
    pub targets: Vec<String>,
    /// The layers with factors, those of a stack in its order.
    pub layers: Vec<AdaptedLayer>,
    /// The layers with a block that repeats, of MiSS.
    pub blocks: Vec<BlockLayer>,
    /// Where the base's weights were read, if they were.
    pub base: Option<PathBuf>,
    /// The smallest rank with which every layer would keep 99 % of the square of its change's norm; none where it is not known.
    pub suggested_rank: Option<usize>,
    /// Everything else in the file, such as modules trained whole.
    pub others: Vec<OtherTensor>,
    /// Over all layers.
    pub totals: Totals,
    /// The tensors that hold values which are not finite, or too large to compute with.
    pub broken: Vec<String>,
    /// What should be looked at.
    pub notes: Vec<String>,
}

/// A layer with its factors.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AdaptedLayer {
    /// The layer's path in the model.
    pub path: String,
    /// The rank, as the factors have it.
    pub rank: usize,
    /// The numerator of the scale.
    pub alpha: f64,
    /// What `B A` is multiplied with.
    pub scale: f64,
    /// The shape of A, `[rank, d_in]`.
    pub shape_a: [usize; 2],
    /// The shape of B, `[d_out, rank]`.
    pub shape_b: [usize; 2],
    /// The number format, such as `f32`; both where the factors differ.
    pub dtype: String,
    /// ‖A‖.
    pub norm_a: f64,
    /// ‖B‖; 0 in a layer that has not been trained.
    pub norm_b: f64,
    /// ‖scale · B A‖.
    pub norm_change: f64,
    /// Of DoRA's magnitudes, one an output.
    pub norm_magnitude: Option<f64>,
    /// Of the bias of factor B, one an output.
    pub norm_bias: Option<f64>,
    /// ‖W‖ of the base's weight, where that is at hand.
    pub norm_weight: Option<f64>,
    /// The singular values of the change; none of values that are not finite.
    pub spectrum: Option<Spectrum>,
}

/// A layer with MiSS's block.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BlockLayer {
    /// The layer's path in the model.
    pub path: String,
    /// The shape of the block, `[rank, d_out]`.
    pub shape: [usize; 2],
    /// Its number format.
    pub dtype: String,
    /// ‖D‖; 0 in a layer that has not been trained.
    pub norm_block: f64,
    /// ‖R D‖, of the block repeated down the weight; none where the base is not at hand.
    pub norm_change: Option<f64>,
    /// ‖W‖ of the base's weight, where that is at hand.
    pub norm_weight: Option<f64>,
    /// The squares of the norms of the block's rows.
    #[serde(skip)]
    squares: Vec<f64>,
}

/// A tensor that is no factor of a linear layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OtherTensor {
    /// Its name, without what PEFT puts before all names.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its number format.
    pub dtype: String,
}

/// Sums over an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Totals {
    /// Layers with factors.
    pub layers: usize,
    /// Numbers in the factors.
    pub factor_parameters: usize,
    /// Numbers in everything else.
    pub other_parameters: usize,
    /// The norm of all layers' changes as one vector: the root of the sum of their squares.
    pub norm_change: f64,
}

/// Why an adapter cannot be inspected or is of no use, beside what is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// The run trained a whole model.
    #[error(
        "`{}` trained every parameter: it has a model, but no adapter to inspect",
        run.display()
    )]
    Full {
        /// The run directory.
        run: PathBuf,
    },
    /// The adapter's values are broken.
    #[error(
        "`{}` is of no use: {} of its tensors hold values that are not finite or too large to compute with, {}; go back to an earlier checkpoint",
        adapter.display(), tensors.len(), listed(tensors)
    )]
    Broken {
        /// The adapter's directory.
        adapter: PathBuf,
        /// The tensors.
        tensors: Vec<String>,
    },
    /// A factor of a layer is missing.
    #[error(
        "`{}` has no `{missing}` beside the layer's other factors: save or copy it again",
        file.display()
    )]
    Unpaired {
        /// The tensor file.
        file: PathBuf,
        /// The key that is missing.
        missing: String,
    },
    /// The factors of a layer cannot be multiplied.
    #[error(
        "`{}`: the factors of `{layer}` do not fit: A is {a:?} and should be [rank, d_in], B is {b:?} and should be [d_out, rank]",
        file.display()
    )]
    Shapes {
        /// The tensor file.
        file: PathBuf,
        /// The layer.
        layer: String,
        /// The shape of A.
        a: [usize; 2],
        /// The shape of B.
        b: [usize; 2],
    },
    /// There is not a magnitude, or a number of B's bias, for each output.
    #[error(
        "`{}`: {what} of `{layer}` are {found:?} and should be [{d_out}], one an output",
        file.display()
    )]
    Outputs {
        /// The tensor file.
        file: PathBuf,
        /// The layer.
        layer: String,
        /// What they are.
        what: &'static str,
        /// Their shape.
        found: Vec<usize>,
        /// The layer's outputs.
        d_out: usize,
    },
    /// A factor has numbers that are not read.
    #[error(
        "`{}`: {factor} of `{layer}` is {dtype}, which is not read: f16, bf16, f32 and f64 are",
        file.display()
    )]
    Dtype {
        /// The tensor file.
        file: PathBuf,
        /// The layer.
        layer: String,
        /// The factor.
        factor: String,
        /// Its number format.
        dtype: String,
    },
}

/// Inspects the adapter in a PEFT directory, or that of a run.
///
/// # Errors
///
/// No adapter at `path`, files that are damaged, factors that do not fit each other.
///
/// ```no_run
/// let inspection = burn_lora_app::inspect::inspect("runs/quickstart".as_ref())?;
/// println!("{inspection}");
/// # Ok::<(), burn_lora_app::AppError>(())
/// ```
pub fn inspect(path: &Path) -> Result<Inspection, AppError> {
    inspect_on(path, None)
}

/// As [`inspect`], with the weights of that base, a directory or a model of the hub that is here already; without one,
/// those of the base that the adapter names, if that is here.
///
/// # Errors
///
/// As [`inspect`]; a base that cannot be read.
pub fn inspect_on(path: &Path, base: Option<&Path>) -> Result<Inspection, AppError> {
    let directory = adapter_of(path)?;
    let config = peft::read_config(&directory)?;
    let scales = Scales::of(&config, &directory).map_err(PatchError::from)?;
    let file = directory.join(TENSORS_FILE);
    let bytes = peft::read_file(&directory, TENSORS_FILE)?;
    let tensors = SafeTensors::deserialize(&bytes)
        .map_err(|error| PatchError::damaged(&file, &error.to_string()))?;
    let method = config.method().unwrap_or_default();
    let Sorted { adapted, blocks, others } = sorted(&tensors, method, &file)?;
    let mut layers = Vec::with_capacity(adapted.len());
    for factors in adapted {
        layers.push(factors.inspected(&scales, &file)?);
    }
    let others: Vec<_> = others.into_iter().map(OtherTensor::of).collect();
    let broken = peft::broken(&tensors).into_iter();
    let suggested = layers.iter().map(|layer| Some(layer.spectrum.as_ref()?.suggested_rank));
    let suggested: Option<Vec<usize>> = suggested.collect();
    let inspection = Inspection {
        directory,
        broken: broken.map(|(key, _)| bare(&key).to_owned()).collect(),
        bytes: bytes.len() as u64,
        totals: Totals::of(&layers, &blocks, &others),
        suggested_rank: suggested.and_then(|ranks| ranks.into_iter().max()),
        base: None,
        notes: notes(&config, method, &layers, &others),
        base_model: config.base_model_name_or_path,
        task: config.task_type,
        rank: config.r,
        alpha: method.scaled().then_some(config.lora_alpha),
        rslora: config.use_rslora,
        method,
        targets: match config.target_modules {
            None => Vec::new(),
            Some(Modules::Pattern(pattern)) => vec![pattern],
            Some(Modules::Names(names)) => names,
        },
        layers,
        blocks,
        others,
    };
    inspection.measured(base)
}

/// The directory of the adapter that `path` is, or that the run at `path` trained.
pub(crate) fn adapter_of(path: &Path) -> Result<PathBuf, AppError> {
    let run = RunDirectory::new(path);
    if path.join(CONFIG_FILE).exists() || !run.config().exists() {
        return Ok(path.to_owned());
    }
    match (run.adapter().is_dir(), run.model().is_dir()) {
        (true, _) => Ok(run.adapter()),
        (false, true) => Err(InspectError::Full { run: path.to_owned() }.into()),
        (false, false) => {
            Err(TrainError::Unfinished { dir: path.to_owned(), missing: "adapter" }.into())
        }
    }
}

/// The factors of one layer.
struct Factors<'a> {
    layer: String,
    a: (TensorView<'a>, [usize; 2]),
    b: (TensorView<'a>, [usize; 2]),
    magnitude: Option<TensorView<'a>>,
    bias: Option<TensorView<'a>>,
}

/// The tensors of a file: the factors of layers, and all others by their keys; both in their order.
struct Sorted<'a> {
    adapted: Vec<Factors<'a>>,
    blocks: Vec<BlockLayer>,
    others: Vec<(String, TensorView<'a>)>,
}

fn sorted<'a>(
    tensors: &SafeTensors<'a>,
    method: Method,
    file: &Path,
) -> Result<Sorted<'a>, InspectError> {
    let mut found: BTreeMap<String, BTreeMap<&str, TensorView<'a>>> = BTreeMap::new();
    let mut others = Vec::new();
    for (key, view) in tensors.tensors() {
        match factor_of(method, &unwrapped_key(&key)) {
            Some((layer, factor)) => {
                found.entry(layer.to_owned()).or_default().insert(factor.name, view);
            }
            None => others.push((key, view)),
        }
    }
    let (mut adapted, mut blocks) = (Vec::new(), Vec::new());
    for (layer, mut factors) in found {
        let there = |factor: &&Factor| factors.contains_key(factor.name);
        if let Some(missing) = method.factors().iter().find(|factor| !there(factor)) {
            let missing = factor_key(&layer, missing);
            return Err(InspectError::Unpaired { file: file.to_owned(), missing });
        }
        let matrix = |name: &str| {
            let view = factors.get(name)?;
            <[usize; 2]>::try_from(view.shape()).ok().map(|shape| (view.clone(), shape))
        };
        let block = factors.get("block").filter(|_| method == Method::Miss);
        if let Some(block) = block.and_then(|view| BlockLayer::of(&layer, view)) {
            blocks.push(block);
            continue;
        }
        match (matrix("a"), matrix("b")) {
            (Some(a), Some(b)) => {
                let (magnitude, bias) = (factors.remove("magnitude"), factors.remove("beta"));
                adapted.push(Factors { layer, a, b, magnitude, bias });
            }
            // Those of a convolution.
            _ => others.extend(method.factors().iter().filter_map(|factor| {
                Some((factor_key(&layer, factor), factors.remove(factor.name)?))
            })),
        }
    }
    adapted.sort_by_cached_key(|factors| in_order(&factors.layer));
    others.sort_by_cached_key(|(key, _)| in_order(key));
    blocks.sort_by_cached_key(|block| in_order(&block.path));
    Ok(Sorted { adapted, blocks, others })
}

/// Sorts paths so that layer 10 comes after layer 2.
fn in_order(path: &str) -> Vec<(u64, String)> {
    let segment = |text: &str| match text.parse() {
        Ok(number) => (number, String::new()),
        Err(_) => (u64::MAX, text.to_owned()),
    };
    path.split('.').map(segment).collect()
}

impl Factors<'_> {
    fn inspected(self, scales: &Scales, file: &Path) -> Result<AdaptedLayer, InspectError> {
        let Factors { layer, a: (a, shape_a), b: (b, shape_b), magnitude, bias } = self;
        let rank = shape_a[0];
        if rank == 0 || shape_b[1] != rank {
            let (file, a, b) = (file.to_owned(), shape_a, shape_b);
            return Err(InspectError::Shapes { file, layer, a, b });
        }
        for (what, view) in [("the magnitudes", &magnitude), ("the biases of B", &bias)] {
            if let Some(found) = view.as_ref().filter(|view| *view.shape() != [shape_b[0]]) {
                let (file, found, d_out) = (file.to_owned(), found.shape().to_vec(), shape_b[0]);
                return Err(InspectError::Outputs { file, layer, what, found, d_out });
            }
        }
        let values = |view: &TensorView<'_>, name: &str| {
            values_f64(view).ok_or_else(|| InspectError::Dtype {
                file: file.to_owned(),
                layer: layer.clone(),
                factor: name.to_owned(),
                dtype: dtype(view),
            })
        };
        let (values_a, values_b) = (values(&a, "A")?, values(&b, "B")?);
        let norm_of = |view: &Option<TensorView<'_>>, name: &str| {
            let values = view.as_ref().map(|view| values(view, name)).transpose()?;
            Ok::<_, InspectError>(values.map(|values| norms::norm(&values)))
        };
        let norm_magnitude = norm_of(&magnitude, "the magnitudes")?;
        let norm_bias = norm_of(&bias, "the bias of B")?;
        let (alpha, scale) = (scales.alpha(&layer), scales.of_layer(&layer, rank));
        let (dtype_a, dtype_b) = (dtype(&a), dtype(&b));
        let (norm_a, norm_b) = (norms::norm(&values_a), norms::norm(&values_b));
        let norm_change = scale.abs() * product_norm(&values_a, &values_b, rank);
        let (d_in, d_out) = (shape_a[1], shape_b[0]);
        let factors = LayerFactors { a: values_a, b: values_b, rank, d_in, d_out, scale };
        Ok(AdaptedLayer {
            path: layer,
            rank,
            alpha,
            scale,
            shape_a,
            shape_b,
            dtype: if dtype_a == dtype_b { dtype_a } else { format!("{dtype_a}, {dtype_b}") },
            norm_a,
            norm_b,
            norm_change,
            norm_magnitude,
            norm_bias,
            norm_weight: None,
            spectrum: Spectrum::of(&factors),
        })
    }
}

impl Inspection {
    /// That it is of use.
    ///
    /// # Errors
    ///
    /// Values that are not finite.
    pub fn sound(&self) -> Result<(), InspectError> {
        match self.broken.as_slice() {
            [] => Ok(()),
            tensors => Err(InspectError::Broken {
                adapter: self.directory.clone(),
                tensors: tensors.to_vec(),
            }),
        }
    }
}

impl OtherTensor {
    fn of((key, view): (String, TensorView<'_>)) -> Self {
        Self { name: bare(&key).to_owned(), shape: view.shape().to_vec(), dtype: dtype(&view) }
    }

    /// How many numbers it has.
    pub fn parameters(&self) -> usize {
        self.shape.iter().product()
    }
}

impl AdaptedLayer {
    /// How many numbers its factors have.
    pub fn parameters(&self) -> usize {
        let [a, b] = [self.shape_a, self.shape_b].map(|[rows, columns]| rows * columns);
        let of_outputs = [self.norm_magnitude, self.norm_bias].into_iter().flatten().count();
        a + b + of_outputs * self.shape_b[0]
    }
}

impl BlockLayer {
    /// Of a block with numbers that are read, whose rank is not 0.
    fn of(layer: &str, view: &TensorView<'_>) -> Option<Self> {
        let shape = <[usize; 2]>::try_from(view.shape()).ok().filter(|shape| shape[0] > 0)?;
        let values = values_f64(view)?;
        let row = |at: usize| &values[at * shape[1]..][..shape[1]];
        let squares: Vec<f64> = (0..shape[0]).map(|at| norms::norm(row(at)).powi(2)).collect();
        Some(Self {
            path: layer.to_owned(),
            shape,
            dtype: dtype(view),
            norm_block: squares.iter().sum::<f64>().sqrt(),
            norm_change: None,
            norm_weight: None,
            squares,
        })
    }

    /// ‖R D‖ over a weight of so many inputs, of which every `rank`-th has the same row.
    fn norm_over(&self, d_in: usize) -> f64 {
        let rank = self.squares.len();
        let times = |row: usize| d_in / rank + usize::from(row < d_in % rank);
        let squares = self.squares.iter().enumerate();
        squares.map(|(row, square)| times(row) as f64 * square).sum::<f64>().sqrt()
    }

    /// How many numbers the block has.
    pub fn parameters(&self) -> usize {
        self.shape.iter().product()
    }
}

impl Totals {
    fn of(layers: &[AdaptedLayer], blocks: &[BlockLayer], others: &[OtherTensor]) -> Self {
        let of_blocks: usize = blocks.iter().map(BlockLayer::parameters).sum();
        let of_layers: usize = layers.iter().map(AdaptedLayer::parameters).sum();
        Self {
            layers: layers.len() + blocks.len(),
            factor_parameters: of_layers + of_blocks,
            other_parameters: others.iter().map(OtherTensor::parameters).sum(),
            norm_change: layers.iter().map(|layer| layer.norm_change.powi(2)).sum::<f64>().sqrt(),
        }
    }
}

/// The name of a tensor's number format, in small letters.
fn dtype(view: &TensorView<'_>) -> String {
    view.dtype().to_string().to_lowercase()
}

fn notes(
    config: &PeftConfig,
    method: Method,
    layers: &[AdaptedLayer],
    others: &[OtherTensor],
) -> Vec<String> {
    let mut notes = Vec::new();
    for key in Method::Tokens.factors().iter().map(|factor| factor.key) {
        for tensor in others {
            let table = tensor.name.strip_suffix(key).and_then(|name| name.strip_suffix('.'));
            let Some(table) = table else { continue };
            let rows = tensor.shape.first().copied().unwrap_or(0);
            let tokens = &config.trainable_token_indices;
            notes.push(format!(
                "{rows} rows of `{table}` are trained: trainable_token_indices = {tokens}"
            ));
        }
    }
    for parameter in config.target_parameters.iter().flatten() {
        notes.push(format!(
            "`{parameter}` is a parameter by itself: its factors are those of all its matrices side by side, and what is said of its change \
             is of no single one"
        ));
    }
    if method == Method::Miss {
        let note =
            "MiSS: how often a block repeats, and so its change, follows from the base alone";
        notes.push(note.to_owned());
    } else if layers.is_empty() {
        notes.push("there is no layer with factors".to_owned());
    }
    let broken = |layer: &&AdaptedLayer| {
        let of_outputs = layer.norm_magnitude.unwrap_or(0.0) + layer.norm_bias.unwrap_or(0.0);
        !(layer.norm_a + layer.norm_b + of_outputs).is_finite()
    };
    if let Some(layer) = layers.iter().find(broken) {
        let count = layers.iter().filter(broken).count();
        let (total, path) = (layers.len(), &layer.path);
        notes.push(format!(
            "{count} of {total} layers hold values that are not finite, the first is {path}"
        ));
    }
    let is_untrained =
        |layer: &&AdaptedLayer| layer.norm_b == 0.0 && layer.norm_bias.unwrap_or(0.0) == 0.0;
    let untrained = layers.iter().filter(is_untrained).count();
    if untrained > 0 {
        let total = layers.len();
        notes.push(format!("{untrained} of {total} layers change nothing: their B is zero"));
    }
    notes.extend(config.passed_over());
    if let Err(settings) = config.to_config() {
        notes.push(format!("it cannot be used here, where there is no {}", listed(&settings)));
    }
    if method == Method::Dora {
        notes.push("DoRA: magnitudes act on top of the changes whose norms stand here".to_owned());
    }
    notes
}
