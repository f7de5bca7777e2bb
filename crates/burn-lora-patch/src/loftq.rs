//! LoftQ (arXiv 2310.08659): adapters that start at what the weights lost in the format that they are held in.
//!
//! The model is loaded in that format, and each weight shown as it was, one after the other, so that one of them is there
//! in f32 at a time ([`Loftq::show`]). What an adapter begins with is the best of its rank of the difference.
//!
//! ```
//! use burn::module::{Module, Param};
//! use burn::nn::{Linear, LinearConfig};
//! use burn::tensor::{DType, Distribution, Tensor};
//! use burn_lora_patch::Loftq;
//! use burn_lora_patch::prelude::*;
//!
//! #[derive(Module, Debug)]
//! struct Net {
//!     fc: Linear,
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = burn_lora_patch::device::parse("cpu")?;
//! let was = Tensor::<2>::random([16, 8], Distribution::Default, &device);
//! let held = Param::from_tensor(was.clone().cast(DType::BF16)).set_require_grad(false);
//! let net = Net { fc: Linear { weight: held, ..LinearConfig::new(16, 8).init(&device) } };
//!
//! let config = LoraConfig::new(2).with_targets(["fc"]).with_init(Init::Loftq);
//! let mut loftq = Loftq::new(&net, &config)?;
//! assert!(loftq.show("fc", &was.into_data().try_to_vec::<f32>()?)?);
//! let (net, _) = loftq.patch(net)?;
//! # let _ = net;
//! # Ok(())
//! # }
//! ```
//!
//! The base stays as it is held: an adapter is for a base in the same format, and is saved as any other. With more rounds
//! ([`Loftq::alternate`]) another base is held, which nobody else has: an adapter of theirs is for the model in whose hands it
//! was made, or its merged weights.

use std::collections::BTreeMap;

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Tensor, TensorData};
use burn_lora::{Adapter, FrozenWeight, Init, loftq};

use crate::config::LoraConfig;
use crate::error::PatchError;
use crate::layout::Layout;
use crate::patch::Plan;
use crate::peft::PeftConfig;
use crate::report::PatchReport;
use crate::rewrite::{put_bases, weights};
use crate::select::Unmatched;

/// Weights as they were, for the initialisation [`Init::Loftq`].
pub struct Loftq {
    config: LoraConfig,
    plan: Plan,
    /// The weights of the linears that are adapted, as they are held.
    held: BTreeMap<String, Param<Tensor<2>>>,
    adapters: BTreeMap<String, Adapter>,
    /// Other weights to hold.
    bases: BTreeMap<String, Tensor<2>>,
}

