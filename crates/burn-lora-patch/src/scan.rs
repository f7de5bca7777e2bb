//! What a visitor sees of a model: its linear layers, its other modules, its parameters.
//!
//! Nothing here knows an architecture. Burn's traversal says, for every parameter, the path and the
//! type that holds it; a linear layer is a 2-D `weight` held by a struct called `Linear`, or by a type that
//! the configuration names, wherever it stands, in a user's model or in one of Burn's own
//! ([`Layout`] says how the weight lies). Quantities come from the declared shapes, so a
//! model whose parameters are not initialised yet is not initialised by being looked at.
//!
//! An embedding's table and a convolution are layers that can be adapted too, where a target names them: Burn's `Conv1d`,
//! `Conv2d` and `Conv3d`, whose kernel is a matrix that lies `[d_out, d_in]`. How many groups it has no visitor is shown
//! (`groups.rs`).
//!
//! So is any other parameter of two or three dimensions, where it is named as one ([`Parameter`]): the matrices of a layer's
//! experts, or one that a module multiplies with by itself.
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

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Device, Tensor};
use burn_lora::{FactorPath, Kernel, Sizes, Stack};

use crate::groups::groups;
use crate::layout::{Layout, LinearTypes, layout};
use crate::path::{Trail, join, last_segment, layer_of, parent};

/// The name that Burn's own embedding has.
const EMBEDDING: &str = "Embedding";

/// The names that Burn's own convolutions have, and the dimensions of their weights.
const CONVOLUTIONS: [(&str, usize); 3] = [("Conv1d", 3), ("Conv2d", 4), ("Conv3d", 5)];

/// Everything about a model that patching needs, in the order of traversal.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// Linear layers, then the tables of embeddings, then convolutions, and then parameters that are no layer's.
    layers: Vec<LinearLayer>,
    linears: usize,
    /// Where the convolutions begin.
    tables_end: usize,
    /// Where the parameters begin.
    convolutions_end: usize,
    params: Vec<ParamInfo>,
    foreign: Vec<(String, String)>,
    kinds: BTreeMap<String, ModuleKind>,
    /// Paths of flags by the path of the module that holds them.
    flags: BTreeMap<String, Vec<String>>,
}

/// One linear layer: a 2-D `weight` held by a struct called `Linear`, or by a type that is declared; or an embedding's
/// table, or a convolution.
#[derive(Debug, Clone)]
pub struct LinearLayer {
    /// Where the layer stands, such as `model.layers.0.self_attn.q_proj`.
    pub path: String,
    /// Size of the input features, the rows of Burn's weight; of a convolution the inputs of one output.
    pub d_in: usize,
    /// Size of the output features, the columns of Burn's weight.
    pub d_out: usize,
    /// How the weight lies.
    pub layout: Layout,
    /// The weight's number format, where it is known: a weight that is not initialised yet has none.
    pub dtype: Option<DType>,
    /// Where the weight lives.
    pub device: Device,
    /// Whether it is the table of an embedding, `[d_in, d_out]` = `[rows, d]`.
    pub table: bool,
    /// Of a convolution: what its kernel is like.
    pub kernel: Option<Kernel>,
    /// Of a parameter that is no layer's weight: how it lies, and where its adapter's files have it.
    pub parameter: Option<Parameter>,
}

/// A parameter of two or three dimensions that is no layer's weight, such as the matrices of a layer's experts,
/// `[experts, d_in, d_out]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its path.
    pub path: String,
    /// How many matrices it is, and how each lies.
    pub stack: Stack,
    /// Whether it has three dimensions.
    pub is_stack: bool,
    /// How many adapted parameters of the same module come after it: PEFT wraps a module once for each, the first one
    /// innermost.
    pub(crate) wrapped: usize,
}

impl LinearLayer {
    /// A linear layer with that weight.
    fn of_matrix(
        path: String,
        [d_in, d_out]: [usize; 2],
        layout: Layout,
        weight: &Param<Tensor<2>>,
    ) -> Self {
        let dtype = weight.is_initialized().then(|| weight.dtype());
        let device = weight.lazy_device();
        let (table, kernel, parameter) = (false, None, None);
        Self { path, d_in, d_out, layout, dtype, device, table, kernel, parameter }
    }

