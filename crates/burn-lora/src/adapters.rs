//! The set of named adapters that hangs on one weight.
//!
//! Burn attaches one `Reparameterization` to a parameter and offers no way to exchange it, so the
//! thing attached is a set, and changing a set means reading all [`sets`] of a model, [`detach`]ing
//! them and attaching changed ones (tensors are reference counted: this copies no values).

mod suspended;

use std::cell::{Cell, RefCell};

use burn::module::{Module, ModuleVisitor, Param, ParamId, Reparameterization, Reparameterizer};
use burn::tensor::{Int, Tensor};

use crate::adapter::{Head, Rows};
use crate::{Adapter, Factor, FrozenWeight, LoraError, Method, Stack};
use suspended::Suspended;

/// The adapters of one weight, in the order they were added; at least one.
///
/// An adapter says which weight `W'` it makes of the frozen `W`. It need not be a sum with something
/// that `W` does not enter (DoRA scales columns). The weight that several compose is
///
/// ```text
/// W + Σ multiplier · (W' − W)        each W' made of the frozen W, not of another adapter's result
/// ```
///
/// so that the order does not matter, a multiplier of 0 gives the base model and 1 a lone adapter as
/// it was trained, for every kind.
///
/// Their parameters appear at `<weight>.lora.adapters.<index>.factors.<Kind>.<factor>`
/// ([`FactorPath`]).
#[derive(Module, Debug)]
pub struct Adapters {
    adapters: Vec<Adapter>,
    /// Whether the weight lies `[d_out, d_in]`.
    turned: bool,
    /// How many matrices lie in the weight, where it is a parameter of its own ([`Stack`]); 0 of a layer's.
    stacked: usize,
    /// While merged: what is multiplied with, in f32 as the weight lies. A plain tensor, not a
    /// parameter, so that it is neither counted, trained nor recorded.
    merged: Option<Tensor<2>>,
    #[module(skip)]
    suspended: Vec<Suspended>,
}

impl Adapters {
    /// A set of one.
    pub fn single(adapter: Adapter) -> Self {
        let (merged, suspended) = (None, Vec::new());
        Self { adapters: vec![adapter], turned: false, stacked: 0, merged, suspended }
    }

    /// The set for a weight that lies `[d_out, d_in]` (true) or `[d_in, d_out]` (false, as Burn's own).
    /// The adapters are made for `[d_in, d_out]` either way.
    pub fn with_turned(mut self, turned: bool) -> Self {
        self.turned = turned;
        self
    }

    /// The set for a parameter in which matrices lie, for which the adapters were made ([`Adapter::init_stack`]).
    pub fn with_stack(mut self, stack: Stack) -> Self {
        (self.stacked, self.turned) = (stack.count, stack.turned);
        self
    }

