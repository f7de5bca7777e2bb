//! The matrix file: models, and sweeps over the axes. Parsed, checked whole, and turned into cells.
//!
//! A sweep is a product of its axes; cells that several sweeps name are measured once. `leave_out`
//! takes away the cells that agree with all the keys of one of its entries.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn_lora_models::weights::WeightDtype;
use burn_lora_models::{
    Architecture, CausalConfig, CausalLm, ClassifierConfig, Description, Model, ModelConfig,
    Recompute, SequenceClassifier, SequenceClassifierConfig,
};
use burn_lora_patch::{LoraConfig, PatchReport, plan};
use serde::Deserialize;

use super::cell::CLASSES;
use super::filter::Filter;
use super::record::{Cell, Method};

/// What a matrix file says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// Seeds weights, adapters and batches.
    pub seed: u64,
    /// Processes per cell.
    pub repeat: usize,
    /// Steps of a process that are not timed.
    pub warmup: usize,
    /// Steps that are.
    pub steps: usize,
    /// Configurations as Hugging Face writes them, by name.
    pub models: BTreeMap<String, toml::Table>,
    /// The products of axes.
    #[serde(default)]
    pub sweep: Vec<Sweep>,
    /// What other libraries are compared on.
    #[serde(default)]
    pub comparison: Vec<Comparison>,
    /// Cells that are left out.
    #[serde(default)]
    pub leave_out: Vec<LeaveOut>,
}

/// A product of axes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// What it asks, for people.
    pub question: String,
    /// Whether it is measured with `--full` only.
    #[serde(default)]
    pub full: bool,
    model: Vec<String>,
    method: Vec<Method>,
    #[serde(default)]
    rank: Vec<usize>,
    backend: Vec<String>,
    #[serde(default = "f32_alone")]
    dtype: Vec<WeightDtype>,
    #[serde(default = "all_kept")]
    recompute: Vec<Recompute>,
    batch: Vec<usize>,
    length: Vec<usize>,
}

/// Batches on which other libraries take the same steps, on each of some models.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// What it is, for people: the method and the batches.
    pub name: String,
    /// The models.
    pub model: Vec<String>,
    /// `lora` or `full`.
    pub method: Method,
    /// Of the adapter.
    pub rank: Option<usize>,
    /// Rows of a batch.
    pub batch: usize,
    /// Tokens of a row.
    pub length: usize,
    /// Tokens at the start of each row that carry no loss.
    #[serde(default)]
    pub masked: usize,
    /// What we hold the base in, one process after the other.
    #[serde(default = "f32_alone")]
    pub ours: Vec<WeightDtype>,
    /// What PEFT holds it in: `f32`, `bf16`, or `nf4` by bitsandbytes.
    #[serde(default = "f32_alone")]
    pub peft: Vec<WeightDtype>,
}

fn f32_alone() -> Vec<WeightDtype> {
    vec![WeightDtype::F32]
}

fn all_kept() -> Vec<Recompute> {
    vec![Recompute::None]
}

/// Keys that a cell must agree with to be left out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaveOut {
    model: Option<String>,
    method: Option<Method>,
    rank: Option<usize>,
    backend: Option<String>,
    dtype: Option<WeightDtype>,
    recompute: Option<Recompute>,
    batch: Option<usize>,
    length: Option<usize>,
}

impl LeaveOut {
    fn takes(&self, cell: &Cell) -> bool {
        self.model.as_ref().is_none_or(|model| *model == cell.model)
            && self.method.is_none_or(|method| method == cell.method)
            && self.rank.is_none_or(|rank| Some(rank) == cell.rank)
            && self.backend.as_ref().is_none_or(|backend| *backend == cell.backend)
            && self.dtype.is_none_or(|dtype| dtype == cell.dtype)
            && self.recompute.is_none_or(|recompute| recompute == cell.recompute)
            && self.batch.is_none_or(|batch| batch == cell.batch)
            && self.length.is_none_or(|length| length == cell.length)
    }
}

/// A matrix file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MatrixError {
    /// It cannot be read.
    #[error("cannot read {path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
    /// It is not TOML of that form.
    #[error("{path}: {reason}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What and where.
        reason: toml::de::Error,
    },
    /// Its values contradict one another; all of them at once.
    #[error("{path}:\n  {}", problems.join("\n  "))]
    Values {
        /// The file.
        path: PathBuf,
        /// A line each.
        problems: Vec<String>,
    },
}

