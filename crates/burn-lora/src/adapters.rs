//! The set of named adapters that hangs on one weight.
//!
//! Burn attaches one `Reparameterization` to a parameter and offers no way to exchange it, so the
//! thing attached is a set, and changing a set means reading all [`sets`] of a model, [`detach`]ing
//! them and attaching changed ones (tensors are reference counted: this copies no values).

use std::cell::RefCell;

use burn::module::{Module, ModuleVisitor, Param, Reparameterization, Reparameterizer};
use burn::tensor::Tensor;

use crate::{Adapter, FrozenWeight};

/// The adapters of one weight, in the order they were added.
///
/// Parameters appear at `<weight>.lora.adapters.<index>.{a,b}`.
#[derive(Module, Debug)]
pub struct Adapters {
    adapters: Vec<Adapter>,
    /// While merged: the base as it was before. A plain tensor, not a parameter, so that it is
    /// neither counted, trained nor recorded.
    unmerged: Option<Tensor<2>>,
}

impl Adapters {
    /// A set of one.
    pub fn single(adapter: Adapter) -> Self {
        Self { adapters: vec![adapter], unmerged: None }
    }

    /// The adapters, in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Adapter> {
        self.adapters.iter()
    }

    /// The adapter of that name.
    pub fn get(&self, name: &str) -> Option<&Adapter> {
        self.iter().find(|adapter| adapter.name() == name)
    }

    /// The set with one more adapter; one of the same name is replaced where it stands.
    pub fn with(mut self, adapter: Adapter) -> Self {
        match self.adapters.iter_mut().find(|other| other.name() == adapter.name()) {
            Some(other) => *other = adapter,
            None => self.adapters.push(adapter),
        }
        self
    }

    /// The set with every adapter replaced by what `change` makes of it.
    pub fn map(mut self, change: impl FnMut(Adapter) -> Adapter) -> Self {
        self.adapters = self.adapters.into_iter().map(change).collect();
        self
    }

    /// Whether the stored base holds the adapters' change already.
    pub fn is_merged(&self) -> bool {
        self.unmerged.is_some()
    }

    /// The adapters that change the output: active, with a scale other than zero, not merged.
    pub(crate) fn effective(&self) -> impl Iterator<Item = &Adapter> {
        let merged = self.is_merged();
        self.iter().filter(move |adapter| !merged && adapter.effective_scale() != 0.0)
    }

    /// `base + Σ delta` over the active adapters, dense in f32 whatever kind the base is, and the set
    /// that knows it is merged.
    ///
    /// The untouched base is kept (a reference, not a copy), so that [`unmerge`](Self::unmerge) is
    /// exact. Merging a merged set changes nothing.
    ///
    /// # Shapes
    ///
    /// - `base`: `[d_in, d_out]`
    pub fn merge(mut self, base: Tensor<2>) -> (Tensor<2>, Self) {
        if self.is_merged() {
            return (base, self);
        }
        let merged = self.composed(base.clone()).detach();
        self.unmerged = Some(base);
        (merged, self)
    }

    /// The base as it was before [`merge`](Self::merge), bit for bit, and the set that works again.
    pub fn unmerge(mut self, merged: Tensor<2>) -> (Tensor<2>, Self) {
        match self.unmerged.take() {
            Some(base) => (base.to_device(&merged.device()), self),
            None => (merged, self),
        }
    }

    fn composed(&self, base: Tensor<2>) -> Tensor<2> {
        let dense = FrozenWeight::from(base).dense();
        self.effective().fold(dense, |weight, adapter| weight + adapter.delta())
    }
}

impl Reparameterization for Adapters {
    const NAME: &'static str = "lora";

    /// The composed weight, which unchanged model code (`Linear::forward`) multiplies with.
    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        if intercept(self) || self.effective().next().is_none() {
            return base;
        }
        let shape = base.shape();
        let [rows, columns] = [shape[0], shape.num_elements() / shape[0].max(1)];
        self.composed(base.reshape([rows, columns])).reshape(shape)
    }
}

thread_local! {
    /// While [`materialize_without`] runs on this thread: the sets met so far.
    static INTERCEPTED: RefCell<Option<Vec<Adapters>>> = const { RefCell::new(None) };
}

/// Notes the set and keeps it from being folded in, if that is asked for on this thread.
fn intercept(set: &Adapters) -> bool {
    INTERCEPTED.with_borrow_mut(|met| match met {
        Some(met) => {
            met.push(set.clone());
            true
        }
        None => false,
    })
}

/// `Module::materialize`, with every set left out instead of folded in, and the sets it met.
///
/// It is Burn's only way to take a reparameterization off, and the only one to reach what hangs on
/// a parameter from outside of its module: visitors and mappers are shown the parameter without it.
fn materialize_without<M: Module>(model: M) -> (M, Vec<Adapters>) {
    /// Ends the interception also when `materialize` panics.
    struct Stop;
    impl Drop for Stop {
        fn drop(&mut self) {
            INTERCEPTED.set(None);
        }
    }
    INTERCEPTED.set(Some(Vec::new()));
    let _stop = Stop;
    let model = model.materialize();
    (model, INTERCEPTED.take().unwrap_or_default())
}

/// Takes every [`Adapters`] off the model's weights and gives the stored bases back, bit for bit.
///
/// What is merged stays in the base. A reparameterization of another kind is folded in.
pub fn detach<M: Module>(model: M) -> M {
    materialize_without(model).0
}

/// Every [`Adapters`] of the model with the path of the weight it hangs on, as a `ModuleVisitor`
/// spells it (`layers.0.fc.weight`), in the order of the fields.
pub fn sets<M: Module>(model: &M) -> Vec<(String, Adapters)> {
    #[derive(Default)]
    struct Paths {
        segments: Vec<String>,
        found: Vec<String>,
    }
    impl ModuleVisitor for Paths {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            // The path so far ends in the reparameterization's name, which the weight's has not.
            if container_type == "Struct:Adapters"
                && name == "adapters"
                && let Some((last, weight)) = self.segments.split_last()
                && last == Adapters::NAME
            {
                self.found.push(weight.join("."));
            }
            self.segments.push(name.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.segments.pop();
        }
    }
    let mut paths = Paths::default();
    model.visit(&mut paths);
    if paths.found.is_empty() {
        return Vec::new();
    }
    // Both walks go through the fields in the order of their declaration.
    let (_, sets) = materialize_without(model.clone());
    paths.found.into_iter().zip(sets).collect()
}

/// Attaches `adapter` to the one weight at `path` (as a `ModuleVisitor` spells it, such as
/// `"weight"` in a `Linear` or `"layers.0.fc.weight"`), and freezes that weight.
///
/// A path that does not exist leaves the module as it is; patching a whole model, with checks and a
/// report, is what the crate `burn-lora-patch` is for.
pub fn attach<M: Module>(module: M, path: &str, adapter: Adapter) -> M {
    struct Attach<'a> {
        path: &'a str,
        adapter: Option<Adapter>,
    }
    impl Reparameterizer for Attach<'_> {
        type Reparam = Adapters;

        fn reparameterize<const D: usize>(
            &mut self,
            path: &str,
            param: Param<Tensor<D>>,
        ) -> (Param<Tensor<D>>, Option<Adapters>) {
            match self.adapter.take_if(|_| path == self.path) {
                Some(adapter) => (param.set_require_grad(false), Some(Adapters::single(adapter))),
                None => (param, None),
            }
        }
    }
    module.apply_reparameterization(Attach { path, adapter: Some(adapter) })
}