    /// Whether the weight lies `[d_out, d_in]`.
    pub fn is_turned(&self) -> bool {
        self.turned
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

    /// The set without the adapter of that name; none where that was the last.
    pub fn without(mut self, name: &str) -> Option<Self> {
        self.adapters.retain(|adapter| adapter.name() != name);
        (!self.adapters.is_empty()).then_some(self)
    }

    /// The set with every adapter replaced by what `change` makes of it.
    pub fn map(mut self, change: impl FnMut(Adapter) -> Adapter) -> Self {
        self.adapters = self.adapters.into_iter().map(change).collect();
        self
    }

    /// Whether the weight is multiplied with as merged, so that nothing is computed beside it.
    pub fn is_merged(&self) -> bool {
        self.merged().is_some()
    }

    /// The weight with the change, in f32 as the weight lies, while merged. Of a convolution its first dimension and all others
    /// together; the channels of all groups where an adapter sees those of all.
    pub fn merged(&self) -> Option<&Tensor<2>> {
        // A record that was loaded meanwhile brought factors of its own.
        self.merged.as_ref().filter(|_| suspended::still_there(&self.adapters, &self.suspended))
    }

    /// `x W'`, `x: [rows, d_in]` and `weight: [d_in, d_out]`, both in f32 or the weight held in 16 bits,
    /// with the change of every adapter that is in force; none where there is no such adapter, or the
    /// set is merged.
    pub(crate) fn forward(&self, x: &Tensor<2>, weight: &FrozenWeight) -> Option<Tensor<2>> {
        let mut effective = self.effective();
        let first = effective.next()?;
        let y = first.forward(x.clone(), weight.clone());
        Some(effective.fold(y, |y, adapter| y + adapter.branch(x.clone(), weight.clone())))
    }

    /// The rows of these numbers of an embedding's table, `[n, d]` in f32, with the change of every adapter in force or
    /// merged. ids: `[n]`, table: `[rows, d]` as it is frozen.
    pub(crate) fn rows(&self, ids: Tensor<1, Int>, table: FrozenWeight) -> Tensor<2> {
        if let Some(merged) = self.merged() {
            return FrozenWeight::from(merged.clone()).gather(ids);
        }
        let base = table.gather(ids.clone());
        let rows = Rows { ids, base, table };
        self.effective().fold(rows.base.clone(), |sum, adapter| adapter.onto_rows(sum, &rows))
    }

    /// What the adapters add to the output whatever the input, `[d_out]` in f32, merged or not; none where they add
    /// nothing.
    pub fn shift(&self) -> Option<Tensor<1>> {
        self.iter().filter_map(Adapter::shift).reduce(|sum, shift| sum + shift)
    }

    /// Whether a head that is the table computes with a change of it.
    pub(crate) fn is_followed(&self) -> bool {
        self.iter().any(Adapter::is_followed)
    }

    /// The logits of a head that is the table, with the changes that it follows, merged or not.
    pub(crate) fn logits(&self, head: &Head) -> Tensor<2> {
        let followed = self.iter().filter(|adapter| adapter.is_followed());
        followed.fold(head.base.clone(), |sum, adapter| adapter.onto_logits(sum, head))
    }

    /// Whether [`forward`](Self::forward) gives something.
    pub(crate) fn is_effective(&self) -> bool {
        self.effective().next().is_some()
    }

    /// The adapters that change the output: in force, and not merged.
    pub(crate) fn effective(&self) -> impl Iterator<Item = &Adapter> {
        let merged = self.is_merged();
        self.iter().filter(move |adapter| !merged && adapter.is_effective())
    }

    /// The set that multiplies with one dense weight, the base with the change of every adapter in force,
    /// in f32 whatever kind the base is. Merging a merged set changes nothing.
    ///
    /// The base stays where it is, so that [`unmerge`](Self::unmerge) is exact and a record of the model
    /// holds base and factors as ever. The factors are not trained while they are merged.
    ///
    /// # Shapes
    ///
    /// - `base`: as the weight lies, that of a convolution flattened ([`FrozenWeight::flattened`])
    pub fn merge(mut self, base: Tensor<2>) -> Self {
        if self.is_merged() {
            return self;
        }
        let merged = self.unmerge_factors().composed(base, Adapter::onto).detach();
        self.merged = Some(merged);
        (self.adapters, self.suspended) = suspended::suspend(self.adapters);
        self
    }

    /// The set as it was before [`merge`](Self::merge).
    pub fn unmerge(mut self) -> Self {
        self.unmerge_factors();
        self
    }

    fn unmerge_factors(&mut self) -> &Self {
        self.merged = None;
        let (adapters, held) =
            (std::mem::take(&mut self.adapters), std::mem::take(&mut self.suspended));
        self.adapters = suspended::resume(adapters, held);
        self
    }

    /// The base with the change of every adapter in force, in f32: each put onto what those before it made of the base.
    fn composed(
        &self,
        base: Tensor<2>,
        onto: impl Fn(&Adapter, Tensor<2>, Tensor<2>) -> Tensor<2>,
    ) -> Tensor<2> {
        let dense = self.as_matrix(FrozenWeight::from(base).dense());
        let composed = self
            .effective()
            .fold(dense.clone(), |weight, adapter| onto(adapter, weight, dense.clone()));
        self.as_it_lies(composed)
    }

    /// A weight as it lies as the matrix that the adapters are made for.
    fn as_matrix(&self, weight: Tensor<2>) -> Tensor<2> {
        match (self.stack(), self.adapters.first()) {
            (Some(stack), Some(adapter)) => stack.side_by_side(weight, adapter.weight_shape()[0]),
            _ if self.turned => weight.transpose(),
            _ => weight,
        }
    }

    /// What [`as_matrix`](Self::as_matrix) makes, as the weight lies.
    fn as_it_lies(&self, matrix: Tensor<2>) -> Tensor<2> {
        match self.stack() {
            Some(stack) => stack.flat(matrix),
            None if self.turned => matrix.transpose(),
            None => matrix,
        }
    }

    fn stack(&self) -> Option<Stack> {
        (self.stacked > 0).then(|| Stack::new(self.stacked, self.turned))
    }
}

impl Reparameterization for Adapters {
    const NAME: &'static str = "lora";