/// The configuration of a model of the matrix, in Hugging Face's words.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "a handful exist at a time")]
pub enum Shape {
    /// A decoder.
    Decoder(CausalConfig),
    /// An encoder with a classification head.
    Encoder(SequenceClassifierConfig),
}

impl Shape {
    /// From the text of a `config.json`.
    ///
    /// # Errors
    ///
    /// What the model's own configuration says.
    pub fn parse(json: &str, path: &Path) -> Result<Self, String> {
        let shape = Architecture::of_json(json, path).and_then(|architecture| {
            Ok(match architecture.is_causal() {
                true => Self::Decoder(CausalConfig::from_json(json, path)?),
                false => Self::Encoder(SequenceClassifierConfig::from_json(json, path)?),
            })
        });
        shape.map_err(|error| error.to_string())
    }

    /// What there is to know of either.
    pub fn about(&self) -> &dyn Description {
        match self {
            Self::Decoder(config) => config.about(),
            Self::Encoder(config) => config.about(),
        }
    }

    /// What would be adapted of a model of this shape, which is made without its weights.
    ///
    /// # Errors
    ///
    /// What the model or the targets say.
    pub fn planned(&self, config: &LoraConfig) -> Result<PatchReport, String> {
        match self {
            Self::Decoder(shape) => planned::<CausalLm>(shape, config),
            Self::Encoder(shape) => {
                planned::<SequenceClassifier>(&shape.clone().with_num_labels(CLASSES), config)
            }
        }
    }

    /// The columns of its logits.
    pub fn classes(&self) -> usize {
        match self {
            Self::Decoder(config) => config.about().vocab_size(),
            Self::Encoder(_) => CLASSES,
        }
    }

    /// Tokens that a row may have.
    fn limit(&self) -> usize {
        self.about().context().unwrap_or(usize::MAX)
    }
}

fn planned<M: Model>(shape: &M::Config, config: &LoraConfig) -> Result<PatchReport, String> {
    let device = burn_lora::device::parse("cpu").map_err(|error| error.to_string())?;
    let model = M::outline(shape, &device).map_err(|error| error.to_string())?;
    plan(&model, config).map_err(|error| error.to_string())
}

impl Matrix {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or is not of this form; all its values that contradict one
    /// another.
    pub fn read(path: &Path) -> Result<Self, MatrixError> {
        let text = std::fs::read_to_string(path)
            .map_err(|reason| MatrixError::Read { path: path.to_owned(), reason })?;
        let matrix: Self = toml::from_str(&text)
            .map_err(|reason| MatrixError::Parse { path: path.to_owned(), reason })?;
        let problems = matrix.problems(path);
        match problems.is_empty() {
            true => Ok(matrix),
            false => Err(MatrixError::Values { path: path.to_owned(), problems }),
        }
    }

    /// The text of a model's `config.json`.
    pub fn config(&self, model: &str) -> Option<String> {
        self.models.get(model).and_then(|table| serde_json::to_string(table).ok())
    }

    /// The cells, those that are compared with one another side by side.
    pub fn cells(&self, full: bool, filters: &[Filter]) -> Vec<Cell> {
        let sweeps = self.sweep.iter().filter(|sweep| full || !sweep.full);
        let cells: BTreeSet<Cell> = sweeps.flat_map(Sweep::cells).collect();
        cells
            .into_iter()
            .filter(|cell| !self.leave_out.iter().any(|entry| entry.takes(cell)))
            .filter(|cell| filters.iter().all(|filter| filter.keeps(cell)))
            .collect()
    }

