//! An adapter as a GGUF file of its own, which llama.cpp loads beside a base.
//!
//! A file has for every adapted tensor of the base `NAME.weight.lora_a`, `[rank, d_in]`, and `NAME.weight.lora_b`,
//! `[d_out, rank]`, and one `adapter.lora.alpha`: llama.cpp adds `alpha / rank · B A` to what the weight does, with the rank that the
//! tensors have. Rows of B lie where the base's own rows lie (of a Llama's queries and keys they are moved); A is as it was.
//! Of the token table, whose rows are looked up in A, A lies the other way round, `[rows, rank]`.
//!
//! The base's configuration says what there is to adapt and of which sizes: no weight is read.
//!
//! Left out: numbers other than f32; norms, which llama.cpp passes over.

use std::collections::BTreeMap;

use burn::tensor::Device;

use super::super::family::GgufFamily;
use super::header::{self, ALIGNMENT, Listed};
use super::{GgmlType, GgufWriteError, QUANTIZATION, VERSION, Value, family_of};
use crate::weights::{Builder, Manifest, Role, Storage, TensorSpec};
use crate::{Description, Model, ModelConfig, ModelError};

/// The token table, whose rows are looked up.
const TABLE: &str = "token_embd.weight";
/// The head, where the token table is none.
const HEAD: &str = "output.weight";

/// A layer's two factors: its change is `alpha / rank · B A`.
#[derive(Debug, Clone, PartialEq)]
pub struct LowRank {
    /// The layer's path in the base, as Hugging Face has it.
    pub path: String,
    /// Whether it is an embedding: inputs are its rows then, outputs what a row has.
    pub is_table: bool,
    /// Rows of A and columns of B.
    pub rank: usize,
    /// Inputs.
    pub d_in: usize,
    /// Outputs.
    pub d_out: usize,
    /// `[rank, d_in]`, row by row.
    pub a: Vec<f32>,
    /// `[d_out, rank]`, row by row.
    pub b: Vec<f32>,
}

/// An adapter's file, whole.
#[derive(Debug, Clone, PartialEq)]
pub struct GgufAdapter {
    metadata: BTreeMap<String, Value>,
    tensors: Vec<Tensor>,
}

/// A tensor as the file has it.
#[derive(Debug, Clone, PartialEq)]
struct Tensor {
    name: String,
    shape: [usize; 2],
    values: Vec<f32>,
}

impl GgufAdapter {
    /// Of layers of a base with that configuration, called `name` in the file. An `alpha` of 0 means 1 over the rank to llama.cpp
    /// and is not to be given.
    ///
    /// # Errors
    ///
    /// A family without GGUF files; a layer that the base has not, or of other sizes; one that llama.cpp asks for no adapter.
    pub fn new<M: Model>(
        config: &M::Config,
        device: &Device,
        name: &str,
        alpha: f32,
        layers: Vec<LowRank>,
    ) -> Result<Self, ModelError> {
        let about = config.about();
        let family = family_of(about)?;
        let mut manifest = Manifest::default();
        M::build(config, &mut Builder::new(&mut manifest, Storage::from(device)))?;
        let base = Base { family, about, tensors: manifest.specs };
        let mut tensors = Vec::with_capacity(2 * layers.len());
        for layer in layers {
            tensors.extend(base.placed(layer)?);
        }
        tensors.sort_by(|one: &Tensor, other| one.name.cmp(&other.name));
        let text = |text: &str| Value::Text(text.to_owned());
        let metadata = [
            ("adapter.lora.alpha", Value::F32(alpha)),
            ("adapter.type", text("lora")),
            ("general.architecture", text(family.architecture)),
            ("general.name", text(name)),
            ("general.quantization_version", Value::Unsigned(QUANTIZATION)),
            ("general.type", text("adapter")),
        ];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value)).into();
        Ok(Self { metadata, tensors })
    }

    /// How many tensors it has.
    pub fn tensors(&self) -> usize {
        self.tensors.len()
    }

    /// The bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let listed: Vec<Listed<'_>> = self
            .tensors
            .iter()
            .map(|Tensor { name, shape, values }| Listed {
                name,
                shape,
                ggml_type: GgmlType::F32.number(),
                bytes: size_of_val(values.as_slice()),
            })
            .collect();
        let fields = header::fields(&self.metadata);
        let mut bytes = header::header(VERSION, &fields, &listed, ALIGNMENT);
        for Tensor { values, .. } in &self.tensors {
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        }
        bytes
    }
}