    /// The composed weight, which unchanged model code (`Linear::forward`) multiplies with, in the
    /// base's own number format: that is what such a model's activations have.
    ///
    /// # Panics
    ///
    /// Where an adapter of a convolution with groups sees the channels of all of them, which no such convolution can.
    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        if intercept(self) {
            return base;
        }
        assert!(
            BESIDE.get() || !self.iter().any(|it| it.is_effective() && it.method().shifts()),
            "an adapter with a bias on its factor B adds to a layer's output, which the weight alone cannot: call \
             `LoraForward::lora_forward` in the place of `Linear::forward`, or merge it for good",
        );
        let (shape, format) = (base.shape(), base.dtype());
        let weight = match self.merged() {
            Some(merged) => merged.clone(),
            None if !self.is_effective() => return base,
            None => {
                let base = FrozenWeight::flattened(base).into_tensor();
                self.composed(base, Adapter::dropped_onto)
            }
        };
        assert!(
            weight.shape().num_elements() == shape.num_elements(),
            "an adapter of a convolution with groups sees the channels of all groups (PEFT's do), and `forward` has room for those \
             of one: call `lora_forward` of `burn_lora::ConvForward`"
        );
        let weight = weight.reshape(shape);
        match format.is_float() && weight.dtype() != format {
            true => weight.cast(format),
            false => weight,
        }
    }
}

/// The weight that hangs together, for code that adds [`Adapters::shift`] to what it multiplies.
pub(crate) fn composed_weight(weight: &Param<Tensor<2>>) -> Tensor<2> {
    /// Ends the permission also when composing panics.
    struct Outer(bool);
    impl Drop for Outer {
        fn drop(&mut self) {
            BESIDE.set(self.0);
        }
    }
    let _outer = Outer(BESIDE.replace(true));
    weight.val()
}

/// The place of a factor in a model, read from the path of its parameter.
#[derive(Debug)]
pub struct FactorPath<'a> {
    /// The path of the weight that the adapter hangs on.
    pub weight: &'a str,
    /// Which of the weight's adapters.
    pub index: usize,
    /// The kind of adapter.
    pub method: Method,
    /// Which factor of that kind.
    pub factor: &'static Factor,
}

impl<'a> FactorPath<'a> {
    /// The place; none of a path that is no factor's of a kind in the table.
    pub fn parse(path: &'a str) -> Option<Self> {
        let mark = format!(".{}.adapters.", Adapters::NAME);
        let (weight, below) = path.rsplit_once(mark.as_str())?;
        let mut segments = below.split('.');
        let index = segments.next()?.parse().ok()?;
        let ("factors", kind, name, None) =
            (segments.next()?, segments.next()?, segments.next()?, segments.next())
        else {
            return None;
        };
        let method = *Method::EVERY.iter().find(|method| method.segment() == kind)?;
        Some(Self { weight, index, method, factor: method.factor(name)? })
    }
}

thread_local! {
    /// While whoever composes a weight on this thread adds what stands beside it ([`Adapters::shift`]).
    static BESIDE: Cell<bool> = const { Cell::new(false) };
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
///
/// A walk inside of a walk (a module whose `materialize` reads the sets of another model) has notes
/// of its own; the outer one goes on where it was.
fn materialize_without<M: Module>(model: M) -> (M, Vec<Adapters>) {
    /// Ends the interception also when `materialize` panics.
    struct Outer(Option<Vec<Adapters>>);
    impl Drop for Outer {
        fn drop(&mut self) {
            INTERCEPTED.set(self.0.take());
        }
    }
    let _outer = Outer(INTERCEPTED.replace(Some(Vec::new())));
    let model = model.materialize();
    (model, INTERCEPTED.take().unwrap_or_default())
}

/// Takes every [`Adapters`] off the model's weights and gives the stored bases back, bit for bit, merged
/// or not. A reparameterization of another kind is folded in.
pub fn detach<M: Module>(model: M) -> M {
    materialize_without(model).0
}

/// Every [`Adapters`] of the model with the path of the weight it hangs on, as a `ModuleVisitor`
/// spells it (`layers.0.fc.weight`), in the order of the fields.
///
/// # Panics
///
/// Where a hand-written `Module` shows other sets to `visit` than to `materialize`: changing sets
/// would then put them on wrong weights.
pub fn sets<M: Module>(model: &M) -> Vec<(String, Adapters)> {
    let shown = Shown::of(model);
    if shown.is_empty() {
        return Vec::new();
    }
    let (_, mut met) = materialize_without(model.clone());
    // The walks may differ in their order: what tells sets apart are the identities of their
    // parameters.
    let paired: Vec<(String, Adapters)> = shown
        .into_iter()
        .map_while(|(path, id)| {
            let at = met.iter().position(|set| first_param(set) == Some(id))?;
            Some((path, met.remove(at)))
        })
        .collect();
    assert!(
        met.is_empty() && paired.len() == Shown::of(model).len(),
        "a module's `visit` and `materialize` do not reach the same adapters: both must go through \
         every field",
    );
    paired
}

/// The sets that a visitor is shown: the path of each weight, and the identity of the first
/// parameter below.
#[derive(Default)]
struct Shown {
    segments: Vec<String>,
    /// The weight of a set whose first parameter has not come yet.
    weight: Option<String>,
    found: Vec<(String, ParamId)>,
}

impl Shown {
    fn of<M: Module>(model: &M) -> Vec<(String, ParamId)> {
        let mut shown = Self::default();
        model.visit(&mut shown);
        shown.found
    }
}

impl ModuleVisitor for Shown {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        // The path so far ends in the reparameterization's name, which the weight's has not.
        if container_type == "Struct:Adapters"
            && name == "adapters"
            && let Some((last, weight)) = self.segments.split_last()
            && last == Adapters::NAME
        {
            self.weight = Some(weight.join("."));
        }
        self.segments.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.segments.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(weight) = self.weight.take() {
            self.found.push((weight, param.id));
        }
    }
}

