//! A small classifier with Hugging Face's habits: a list called `layers`, an embedding, norms, a
//! head, and a field whose name is a Rust keyword in Python's spelling.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_lora::LoraForward;
use burn_lora_patch::{LoraConfig, Targets};

pub const VOCABULARY: usize = 7;
pub const WIDTH: usize = 6;
pub const HIDDEN: usize = 10;
pub const CLASSES: usize = 3;
/// `embed` 42, two blocks of `self` 42 + `fc1` 70 + `fc2` 66 + `norm` 12, `classifier` 21, `lm_head` 42.
pub const BASE_PARAMS: usize = 485;

#[derive(Module, Debug)]
pub struct Block {
    pub self_: Linear,
    pub fc1: Linear,
    pub fc2: Linear,
    pub norm: LayerNorm,
}

#[derive(Module, Debug)]
pub struct Body {
    pub embed: Embedding,
    pub layers: Vec<Block>,
}

#[derive(Module, Debug)]
pub struct Mlp {
    pub model: Body,
    pub classifier: Linear,
    pub lm_head: Linear,
}

impl Mlp {
    /// Every value a different, fixed number of size about 0.5, so that an exchange of two shows.
    pub fn new(device: &Device) -> Self {
        Self::with_offset(device, 0.0)
    }

    pub fn with_offset(device: &Device, offset: f32) -> Self {
        let block = || Block {
            self_: LinearConfig::new(WIDTH, WIDTH).init(device),
            fc1: LinearConfig::new(WIDTH, HIDDEN).init(device),
            fc2: LinearConfig::new(HIDDEN, WIDTH).init(device),
            norm: LayerNormConfig::new(WIDTH).init(device),
        };
        let model = Self {
            model: Body {
                embed: EmbeddingConfig::new(VOCABULARY, WIDTH).init(device),
                layers: vec![block(), block()],
            },
            classifier: LinearConfig::new(WIDTH, CLASSES).init(device),
            lm_head: LinearConfig::new(WIDTH, VOCABULARY).with_bias(false).init(device),
        };
        model.map(&mut Fill { path: Vec::new(), below: "", offset })
    }

    /// `ids: [batch, tokens]` to class scores `[batch, tokens, classes]`, by the factored path.
    pub fn forward(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let mut x = self.model.embed.forward(ids);
        for block in &self.model.layers {
            let h = block.norm.forward(block.self_.lora_forward(x.clone()));
            x = x + block.fc2.lora_forward(block.fc1.lora_forward(h).tanh());
        }
        self.classifier.lora_forward(x)
    }
}

pub fn cpu() -> Device {
    burn_lora::device::parse("cpu").unwrap()
}

/// Some token ids, `[2, 3]`.
pub fn ids(device: &Device) -> Tensor<2, Int> {
    Tensor::from_data(TensorData::new(vec![0i64, 3, 6, 1, 5, 2], [2, 3]), device)
}

pub fn logits(model: &Mlp) -> Vec<f32> {
    let device = model.classifier.weight.device();
    model.forward(ids(&device)).into_data().to_vec_f32()
}

/// A test reads what it has just made: a failure is the test's.
pub trait ToVec {
    fn to_vec_f32(self) -> Vec<f32>;
}

impl ToVec for TensorData {
    fn to_vec_f32(self) -> Vec<f32> {
        self.as_slice::<f32>().unwrap().to_vec()
    }
}

/// Rank 2, scale 2.
pub fn config(targets: Targets) -> LoraConfig {
    LoraConfig::new(2).with_targets(targets)
}

/// Gives the factors of all adapters fixed values that are not zero.
pub fn with_trained_factors<M: Module>(model: M) -> M {
    model.map(&mut Fill::factors(0.3))
}

/// Fills the float parameters whose path contains `below`.
pub struct Fill {
    path: Vec<String>,
    below: &'static str,
    offset: f32,
}

impl Fill {
    /// Of the factors of all adapters.
    pub fn factors(offset: f32) -> Self {
        Self { path: Vec::new(), below: ".lora.adapters.", offset }
    }
}

impl ModuleMapper for Fill {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.join(".");
        if !path.contains(self.below) {
            return param;
        }
        let start = path.bytes().fold(self.offset, |sum, byte| sum * 1.3 % 7.0 + f32::from(byte));
        param.map(|old| {
            let count = old.shape().num_elements();
            let values: Vec<f32> =
                (0..count).map(|i| 0.5 * (start + 0.7 * i as f32).sin()).collect();
            Tensor::from_data(TensorData::new(values, old.shape()), &old.device())
                .set_require_grad(old.is_require_grad())
        })
    }
}

/// Every float parameter's stored values as bits, by path as Burn spells it.
pub fn bits<M: Module>(model: &M) -> BTreeMap<String, Vec<u32>> {
    let found = params(model).into_iter();
    found.map(|(path, (values, _))| (path, values.iter().map(|v| v.to_bits()).collect())).collect()
}

/// The paths of the parameters that require gradients.
pub fn tracked<M: Module>(model: &M) -> Vec<String> {
    let found = params(model).into_iter();
    found.filter(|(_, (_, tracked))| *tracked).map(|(path, _)| path).collect()
}

/// Values, and whether they require gradients, by path as Burn spells it.
pub fn params<M: Module>(model: &M) -> BTreeMap<String, (Vec<f32>, bool)> {
    #[derive(Default)]
    struct Params {
        path: Vec<String>,
        found: BTreeMap<String, (Vec<f32>, bool)>,
    }
    impl ModuleVisitor for Params {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let base = param.base();
            let tracked = base.is_require_grad();
            self.found.insert(self.path.join("."), (base.into_data().to_vec_f32(), tracked));
        }
    }
    let mut params = Params::default();
    model.visit(&mut params);
    params.found
}