    fn problems(&self, path: &Path) -> Vec<String> {
        let mut problems = Vec::new();
        if self.repeat == 0 || self.steps == 0 {
            problems.push("`repeat` and `steps` must be at least 1".to_owned());
        }
        let is_half = |dtype: &WeightDtype| *dtype != WeightDtype::F32;
        let mut limits = BTreeMap::new();
        for name in self.models.keys() {
            match Shape::parse(&self.config(name).unwrap_or_default(), path) {
                Ok(shape) => {
                    limits.insert(name, shape.limit());
                }
                Err(reason) => problems.push(format!("models.{name}: {reason}")),
            }
        }
        for sweep in &self.sweep {
            let question = &sweep.question;
            if sweep.rank.is_empty() && sweep.method.iter().any(|method| method.has_rank()) {
                problems.push(format!("sweep \"{question}\": `rank` is missing"));
            }
            if sweep.rank.contains(&0) || sweep.batch.contains(&0) || sweep.length.contains(&0) {
                problems.push(format!("sweep \"{question}\": an axis holds a 0"));
            }
            let trains_weights =
                |method: &Method| matches!(method, Method::Full | Method::Composed);
            if sweep.dtype.iter().any(is_half) && sweep.method.iter().any(trains_weights) {
                problems.push(format!(
                    "sweep \"{question}\": full and composed take their gradients in f32 alone"
                ));
            }
            if sweep.recompute.contains(&Recompute::Block) && sweep.method.contains(&Method::Merged)
            {
                problems.push(format!("sweep \"{question}\": an inference recomputes nothing"));
            }
            for model in &sweep.model {
                match limits.get(model) {
                    None if self.models.contains_key(model) => {}
                    None => problems.push(format!(
                        "sweep \"{question}\": there is no model `{model}`; there are {}",
                        self.models.keys().cloned().collect::<Vec<_>>().join(", ")
                    )),
                    Some(limit) => problems.extend(
                        sweep.length.iter().filter(|length| *length > limit).map(|length| {
                            format!(
                                "sweep \"{question}\": {model} reads {limit} tokens, not {length}"
                            )
                        }),
                    ),
                }
            }
        }
        for comparison in &self.comparison {
            let Comparison { name, method, rank, ours, peft, length, masked, .. } = comparison;
            let mut problem = |what: &str| problems.push(format!("comparison \"{name}\": {what}"));
            if !matches!(method, Method::Lora | Method::Dora | Method::Miss | Method::Full) {
                problem("PEFT takes steps of `lora`, `dora`, `miss` and `full`");
            }
            if rank.is_none_or(|rank| rank == 0) && method.has_rank() {
                problem("`rank` is missing");
            }
            if *method == Method::Full && (ours.iter().chain(peft).any(is_half)) {
                problem("full takes its gradients in f32 alone");
            }
            let held = [WeightDtype::F32, WeightDtype::Bf16, WeightDtype::Nf4];
            if !peft.iter().all(|dtype| held.contains(dtype)) {
                problem("PEFT holds a base in f32, bf16 or nf4");
            }
            if comparison.batch == 0 || length <= masked {
                problem("no token carries loss");
            }
            for model in &comparison.model {
                match limits.get(model) {
                    None if self.models.contains_key(model) => {}
                    None => problem(&format!("there is no model `{model}`")),
                    Some(limit) if length > limit => {
                        problem(&format!("{model} reads {limit} tokens, not {length}"));
                    }
                    Some(_) => {}
                }
            }
        }
        problems
    }
}

impl Sweep {
    fn cells(&self) -> Vec<Cell> {
        let mut cells = vec![];
        let Self { model, method, backend, dtype, recompute, batch, length, .. } = self;
        let ranks: Vec<Option<usize>> = self.rank.iter().copied().map(Some).collect();
        let ways = |method: Method| {
            let ranks = if method.has_rank() { &ranks[..] } else { &[None] };
            recompute.iter().flat_map(move |&way| ranks.iter().map(move |&rank| (way, rank)))
        };
        for (model, backend, &dtype) in product(model, backend, dtype) {
            for (&batch, &length, &method) in product(batch, length, method) {
                cells.extend(ways(method).map(|(recompute, rank)| Cell {
                    model: model.clone(),
                    backend: backend.clone(),
                    dtype,
                    recompute,
                    batch,
                    length,
                    method,
                    rank,
                }));
            }
        }
        cells
    }
}