/// What the base has.
struct Base<'a> {
    family: &'static GgufFamily,
    about: &'a dyn Description,
    tensors: Vec<TensorSpec>,
}

impl Base<'_> {
    /// A layer's tensors as the file has them.
    fn placed(&self, layer: LowRank) -> Result<[Tensor; 2], GgufWriteError> {
        let LowRank { path, is_table, rank, d_in, d_out, mut a, mut b } = layer;
        let architecture = self.family.architecture;
        let own = format!("{path}.weight");
        let Some(spec) = self.tensors.iter().find(|spec| spec.key == own) else {
            // Where the table is the head, there is no head to adapt.
            return Err(match self.gguf(&own).is_some_and(|name| name == HEAD) {
                true => GgufWriteError::TiedHead { path },
                false => GgufWriteError::NoLayer { path },
            });
        };
        let expected = match (spec.role, spec.shape.as_slice()) {
            (Role::Linear, &[d_out, d_in]) => [d_in, d_out],
            (Role::Conv1d | Role::Embedding, &[d_in, d_out]) => [d_in, d_out],
            _ => return Err(GgufWriteError::NoLayer { path }),
        };
        if [d_in, d_out] != expected || is_table != (spec.role == Role::Embedding) {
            return Err(GgufWriteError::Sizes { path, found: [d_in, d_out], expected });
        }
        let name = self.gguf(&own).ok_or(GgufWriteError::NoName { architecture, key: own })?;
        if is_table && name != TABLE {
            return Err(GgufWriteError::NotAdapted { path });
        }
        let has_head =
            self.tensors.iter().any(|spec| self.gguf(&spec.key).as_deref() == Some(HEAD));
        if is_table && !has_head {
            return Err(GgufWriteError::TiedTable { path });
        }
        if let Some(rows) = self.family.rows_of(&name) {
            let heads =
                ["attention.head_count", "attention.head_count_kv"].map(|at| self.count(at));
            let order = rows.order(d_out, heads.into()).map_err(|heads| GgufWriteError::Heads {
                key: path.clone(),
                rows: d_out,
                heads,
            })?;
            b = (0..d_out)
                .flat_map(|row| &b[order.hugging_face(row, d_out) * rank..][..rank])
                .copied()
                .collect();
        }
        let mut shape_a = [rank, d_in];
        if is_table {
            a = (0..d_in * rank).map(|at| a[at % rank * d_in + at / rank]).collect();
            shape_a = [d_in, rank];
        }
        let tensor =
            |part: &str, shape, values| Tensor { name: format!("{name}.{part}"), shape, values };
        Ok([tensor("lora_a", shape_a, a), tensor("lora_b", [d_out, rank], b)])
    }

    /// What files call the base's tensor of a key.
    fn gguf(&self, key: &str) -> Option<String> {
        self.family.names.gguf(self.about.checkpoint_keys().in_files(key))
    }

    /// A whole number among the architecture's own metadata.
    fn count(&self, name: &str) -> usize {
        let settings = self.about.settings();
        let mut written = self.family.settings.iter().filter_map(|known| known.write(&settings));
        let count = written.find_map(|(mut names, value)| match value {
            Value::Unsigned(count) if names.any(|it| it == name) => usize::try_from(count).ok(),
            _ => None,
        });
        count.unwrap_or(0)
    }
}