    /// Whether it is a linear layer, and no embedding, no convolution and no parameter by itself.
    pub fn is_linear(&self) -> bool {
        !self.table && self.kernel.is_none() && self.parameter.is_none()
    }

    /// The path of its weight.
    pub fn weight_path(&self) -> String {
        match &self.parameter {
            Some(parameter) => parameter.path.clone(),
            None => join(&self.path, "weight"),
        }
    }

    /// The sizes of an adapter of that rank.
    pub(crate) fn sizes(&self, rank: usize) -> Sizes {
        sizes_of(self.kernel.as_ref(), self.stack(), [self.d_in, self.d_out], rank)
    }

    /// How matrices lie in it, where it is a parameter by itself.
    pub(crate) fn stack(&self) -> Option<Stack> {
        self.parameter.as_ref().map(|parameter| parameter.stack)
    }
}

/// The sizes of an adapter of that rank on a layer, which is a convolution where it has a kernel, and a parameter where
/// matrices lie in it.
pub(crate) fn sizes_of(
    kernel: Option<&Kernel>,
    stack: Option<Stack>,
    [d_in, d_out]: [usize; 2],
    rank: usize,
) -> Sizes {
    match (kernel, stack) {
        (Some(kernel), _) => kernel.sizes([d_in, d_out], rank),
        (None, Some(stack)) => stack.sizes([d_in, d_out], rank),
        (None, None) => Sizes { d_in, d_out, rank, groups: 1 },
    }
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
    /// Of a linear layer's weight: how it lies.
    pub layout: Option<Layout>,
    /// Whether it stands in a layer that has an adapter.
    pub adapted: bool,
    /// Of a factor: whether its layer is an embedding.
    pub of_table: bool,
    /// Of a factor: the kernel of its layer, where that is a convolution.
    pub kernel: Option<Kernel>,
    /// Of a factor: the parameter that it hangs on, where that is no layer's weight.
    pub parameter: Option<Parameter>,
}