impl Loftq {
    /// To patch this model, or a clone of it, by this configuration, whose initialisation is [`Init::Loftq`].
    ///
    /// # Errors
    ///
    /// As [`patch`](crate::patch()); another initialisation.
    pub fn new<M: Module>(model: &M, config: &LoraConfig) -> Result<Self, PatchError> {
        if config.adapter.init != Init::Loftq {
            return Err(PatchError::NotLoftq { init: config.adapter.init });
        }
        let plan = Plan::with_weights(model, config, Unmatched::Refused)?;
        let linears = plan.adapted().filter(|layer| layer.is_linear());
        let linears = linears.map(|layer| (layer.path.clone(), ())).collect();
        let held = weights(model, &linears);
        let (adapters, bases) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { config: config.clone(), plan, held, adapters, bases })
    }

    /// The paths of the layers whose weights are to be shown.
    pub fn layers(&self) -> impl Iterator<Item = &str> {
        self.held.keys().map(String::as_str)
    }

    /// The weight of a layer as it was, `[d_in, d_out]` row by row. False of a layer that gets no adapter.
    ///
    /// # Errors
    ///
    /// Another number of values; values that are not finite.
    pub fn show(&mut self, layer: &str, weight: &[f32]) -> Result<bool, PatchError> {
        let Some(held) = self.held_as_matrix(layer) else { return Ok(false) };
        self.start(layer, &held, weight)?;
        Ok(true)
    }

    /// As [`show`](Self::show), with another weight to hold: that of so many rounds of [`loftq`](burn_lora::loftq()).
    /// `quantise` gives what the format makes of a matrix `[d_in, d_out]`. The layer's weight lies as Burn's.
    ///
    /// # Errors
    ///
    /// As [`show`](Self::show); a weight that lies the other way round, or that the format cannot hold.
    pub fn alternate(
        &mut self,
        layer: &str,
        weight: &[f32],
        rounds: usize,
        quantise: impl FnMut(Tensor<2>) -> Option<FrozenWeight>,
    ) -> Result<bool, PatchError> {
        let Some(held) = self.held_as_matrix(layer) else { return Ok(false) };
        let linear = self.plan.adapted().find(|it| it.path == layer);
        if linear.is_some_and(|it| it.layout == Layout::OutIn) {
            return Err(PatchError::LoftqLayout { layer: layer.to_owned() });
        }
        let failed = |source| PatchError::Adapter { layer: layer.to_owned(), source };
        let [d_in, d_out] = held.dims();
        if weight.len() != d_in * d_out {
            let count = weight.len();
            return Err(failed(burn_lora::LoraError::DenseValues { d_in, d_out, count }));
        }
        let data = TensorData::new(weight.to_vec(), [d_in, d_out]);
        let dense = Tensor::<2>::from_data(data, &held.lazy_device());
        let settings = self.plan.selection.settings[layer].clone();
        let base = loftq(&dense, &settings, rounds, quantise).map_err(failed)?.into_tensor();
        self.start(layer, &Param::initialized(ParamId::new(), base.clone()), weight)?;
        self.bases.insert(layer.to_owned(), base);
        Ok(true)
    }

    /// The model with a fresh adapter that starts at what the weights lost, as
    /// [`with_lora`](crate::LoraModule::with_lora) attaches one. Embeddings start as ever.
    ///
    /// # Errors
    ///
    /// A layer whose weight was not shown.
    pub fn patch<M: Module>(mut self, model: M) -> Result<(M, PatchReport), PatchError> {
        let unseen: Vec<String> =
            self.held.keys().filter(|it| !self.adapters.contains_key(*it)).cloned().collect();
        if !unseen.is_empty() {
            return Err(PatchError::NotShown { layers: unseen });
        }
        let made = PeftConfig::new(&self.config);
        let (plan, config) = (&self.plan, &self.config);
        let model = plan.attached(&model, config, &made, |linear, weight| {
            match self.adapters.remove(&linear.path) {
                Some(adapter) => Ok(adapter),
                None => plan.fresh(config, linear, weight),
            }
        })?;
        let model = match self.bases.is_empty() {
            true => model,
            false => put_bases(model, self.bases, |_, _, base| Ok(base))?,
        };
        Ok((model, self.plan.report))
    }

    /// The weight of a layer as it is held, `[d_in, d_out]`.
    fn held_as_matrix(&self, layer: &str) -> Option<Param<Tensor<2>>> {
        let held = self.held.get(layer)?;
        let linear = self.plan.adapted().find(|it| it.path == layer)?;
        Some(match linear.layout {
            Layout::InOut => held.clone(),
            Layout::OutIn => Param::initialized(ParamId::new(), held.base().detach().transpose()),
        })
    }

    fn start(
        &mut self,
        layer: &str,
        held: &Param<Tensor<2>>,
        weight: &[f32],
    ) -> Result<(), PatchError> {
        let settings = &self.plan.selection.settings[layer];
        let adapter = Adapter::init_residual(&self.config.name, settings, held, weight)
            .map_err(|source| PatchError::Adapter { layer: layer.to_owned(), source })?;
        self.adapters.insert(layer.to_owned(), adapter);
        Ok(())
    }
}