fn product<'a, A, B, C>(
    a: &'a [A],
    b: &'a [B],
    c: &'a [C],
) -> impl Iterator<Item = (&'a A, &'a B, &'a C)> {
    a.iter().flat_map(move |a| b.iter().flat_map(move |b| c.iter().map(move |c| (a, b, c))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
seed = 0
repeat = 2
warmup = 1
steps = 1
[models.tiny]
model_type = "llama"
vocab_size = 16
hidden_size = 8
intermediate_size = 8
num_hidden_layers = 1
num_attention_heads = 2
max_position_embeddings = 32
[[sweep]]
question = "ranks"
model = ["tiny"]
method = ["lora", "full"]
rank = [1, 2]
backend = ["flex", "cuda"]
batch = [1]
length = [8]
[[sweep]]
question = "more"
full = true
model = ["tiny"]
method = ["lora"]
rank = [2, 4]
backend = ["flex"]
batch = [1]
length = [8]
[[leave_out]]
backend = "cuda"
method = "full"
"#;

    fn read(text: &str) -> Result<Matrix, MatrixError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("matrix.toml");
        std::fs::write(&path, text).unwrap();
        Matrix::read(&path)
    }

    #[test]
    fn sweeps_become_cells_once_and_what_is_left_out_is_not_among_them() {
        let matrix = read(TEXT).unwrap();
        let names = |cells: Vec<Cell>| cells.iter().map(Cell::to_string).collect::<Vec<_>>();
        let small = names(matrix.cells(false, &[]));
        assert_eq!(
            small,
            [
                "tiny lora r=1 cuda 1x8",
                "tiny lora r=2 cuda 1x8",
                "tiny full flex 1x8",
                "tiny lora r=1 flex 1x8",
                "tiny lora r=2 flex 1x8",
            ]
        );
        assert_eq!(matrix.cells(true, &[]).len(), small.len() + 1);
        let filters = ["rank=2,4", "backend=flex"].map(|text| text.parse().unwrap());
        assert_eq!(
            names(matrix.cells(false, &filters)),
            ["tiny full flex 1x8", "tiny lora r=2 flex 1x8"]
        );
    }

    #[test]
    fn the_matrix_of_the_repository_can_be_measured() {
        let matrix = Matrix::read(&crate::root().join("benches/matrix.toml")).unwrap();
        let small = matrix.cells(false, &[]).len();
        assert!(small > 0 && matrix.cells(true, &[]).len() > small);
    }

    #[test]
    fn the_table_of_bases_compares_every_model_with_every_base() {
        let matrix = Matrix::read(&crate::root().join("benches/bases.toml")).unwrap();
        assert!(matrix.cells(true, &[]).is_empty());
        let [comparison] = &matrix.comparison[..] else { panic!("one comparison") };
        assert_eq!(
            (comparison.model.len(), comparison.ours.len(), comparison.peft.len()),
            (4, 4, 2)
        );
    }

    #[test]
    fn a_comparison_that_cannot_be_taken_is_refused() {
        let comparison = |keys: &str| {
            read(&format!(
                "{TEXT}[[comparison]]\nname = \"c\"\nmodel = [\"tiny\"]\nbatch = 1\nlength = 8\n{keys}"
            ))
        };
        assert_eq!(comparison("method = \"lora\"\nrank = 2\n").unwrap().comparison.len(), 1);
        for (keys, said) in [
            ("method = \"lora\"", "`rank` is missing"),
            ("method = \"lora-fa\"\nrank = 2", "steps of `lora`, `dora`, `miss` and `full`"),
            ("method = \"full\"\nours = [\"q4\"]", "in f32 alone"),
            ("method = \"full\"\npeft = [\"q4\"]", "f32, bf16 or nf4"),
            ("method = \"full\"\nmasked = 8", "no token carries loss"),
        ] {
            let error = comparison(keys).unwrap_err().to_string();
            assert!(error.contains(said), "{said} is not in {error}");
        }
    }

    #[test]
    fn what_is_trained_whole_is_not_held_in_half_precision() {
        let text = TEXT.replacen(
            "backend = [\"flex\", \"cuda\"]",
            "backend = [\"flex\"]\ndtype = [\"f32\", \"bf16\"]",
            1,
        );
        assert!(read(&text).unwrap_err().to_string().contains("in f32 alone"));
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let text = TEXT
            .replacen("length = [8]", "length = [64]", 1)
            .replacen("rank = [2, 4]", "rank = [0]", 1)
            .replacen("repeat = 2", "repeat = 0", 1)
            .replacen("num_attention_heads = 2", "num_attention_heads = 3", 1);
        let error = read(&text).unwrap_err().to_string();
        for part in ["`repeat`", "models.tiny", "holds a 0"] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
        let text = TEXT.replacen("length = [8]", "length = [64]", 1);
        assert!(read(&text).unwrap_err().to_string().contains("reads 32 tokens, not 64"));
        let text = TEXT.replacen("model = [\"tiny\"]", "model = [\"tony\"]", 1);
        assert!(read(&text).unwrap_err().to_string().contains("there is no model `tony`"));
        assert!(read("sed = 0").unwrap_err().to_string().contains("sed"));
    }
}
