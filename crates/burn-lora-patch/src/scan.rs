//! What a visitor sees of a model: its linear layers, its other modules, its parameters.
//!
//! Nothing here knows an architecture. Burn's traversal says, for every parameter, the path and the
//! type that holds it; a linear layer is a 2-D `weight` held by a struct called `Linear`, wherever it
//! stands, in a user's model or in one of Burn's own. Quantities come from the declared shapes, so a
//! model whose parameters are not initialised yet is not initialised by being looked at.
//!
//! Left out: convolutions and embeddings are seen (their names make errors better) but are not
//! layers that can be adapted.
//!
//! ```
//! use burn::nn::transformer::TransformerEncoderConfig;
//! use burn_lora_patch::Scan;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = burn_lora::device::parse("cpu")?;
//! let encoder = TransformerEncoderConfig::new(8, 16, 2, 1).init(&device);
//! let scan = Scan::of(&encoder);
//! assert_eq!(scan.linears()[0].path, "layers.0.mha.query");
//! assert_eq!((scan.linears()[0].d_in, scan.linears()[0].d_out), (8, 8));
//! # Ok(())
//! # }
//! ```

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Tensor};

use crate::path::{Trail, last_segment, parent};

/// Everything about a model that patching needs, in the order of traversal.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    linears: Vec<LinearLayer>,
    params: Vec<ParamInfo>,
    foreign: Vec<(String, String)>,
    kinds: BTreeMap<String, ModuleKind>,
}

/// One linear layer: a 2-D `weight` held by a struct called `Linear`.
#[derive(Debug, Clone)]
pub struct LinearLayer {
    /// Where the layer stands, such as `model.layers.0.self_attn.q_proj`.
    pub path: String,
    /// Size of the input features, the rows of Burn's weight.
    pub d_in: usize,
    /// Size of the output features, the columns of Burn's weight.
    pub d_out: usize,
    /// Where the weight lives.
    pub device: Device,
}

/// One float parameter, or one factor of an adapter.
#[derive(Debug, Clone)]
pub struct ParamInfo {
    /// The path, such as `model.layers.0.self_attn.q_proj.weight`.
    pub path: String,
    /// The shape as Burn stores it (a linear's weight is `[d_in, d_out]`).
    pub shape: Vec<usize>,
    /// The type that holds the parameter, such as `Linear` or `LayerNorm`.
    pub container: String,
    /// Burn's identity of the parameter, which gradients and optimiser state are keyed by.
    pub id: ParamId,
    /// What the parameter is.
    pub role: ParamRole,
}

/// What a float parameter is to patching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamRole {
    /// A parameter of the base model.
    Base,
    /// A value that forward passes maintain, such as batch normalisation's running mean: it is no
    /// parameter, is not counted as one and never trained by gradients.
    Buffer,
    /// A factor of an adapter.
    Factor,
}

/// The kind of a module that is not a linear layer, for saying why it cannot be adapted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModuleKind {
    /// An embedding table.
    Embedding,
    /// A normalisation.
    Norm,
    /// A module with parameters of its own of any other kind (a convolution, a cell).
    Other,
    /// A module that holds further modules only.
    Container,
}

impl ModuleKind {
    /// The kind with its article: `an embedding`.
    pub(crate) fn described(self) -> &'static str {
        match self {
            Self::Embedding => "an embedding",
            Self::Norm => "a normalisation",
            Self::Other => "a layer of another kind",
            Self::Container => "a group of modules",
        }
    }
}

impl ParamInfo {
    /// The number of values.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

impl Scan {
    /// Looks at `model`.
    pub fn of<M: Module>(model: &M) -> Self {
        let mut visitor = Visitor::default();
        model.visit(&mut visitor);
        let mut scan = visitor.scan;
        scan.kinds = kinds(&scan);
        scan
    }

    /// The linear layers.
    pub fn linears(&self) -> &[LinearLayer] {
        &self.linears
    }

    /// The float parameters: of the base, buffers, and the factors of adapters.
    pub fn params(&self) -> &[ParamInfo] {
        &self.params
    }

    /// The parameters below a module path, which may be the path of the module itself.
    pub fn params_below<'a>(&'a self, module: &'a str) -> impl Iterator<Item = &'a ParamInfo> {
        self.params.iter().filter(move |param| {
            param.path.strip_prefix(module).is_some_and(|rest| rest.starts_with('.'))
        })
    }

    /// Every module that holds a parameter, directly or further down, except linear layers.
    pub fn modules(&self) -> &BTreeMap<String, ModuleKind> {
        &self.kinds
    }

    /// Weights that carry a reparameterisation of another kind, with its name.
    pub(crate) fn foreign(&self) -> &[(String, String)] {
        &self.foreign
    }

    /// A path that two parameters share, if any (`x` and `x_` in one struct).
    pub(crate) fn ambiguous(&self) -> Option<&str> {
        let mut seen = BTreeSet::new();
        self.params.iter().map(|param| param.path.as_str()).find(|path| !seen.insert(*path))
    }
}

fn kinds(scan: &Scan) -> BTreeMap<String, ModuleKind> {
    let linears: BTreeSet<&str> = scan.linears.iter().map(|layer| layer.path.as_str()).collect();
    let mut kinds = BTreeMap::new();
    for param in scan.params.iter().filter(|param| param.role != ParamRole::Factor) {
        let owner = parent(&param.path);
        let kind = match param.container.as_str() {
            "Embedding" => ModuleKind::Embedding,
            container if container.ends_with("Norm") => ModuleKind::Norm,
            _ => ModuleKind::Other,
        };
        kinds.insert(owner.to_owned(), kind);
        let mut above = parent(owner);
        while !above.is_empty() {
            kinds.entry(above.to_owned()).or_insert(ModuleKind::Container);
            above = parent(above);
        }
    }
    kinds.retain(|path, _| !path.is_empty() && !linears.contains(path.as_str()));
    kinds
}

/// The visitor behind [`Scan::of`].
#[derive(Default)]
struct Visitor {
    trail: Trail,
    containers: Vec<String>,
    scan: Scan,
}

impl ModuleVisitor for Visitor {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        if container_type == "Reparameterization" {
            self.scan.foreign.push((self.trail.path(), name.to_owned()));
        }
        if container_type == "Struct:Adapters" && name == "adapters" {
            self.scan.foreign.pop();
        }
        self.trail.enter(name);
        self.containers.push(container_type.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.trail.exit();
        self.containers.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.trail.path();
        let shape = param.lazy_shape().as_slice().to_vec();
        // An element of a list is held by the struct that holds the list.
        let container = self
            .containers
            .iter()
            .rev()
            .find_map(|container| container.split_once(':').map(|(_, name)| name))
            .unwrap_or_default()
            .to_owned();
        let reparameterized = self.containers.iter().any(|c| c == "Reparameterization");
        let role = if reparameterized {
            ParamRole::Factor
        } else if container == "BatchNorm" && path.contains("running_") {
            ParamRole::Buffer
        } else {
            ParamRole::Base
        };
        if let ([d_in, d_out], "Linear", ParamRole::Base) = (&shape[..], &container[..], role)
            && last_segment(&path) == "weight"
        {
            self.scan.linears.push(LinearLayer {
                path: parent(&path).to_owned(),
                d_in: *d_in,
                d_out: *d_out,
                device: param.lazy_device(),
            });
        }
        self.scan.params.push(ParamInfo { path, shape, container, id: param.id, role });
    }
}
