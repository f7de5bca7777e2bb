//! LoRA as methods of every Burn module.

use std::path::Path;

use burn::module::{Module, ParamGroup};

use crate::combine::{CombineOptions, combine_adapters};
use crate::config::LoraConfig;
use crate::error::PatchError;
use crate::patch::{patch, plan};
use crate::peft::{self, LoadOptions};
use crate::report::PatchReport;
use crate::rewrite;

/// What LoRA adds to every [`Module`].
///
/// Models go in and out by value, as with Burn's own methods; a clone of a model copies no weights and is
/// untouched by what is done to the other. For a model that is a field of something there is a function
/// for each of these that takes `&mut model` and leaves it as it was when it fails
/// ([`patch`](crate::patch()), [`merge`](crate::merge), [`peft::load`], …).
///
/// ```
/// use burn::nn::transformer::TransformerEncoderConfig;
/// use burn_lora_patch::prelude::*;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let dir = directory.path();
/// let device = burn_lora_patch::device::parse("cpu")?.autodiff();
/// let base = TransformerEncoderConfig::new(64, 128, 4, 2).init(&device);
///
/// let config = LoraConfig::new(8).with_alpha(16).with_targets(["query", "value"]);
/// let (model, report) = base.clone().with_lora(&config)?;
/// println!("{report}");
/// // … train it …
/// model.save_adapter(dir)?;
///
/// let (model, _) = base.load_adapter(dir)?;
/// let model = model.lora_scale("default", 0.5)?;
/// let merged = model.merge_and_unload_lora()?;
/// assert!(merged.adapter_names().is_empty());
/// # Ok(())
/// # }
/// ```
pub trait LoraModule: Module {
    /// The model with a fresh adapter on the layers that `config` selects and everything else frozen, and
    /// what was picked.
    ///
    /// A second adapter is added under another name ([`LoraConfig::with_name`]); both are then in force,
    /// and the new one is what is trained.
    ///
    /// # Errors
    ///
    /// Whatever does not fit between the configuration and the model, all of it at once.
    fn with_lora(mut self, config: &LoraConfig) -> Result<(Self, PatchReport), PatchError> {
        let report = patch(&mut self, config)?;
        Ok((self, report))
    }

    /// What [`with_lora`](Self::with_lora) would pick, without doing it.
    ///
    /// # Errors
    ///
    /// As [`with_lora`](Self::with_lora).
    fn plan_lora(&self, config: &LoraConfig) -> Result<PatchReport, PatchError> {
        plan(self, config)
    }

    /// The parameters that are trained: for records of the adapter alone and for groups of an optimiser.
    ///
    /// # Errors
    ///
    /// Nothing is trained: the adapters are merged, or were loaded frozen.
    fn trainable_group(&self) -> Result<ParamGroup, PatchError> {
        crate::group::trainable_group(self)
    }

    /// The names of the adapters on the model, each once.
    fn adapter_names(&self) -> Vec<String> {
        rewrite::adapter_names(self)
    }

    /// The model with exactly these adapters in force: one, several or, with `[]`, none.
    ///
    /// # Errors
    ///
    /// No adapter of one of the names.
    fn with_active_adapters<S: AsRef<str>>(
        mut self,
        names: impl IntoIterator<Item = S>,
    ) -> Result<Self, PatchError> {
        let names: Vec<S> = names.into_iter().collect();
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        rewrite::set_active(&mut self, &names)?;
        Ok(self)
    }

    /// The model without the adapter called `name`; others stay.
    ///
    /// # Errors
    ///
    /// No adapter of that name; a merged model.
    fn delete_adapter(mut self, name: &str) -> Result<Self, PatchError> {
        rewrite::delete_adapter(&mut self, name)?;
        Ok(self)
    }

