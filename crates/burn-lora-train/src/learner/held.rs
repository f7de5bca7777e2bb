//! A model that is given away whole, once, to whoever clones it next.
//!
//! burn-train's learner hands a clone of its model to the optimiser, and keeps its own until the new one is there. So no parameter would
//! be the optimiser's alone, and a step that writes a parameter where it lies would copy it first: of a model that is trained whole, all of
//! its memory once more, and on a GPU a kernel for each parameter. After [`Held::gives_away`] that clone takes the model with it, and what
//! the learner keeps is empty until the step is done.

use std::fmt::{self, Debug};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
};
use burn::tensor::Device;

/// A model; its clones are apart, as a module's are, but for who is to give it away.
pub struct Held<M> {
    /// Empty once it was given away.
    model: Mutex<Option<M>>,
    /// Whether the next clone takes the model with it: of this or of any of its clones.
    leaves: Arc<AtomicBool>,
}

impl<M> Held<M> {
    pub(super) fn new(model: M) -> Self {
        Self::with(Some(model), Arc::default())
    }

    fn with(model: Option<M>, leaves: Arc<AtomicBool>) -> Self {
        Self { model: Mutex::new(model), leaves }
    }

    /// The model, for as long as nobody else asks for it.
    ///
    /// # Panics
    ///
    /// Where it was given away: that is, where a step that took it did not come to its end.
    pub(super) fn get(&self) -> impl Deref<Target = M> + '_ {
        Guard(self.slot())
    }

    /// Has the next clone, of this or of any of its clones, take the model with it.
    pub(super) fn gives_away(&self) {
        self.leaves.store(true, Ordering::Relaxed);
    }

    /// The model itself.
    pub(super) fn into_inner(self) -> M {
        let model = self.model.into_inner().unwrap_or_else(PoisonError::into_inner);
        model.expect(GONE)
    }

    fn changed(self, change: impl FnOnce(M) -> M) -> Self {
        let leaves = self.leaves.clone();
        Self::with(Some(change(self.into_inner())), leaves)
    }

    fn slot(&self) -> MutexGuard<'_, Option<M>> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there is no model.
const GONE: &str = "the model was given to a step that did not end";

struct Guard<'a, M>(MutexGuard<'a, Option<M>>);

impl<M> Deref for Guard<'_, M> {
    type Target = M;

    fn deref(&self) -> &M {
        self.0.as_ref().expect(GONE)
    }
}

impl<M: Clone> Clone for Held<M> {
    fn clone(&self) -> Self {
        let mut slot = self.slot();
        let leaves = self.leaves.swap(false, Ordering::Relaxed);
        let model = if leaves { slot.take() } else { slot.clone() };
        Self::with(model, self.leaves.clone())
    }
}

impl<M: Debug> Debug for Held<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.slot().fmt(f)
    }
}

impl<M: Module> Module for Held<M> {
    fn collect_devices(&self, devices: Devices) -> Devices {
        self.get().collect_devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        self.changed(|model| model.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        self.changed(|model| model.to_device(device))
    }

    fn train(self) -> Self {
        self.changed(Module::train)
    }

    fn valid(&self) -> Self {
        Self::new(self.get().valid())
    }

    fn materialize(self) -> Self {
        self.changed(Module::materialize)
    }

    fn visit<Visitor: ModuleVisitor>(&self, visitor: &mut Visitor) {
        self.get().visit(visitor);
    }

    fn map<Mapper: ModuleMapper>(self, mapper: &mut Mapper) -> Self {
        self.changed(|model| model.map(mapper))
    }
}

impl<M> ModuleDisplayDefault for Held<M> {
    fn content(&self, content: Content) -> Option<Content> {
        Some(content)
    }
}

impl<M> ModuleDisplay for Held<M> {}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};

    use super::*;

    #[test]
    fn clones_are_apart_and_the_one_that_takes_the_model_leaves_none() {
        let device = burn_lora::device::parse("cpu").unwrap();
        let held = Held::new(LinearConfig::new(3, 2).init(&device));
        let weights = |held: &Held<Linear>| held.get().weight.val().into_data();
        let first = held.clone();
        assert_eq!(weights(&first), weights(&held));
        first.gives_away();
        let taken = held.clone();
        assert_eq!(weights(&taken), weights(&first));
        assert!(held.slot().is_none());
        // The next one alone, and of what was changed meanwhile too.
        assert_eq!(weights(&first.clone()), weights(&first));
        let changed = taken.no_grad();
        first.gives_away();
        assert_eq!(weights(&changed.clone()), weights(&first));
        assert!(changed.slot().is_none());
    }
}