/// What a float parameter is to patching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamRole {
    /// A parameter of the base model.
    Base,
    /// A value that forward passes maintain (Burn's `RunningState`), such as batch normalisation's running
    /// mean: it is no parameter, is not counted as one and never trained by gradients.
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
    /// A convolution.
    Convolution,
    /// A module with parameters of its own of any other kind.
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
            Self::Convolution => "a convolution",
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
    /// Looks at `model`. Linear layers are those of types called `Linear`.
    pub fn of<M: Module>(model: &M) -> Self {
        Self::with_types(model, &LinearTypes::new())
    }

    /// Looks at `model`, where types of these names are linear layers as well.
    pub fn with_types<M: Module>(model: &M, types: &LinearTypes) -> Self {
        let mut visitor = Visitor { state: state(model), ..Visitor::default() };
        model.visit(&mut visitor);
        let Visitor { mut scan, weights, kernels, matrices, .. } = visitor;
        scan.find_linears(weights, types);
        scan.find_convolutions(model, kernels);
        scan.find_parameters(matrices, types);
        scan.find_adapted();
        scan.kinds = kinds(&scan);
        scan
    }

    /// Which of the 2-D weights are those of linear layers.
    fn find_linears(&mut self, weights: Vec<(usize, Param<Tensor<2>>)>, types: &LinearTypes) {
        let biases: BTreeMap<String, usize> = self
            .params
            .iter()
            .filter(|param| last_segment(&param.path) == "bias" && param.shape.len() == 1)
            .map(|param| (parent(&param.path).to_owned(), param.shape[0]))
            .collect();
        let mut tables = Vec::new();
        for (at, weight) in weights {
            let param = &mut self.params[at];
            let path = parent(&param.path).to_owned();
            if param.container == EMBEDDING && !types.contains_key(EMBEDDING) {
                let sizes = [param.shape[0], param.shape[1]];
                let layer = LinearLayer::of_matrix(path, sizes, Layout::InOut, &weight);
                tables.push(LinearLayer { table: true, ..layer });
                continue;
            }
            let bias = biases.get(&path).copied();
            let find =
                |shape: &[usize]| layout(types, &param.container, [shape[0], shape[1]], bias);
            let mut found = find(&param.shape);
            if !weight.is_initialized() && found == Some(Layout::OutIn) {
                // Burn's column layout says the stored shape until the weight is made, and then another.
                param.shape = weight.dims().to_vec();
                found = layout(types, &param.container, [param.shape[0], param.shape[1]], bias);
            }
            let Some(layout) = found else { continue };
            param.layout = Some(layout);
            let sizes = match layout {
                Layout::InOut => [param.shape[0], param.shape[1]],
                Layout::OutIn => [param.shape[1], param.shape[0]],
            };
            self.layers.push(LinearLayer::of_matrix(path, sizes, layout, &weight));
        }
        self.linears = self.layers.len();
        self.layers.extend(tables);
        self.tables_end = self.layers.len();
    }

    /// The convolutions, whose weights stand at these places among the parameters.
    fn find_convolutions<M: Module>(&mut self, model: &M, kernels: Vec<Weight>) {
        self.convolutions_end = self.layers.len() + kernels.len();
        if kernels.is_empty() {
            return;
        }
        let groups = groups(model);
        for Weight { at, dtype, device } in kernels {
            let ParamInfo { path, shape, id, .. } = &self.params[at];
            let kernel = Kernel::new(shape, groups.get(&id.to_string()).copied().unwrap_or(1));
            self.layers.push(LinearLayer {
                path: parent(path).to_owned(),
                d_in: shape[1..].iter().product(),
                d_out: shape[0],
                layout: Layout::OutIn,
                dtype,
                device,
                table: false,
                kernel: Some(kernel),
                parameter: None,
            });
        }
    }

    /// The parameters of two and three dimensions that are no layer's weight, of those at these places.
    fn find_parameters(&mut self, matrices: Vec<Weight>, types: &LinearTypes) {
        let weights: BTreeSet<String> = self.layers.iter().map(LinearLayer::weight_path).collect();
        for Weight { at, dtype, device } in matrices {
            let ParamInfo { path, shape, container, .. } = &self.params[at];
            if weights.contains(path) {
                continue;
            }
            let layout = types.get(container).copied().unwrap_or(Layout::InOut);
            let (count, rows, columns, is_stack) = match shape.as_slice() {
                [rows, columns] => (1, *rows, *columns, false),
                [count, rows, columns] => (*count, *rows, *columns, true),
                _ => continue,
            };
            let turned = layout == Layout::OutIn;
            let (d_in, d_out) = if turned { (columns, rows) } else { (rows, columns) };
            let stack = Stack::new(count, turned);
            let parameter = Parameter { path: path.clone(), stack, is_stack, wrapped: 0 };
            self.layers.push(LinearLayer {
                path: layer_of(path).to_owned(),
                d_in,
                d_out,
                layout,
                dtype,
                device,
                table: false,
                kernel: None,
                parameter: Some(parameter),
            });
        }
    }

    /// Notes of the parameters for which `adapted` holds how deep PEFT has them.
    pub(crate) fn wrap(&mut self, adapted: impl Fn(&str) -> bool) {
        let mut after: BTreeMap<String, usize> = BTreeMap::new();
        for layer in self.layers.iter_mut().rev() {
            let adapted = adapted(&layer.path);
            let Some(parameter) = layer.parameter.as_mut().filter(|_| adapted) else { continue };
            let of_module = after.entry(parent(&parameter.path).to_owned()).or_default();
            parameter.wrapped = *of_module;
            *of_module += 1;
        }
        let parameters: BTreeMap<&str, &Parameter> = self
            .parameters()
            .iter()
            .filter_map(|it| Some((it.path.as_str(), it.parameter.as_ref()?)))
            .collect();
        let of_factors: Vec<(usize, Parameter)> = self
            .params
            .iter()
            .enumerate()
            .filter_map(|(at, param)| {
                let weight = FactorPath::parse(&param.path)?.weight;
                Some((at, (*parameters.get(layer_of(weight))?).clone()))
            })
            .collect();
        for (at, parameter) in of_factors {
            self.params[at].parameter = Some(parameter);
        }
    }

    /// Which parameters stand in a layer that has an adapter.
    fn find_adapted(&mut self) {
        let factors = self.params.iter().filter(|param| param.role == ParamRole::Factor);
        let weights = factors.filter_map(|param| Some(FactorPath::parse(&param.path)?.weight));
        let layers: BTreeSet<String> = weights.map(|weight| layer_of(weight).to_owned()).collect();
        let tables: BTreeSet<String> = self.tables().iter().map(|it| it.path.clone()).collect();
        let kernels: BTreeMap<String, Option<Kernel>> =
            self.convolutions().iter().map(|it| (it.path.clone(), it.kernel.clone())).collect();
        for param in &mut self.params {
            param.adapted = layers.contains(parent(&param.path));
            let weight = FactorPath::parse(&param.path).map(|place| place.weight);
            param.of_table = weight.is_some_and(|weight| tables.contains(parent(weight)));
            param.kernel = weight.and_then(|weight| kernels.get(parent(weight))?.clone());
        }
        self.wrap(|layer| layers.contains(layer));
    }

    /// The linear layers.
    pub fn linears(&self) -> &[LinearLayer] {
        &self.layers[..self.linears]
    }

    /// The tables of embeddings.
    pub fn tables(&self) -> &[LinearLayer] {
        &self.layers[self.linears..self.tables_end]
    }

    /// The convolutions.
    pub fn convolutions(&self) -> &[LinearLayer] {
        &self.layers[self.tables_end..self.convolutions_end]
    }

    /// The parameters of two and three dimensions that are no layer's weight.
    pub fn parameters(&self) -> &[LinearLayer] {
        &self.layers[self.convolutions_end..]
    }

    /// All that can be adapted: the linear layers, then the tables, the convolutions, and then the parameters.
    pub(crate) fn layers(&self) -> &[LinearLayer] {
        &self.layers
    }

    /// Whether an embedding's table can be the model's head too: it stands in another place of the model, or no linear
    /// layer gives as many outputs as it has rows.
    pub(crate) fn is_tied(&self, table: &LinearLayer) -> bool {
        let weight = join(&table.path, "weight");
        let id = self.params.iter().find(|param| param.path == weight).map(|param| param.id);
        let shared = self.params.iter().any(|it| Some(it.id) == id && it.path != weight);
        let head = |linear: &LinearLayer| (linear.d_in, linear.d_out) == (table.d_out, table.d_in);
        shared || !self.linears().iter().any(head)
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

    /// The modules that hold state which forward passes maintain, and whether they have a flag that stops
    /// it (Burn's `training`).
    pub(crate) fn stateful(&self) -> BTreeMap<&str, bool> {
        let buffers = self.params.iter().filter(|param| param.role == ParamRole::Buffer);
        buffers
            .map(|buffer| parent(&buffer.path))
            .map(|module| (module, self.flags.contains_key(module)))
            .collect()
    }

    /// The flags that a module holds itself.
    pub(crate) fn flags_of(&self, module: &str) -> &[String] {
        self.flags.get(module).map_or(&[], Vec::as_slice)
    }

    /// The paths of the linear layers whose weight is one parameter that stands in several places.
    pub(crate) fn tied(&self) -> Vec<Vec<&str>> {
        let weight = |linear: &LinearLayer| {
            let path = join(&linear.path, "weight");
            self.params.iter().find(|param| param.path == path).map(|param| param.id)
        };
        let mut places: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
        for linear in self.linears() {
            if let Some(id) = weight(linear) {
                places.entry(id.val()).or_default().push(&linear.path);
            }
        }
        places.into_values().filter(|paths| paths.len() > 1).collect()
    }

    /// Those of the layers that have no bias of their own.
    pub(crate) fn without_bias<'a>(&self, layers: &[&'a str]) -> Vec<&'a str> {
        let biases: BTreeSet<&str> = self
            .params
            .iter()
            .filter(|param| param.role == ParamRole::Base && last_segment(&param.path) == "bias")
            .map(|param| parent(&param.path))
            .collect();
        layers.iter().copied().filter(|layer| !biases.contains(layer)).collect()
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
    let linears: BTreeSet<&str> = scan.linears().iter().map(|layer| layer.path.as_str()).collect();
    let mut kinds = BTreeMap::new();
    for param in scan.params.iter().filter(|param| param.role != ParamRole::Factor) {
        let owner = parent(&param.path);
        let kind = match param.container.as_str() {
            EMBEDDING => ModuleKind::Embedding,
            container if container.ends_with("Norm") => ModuleKind::Norm,
            container if CONVOLUTIONS.iter().any(|(name, _)| *name == container) => {
                ModuleKind::Convolution
            }
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

/// A weight of the base: its place among the parameters, and what is known of it.
struct Weight {
    at: usize,
    dtype: Option<DType>,
    device: Device,
}

/// The visitor behind [`Scan::of`].
#[derive(Default)]
struct Visitor {
    trail: Trail,
    containers: Vec<String>,
    /// The identities of what is no parameter.
    state: BTreeSet<ParamId>,
    /// The 2-D weights of the base, with their places among the parameters.
    weights: Vec<(usize, Param<Tensor<2>>)>,
    /// The weights of convolutions.
    kernels: Vec<Weight>,
    /// The parameters of the base of two or three dimensions.
    matrices: Vec<Weight>,
    scan: Scan,
}

/// The identities of the floats that are state and no parameters: a mapper that gives every float a new
/// identity changes those of parameters only, since Burn's `RunningState` takes nothing but the value.
pub(crate) fn state<M: Module>(model: &M) -> BTreeSet<ParamId> {
    struct Renew;
    impl ModuleMapper for Renew {
        fn map_float<const D: usize>(&mut self, mut param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.id = ParamId::new();
            param
        }
    }
    #[derive(Default)]
    struct Ids(BTreeSet<ParamId>);
    impl ModuleVisitor for Ids {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.insert(param.id);
        }
    }
    let (mut before, mut after) = (Ids::default(), Ids::default());
    model.visit(&mut before);
    model.clone().map(&mut Renew).visit(&mut after);
    before.0.intersection(&after.0).copied().collect()
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
        } else if self.state.contains(&param.id) {
            ParamRole::Buffer
        } else {
            ParamRole::Base
        };
        let any: &dyn Any = param;
        if role == ParamRole::Base
            && last_segment(&path) == "weight"
            && let Some(weight) = any.downcast_ref::<Param<Tensor<2>>>()
        {
            self.weights.push((self.scan.params.len(), weight.clone()));
        }
        if role == ParamRole::Base
            && last_segment(&path) == "weight"
            && CONVOLUTIONS.contains(&(container.as_str(), D))
        {
            let (at, device) = (self.scan.params.len(), param.lazy_device());
            let dtype = param.is_initialized().then(|| param.dtype());
            self.kernels.push(Weight { at, dtype, device });
        }
        if role == ParamRole::Base && (D == 2 || D == 3) {
            let (at, device) = (self.scan.params.len(), param.lazy_device());
            let dtype = param.is_initialized().then(|| param.dtype());
            self.matrices.push(Weight { at, dtype, device });
        }
        let info = ParamInfo {
            path,
            shape,
            container,
            id: param.id,
            role,
            layout: None,
            adapted: false,
            of_table: false,
            kernel: None,
            parameter: None,
        };
        self.scan.params.push(info);
    }

    fn visit_flag(&mut self, _flag: &Param<Flag>) {
        let path = self.trail.path();
        self.scan.flags.entry(parent(&path).to_owned()).or_default().push(path);
    }
}