    /// What `scope` makes of the base model: of this one without its adapters, merged or not, bit for bit what it was
    /// before it was patched. This model stays as it is, and nothing is copied.
    ///
    /// Modules that were trained whole keep their trained values, as in [`unload_lora`](Self::unload_lora).
    ///
    /// ```
    /// use burn::nn::transformer::{TransformerEncoderConfig, TransformerEncoderInput};
    /// use burn::tensor::{Distribution, Tensor};
    /// use burn_lora_patch::prelude::*;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let device = burn_lora_patch::device::parse("cpu")?;
    /// let base = TransformerEncoderConfig::new(16, 32, 2, 1).init(&device);
    /// let (model, _) = base.with_lora(&LoraConfig::new(2).with_targets(["query"]))?;
    /// let x = Tensor::<3>::random([1, 5, 16], Distribution::Default, &device);
    /// let reference =
    ///     model.with_adapters_disabled(|base| base.forward(TransformerEncoderInput::new(x)));
    /// assert_eq!(reference.dims(), [1, 5, 16]);
    /// assert_eq!(model.adapter_names(), ["default"]);
    /// # Ok(())
    /// # }
    /// ```
    fn with_adapters_disabled<R>(&self, scope: impl FnOnce(&Self) -> R) -> R {
        scope(&rewrite::unload(self.clone()))
    }

    /// What `scope` makes of this model while the rows of its batches go each through the adapter that it names, active or
    /// not, or through the base alone ([`by_row`](burn_lora::by_row)): one pass of the base for all of them. For inference,
    /// of models that call [`LoraForward::lora_forward`](burn_lora::LoraForward::lora_forward).
    ///
    /// ```
    /// use burn::nn::{Linear, LinearConfig};
    /// use burn::module::Module;
    /// use burn::tensor::{Distribution, Tensor};
    /// use burn_lora_patch::prelude::*;
    ///
    /// #[derive(Module, Debug)]
    /// struct Net {
    ///     fc: Linear,
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let device = burn_lora_patch::device::parse("cpu")?;
    /// let net = Net { fc: LinearConfig::new(8, 4).init(&device) };
    /// let config = LoraConfig::new(2).with_targets(["fc"]);
    /// let (net, _) = net.with_lora(&config.clone().with_name("poems"))?;
    /// let (net, _) = net.with_lora(&config.with_name("letters"))?;
    /// let x = Tensor::<2>::random([3, 8], Distribution::Default, &device);
    /// let rows = [Some("letters"), None, Some("poems")];
    /// let y = net.by_row(&rows, |net| net.fc.lora_forward(x))?;
    /// assert_eq!(y.dims(), [3, 4]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// No adapter of one of the names; a merged model.
    fn by_row<R>(
        &self,
        names: &[Option<&str>],
        scope: impl FnOnce(&Self) -> R,
    ) -> Result<R, PatchError> {
        rewrite::check_rows(self, names)?;
        Ok(burn_lora::by_row(names, || scope(self)))
    }

    /// The model with one more adapter, called `into`, that is what those of `names` are together
    /// ([`combine`](crate::combine)); it is frozen, and not active until it is chosen.
    ///
    /// ```
    /// use burn::nn::transformer::TransformerEncoderConfig;
    /// use burn_lora_patch::prelude::*;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let device = burn_lora_patch::device::parse("cpu")?;
    /// let base = TransformerEncoderConfig::new(16, 32, 2, 1).init(&device);
    /// let config = LoraConfig::new(2).with_targets(["query"]);
    /// let (model, _) = base.with_lora(&config.clone().with_name("poems"))?;
    /// let (model, _) = model.with_lora(&config.with_name("letters"))?;
    ///
    /// let options = CombineOptions::new(Combination::Cat, [0.7, 0.4]);
    /// let model = model.combine_adapters(["poems", "letters"], &options, "both")?;
    /// let model = model.with_active_adapters(["both"])?;
    /// let model = model.delete_adapter("poems")?.delete_adapter("letters")?;
    /// assert_eq!(model.adapter_names(), ["both"]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// No adapter of one of the names, one called `into` already, a merged model; options that do not fit.
    fn combine_adapters<S: AsRef<str>>(
        mut self,
        names: impl IntoIterator<Item = S>,
        options: &CombineOptions,
        into: &str,
    ) -> Result<Self, PatchError> {
        let names: Vec<S> = names.into_iter().collect();
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        combine_adapters(&mut self, &names, options, into)?;
        Ok(self)
    }

    /// The model with the adapter in `dir` in the place of the one called `name`, whatever the ranks and layers of the
    /// two; the base is not touched.
    ///
    /// # Errors
    ///
    /// No adapter of that name; a merged model; a directory that cannot be read, or does not fit the model.
    fn swap_adapter(mut self, name: &str, dir: impl AsRef<Path>) -> Result<Self, PatchError> {
        rewrite::swap_adapter(&mut self, name, dir)?;
        Ok(self)
    }