/// The identity of the first parameter of a set.
fn first_param(set: &Adapters) -> Option<ParamId> {
    struct First(Option<ParamId>);
    impl ModuleVisitor for First {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.get_or_insert(param.id);
        }
    }
    let mut first = First(None);
    set.visit(&mut first);
    first.0
}

/// Attaches `adapter` to the one weight at `path` (as a `ModuleVisitor` spells it, such as
/// `"weight"` in a `Linear` or `"layers.0.fc.weight"`), and freezes that weight.
///
/// Patching a whole model, with checks and a report, is what the crate `burn-lora-patch` is for.
///
/// # Errors
///
/// No weight of two dimensions or more has that path; it is of another shape than the adapter was made for. (A convolution's is
/// `[inputs of an output, outputs]`, as [`Kernel::of`](crate::Kernel::of) gives it.)
pub fn attach<M: Module>(module: M, path: &str, adapter: Adapter) -> Result<M, LoraError> {
    struct Attach<'a> {
        path: &'a str,
        adapter: Option<Adapter>,
        others: Vec<String>,
        failed: Option<LoraError>,
    }
    impl Reparameterizer for &mut Attach<'_> {
        type Reparam = Adapters;

        fn reparameterize<const D: usize>(
            &mut self,
            path: &str,
            param: Param<Tensor<D>>,
        ) -> (Param<Tensor<D>>, Option<Adapters>) {
            if D < 2 {
                return (param, None);
            }
            let Some(adapter) = self.adapter.take_if(|_| path == self.path) else {
                self.others.push(path.to_owned());
                return (param, None);
            };
            let shape = param.lazy_shape().as_slice().to_vec();
            let inputs: usize = shape[1..].iter().product();
            let found = if D == 2 { [shape[0], inputs] } else { [inputs, shape[0]] };
            let made_for = adapter.weight_shape();
            // A may see the channels of all groups.
            let crossing = D > 2 && made_for == [adapter.groups() * found[0], found[1]];
            if made_for != found && !crossing {
                let path = path.to_owned();
                self.failed = Some(LoraError::WeightShape { path, made_for, found });
                return (param, None);
            }
            let set = Adapters::single(adapter).with_turned(D > 2);
            (unshared(param).set_require_grad(false), Some(set))
        }
    }
    let mut attach = Attach { path, adapter: Some(adapter), others: Vec::new(), failed: None };
    let attached = module.apply_reparameterization(&mut attach);
    let Attach { adapter, others, failed, .. } = attach;
    if adapter.is_some() {
        return Err(LoraError::UnknownWeight { path: path.to_owned(), weights: others });
    }
    failed.map_or(Ok(attached), Err)
}

/// Hangs on every weight of two dimensions or more the set that `set` gives for its path, if any. What hangs there already has to be
/// [taken off](detach) before.
pub fn attach_sets<M: Module>(module: M, set: impl FnMut(&str) -> Option<Adapters>) -> M {
    struct Hang<F>(F);
    impl<F: FnMut(&str) -> Option<Adapters>> Reparameterizer for Hang<F> {
        type Reparam = Adapters;

        fn reparameterize<const D: usize>(
            &mut self,
            path: &str,
            param: Param<Tensor<D>>,
        ) -> (Param<Tensor<D>>, Option<Adapters>) {
            let set = if D >= 2 { (self.0)(path) } else { None };
            (param, set)
        }
    }
    module.apply_reparameterization(Hang(set))
}

/// Whether the parameter requires gradients, or does once its module is in training mode.
pub fn is_trained<const D: usize>(param: &Param<Tensor<D>>) -> bool {
    let base = param.base();
    // Burn tells what `train` will give back by giving it back only.
    base.is_require_grad()
        || (!base.is_autodiff() && param.clone().train().base().is_require_grad())
}

/// The parameter with a state of its own where it is not initialised yet. Clones share that state, and
/// what is set on it (whether gradients are required) is set for all of them; the value is the same.
pub fn unshared<const D: usize>(param: Param<Tensor<D>>) -> Param<Tensor<D>> {
    match param.is_initialized() {
        true => param,
        false => param.init_mapper(|value| value),
    }
}