    /// The model with `multiplier` times the change of the adapter called `name`: 0 leaves the adapted
    /// weights as they are in the base, 1 is the adapter as it was trained. Modules that were trained whole
    /// have no multiplier.
    ///
    /// # Errors
    ///
    /// No adapter of that name; a multiplier that is not finite.
    fn lora_scale(mut self, name: &str, multiplier: f64) -> Result<Self, PatchError> {
        rewrite::set_multiplier(&mut self, name, multiplier)?;
        Ok(self)
    }

    /// The model with the change of every active adapter in its weights, so that nothing is computed
    /// beside them. The adapters stay, and [`unmerge_lora`](Self::unmerge_lora) is exact. Until then the model
    /// does not train: nothing but what is trained whole requires gradients.
    ///
    /// # Errors
    ///
    /// No adapter; merged weights that are not finite.
    fn merge_lora(mut self) -> Result<Self, PatchError> {
        rewrite::merge(&mut self)?;
        Ok(self)
    }

    /// The model as it was before [`merge_lora`](Self::merge_lora), bit for bit.
    ///
    /// # Errors
    ///
    /// No adapter.
    fn unmerge_lora(mut self) -> Result<Self, PatchError> {
        rewrite::unmerge(&mut self)?;
        Ok(self)
    }

    /// The model with the change of every active adapter in its weights for good, and no adapter left.
    /// Everything is frozen ([`Module::unfreeze`] is for that).
    ///
    /// # Errors
    ///
    /// As [`merge_lora`](Self::merge_lora).
    fn merge_and_unload_lora(self) -> Result<Self, PatchError> {
        rewrite::merge_and_unload(self)
    }

    /// The model without any adapter, its weights bit for bit what they were, merged or not.
    ///
    /// What is frozen stays frozen, and statistics stay still ([`Module::unfreeze`] is for both). Modules that
    /// were trained whole keep their trained values: keep a clone of the model from before it was patched to
    /// have those back too.
    fn unload_lora(self) -> Self {
        rewrite::unload(self)
    }

    /// Writes the only adapter as a directory that PEFT reads: `adapter_config.json` and
    /// `adapter_model.safetensors`, with the modules that were trained whole.
    ///
    /// # Errors
    ///
    /// No adapter, or several; a file that cannot be written.
    fn save_adapter(&self, dir: impl AsRef<Path>) -> Result<(), PatchError> {
        peft::save(self, dir, &peft::config_of(self, None)?)
    }

    /// As [`save_adapter`](Self::save_adapter), of the adapter called `name` among several.
    ///
    /// # Errors
    ///
    /// No adapter of that name; a file that cannot be written.
    fn save_named_adapter(&self, name: &str, dir: impl AsRef<Path>) -> Result<(), PatchError> {
        peft::save_adapter(self, name, dir, &peft::config_of(self, Some(name))?)
    }

    /// The model with the adapter that PEFT, or [`save_adapter`](Self::save_adapter), wrote into `dir`,
    /// called `default` and frozen.
    ///
    /// # Errors
    ///
    /// A directory that cannot be read, or does not fit the model; an adapter of that name.
    fn load_adapter(self, dir: impl AsRef<Path>) -> Result<(Self, PatchReport), PatchError> {
        self.load_adapter_with(dir, &LoadOptions::new())
    }

    /// As [`load_adapter`](Self::load_adapter), under another name or to be trained on.
    ///
    /// # Errors
    ///
    /// As [`load_adapter`](Self::load_adapter).
    fn load_adapter_with(
        mut self,
        dir: impl AsRef<Path>,
        options: &LoadOptions,
    ) -> Result<(Self, PatchReport), PatchError> {
        let report = peft::load(&mut self, dir, options)?;
        Ok((self, report))
    }

    /// The model with the values in `dir` in the adapter called `name`, which it has already. What is
    /// trained stays what it is, with its identities: an optimiser goes on with its state.
    ///
    /// # Errors
    ///
    /// No adapter of that name; a directory for another kind, rank, scale or other layers.
    fn load_into_adapter(mut self, name: &str, dir: impl AsRef<Path>) -> Result<Self, PatchError> {
        peft::load_into(&mut self, name, dir)?;
        Ok(self)
    }
}

impl<M: Module> LoraModule for M {}
