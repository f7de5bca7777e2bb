//! A stack of blocks in a pass: recorded on the way forward, taken again one by one on the way back.

use std::cell::RefCell;
use std::rc::Rc;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Gradients, Tensor};

use super::{Recompute, TrainingPass, seed_of};

thread_local! {
    /// The pass that this thread is in the forward part of.
    static RECORDING: RefCell<Option<Recording>> = const { RefCell::new(None) };
}

/// A pass on its way forward.
pub(super) struct Recording {
    recompute: Recompute,
    draws: Draws,
    chains: Vec<Chain>,
}

/// Where what is drawn comes from: the device's generator, seeded by place.
#[derive(Debug, Clone)]
struct Draws {
    device: Device,
    seed: u64,
    place: u64,
}

impl Draws {
    fn begin(&self) {
        self.device.seed(seed_of(self.seed, self.place));
    }

    /// Those of the place so much further on.
    fn on(&self, places: usize) -> Self {
        Self { place: self.place + places as u64, ..self.clone() }
    }
}

/// A stack of blocks between two leaves.
pub(super) struct Chain {
    /// What goes into the first block, where a gradient is wanted for it.
    start: Option<Tensor<3>>,
    /// The blocks that a gradient goes back through, in their order.
    blocks: Vec<Box<dyn Again>>,
    /// What comes out of the last block: a leaf of the graph above.
    end: Tensor<3>,
}

/// A block that goes forward once more and then back.
trait Again {
    /// The gradient of its input, where one is wanted, for that of its output; those of its parameters join
    /// `gradients`.
    fn backward(
        self: Box<Self>,
        dy: Tensor<3>,
        gradients: &mut GradientsParams,
    ) -> Option<Tensor<3>>;
}

struct Block<L, F> {
    layer: L,
    forward: Rc<F>,
    /// Without a graph.
    x: Tensor<3>,
    /// Whether a gradient is wanted for x.
    wanted: bool,
    draws: Draws,
}

impl Recording {
    pub(super) fn start(pass: TrainingPass, device: &Device) -> Self {
        let TrainingPass { seed, recompute } = pass;
        let draws = Draws { device: device.clone(), seed, place: 0 };
        draws.begin();
        Self { recompute, draws: draws.on(1), chains: Vec::new() }
    }
}

/// Whether this thread is in the forward part of a pass.
pub(crate) fn is_recording() -> bool {
    RECORDING.with_borrow(Option::is_some)
}

/// What `forward` gives, and the chains of the passes of stacks in it.
pub(super) fn recorded<T>(recording: Recording, forward: impl FnOnce() -> T) -> (T, Vec<Chain>) {
    /// Ends the recording also when `forward` panics.
    struct Outer(Option<Recording>);
    impl Drop for Outer {
        fn drop(&mut self) {
            RECORDING.set(self.0.take());
        }
    }
    let _outer = Outer(RECORDING.replace(Some(recording)));
    let given = forward();
    (given, RECORDING.take().map_or_else(Vec::new, |recording| recording.chains))
}

/// The stream through a stack of layers, as the pass of this thread wants it; plainly outside of one.
///
/// # Shapes
///
/// - x: `[batch, tokens, hidden]`, and the output
pub(crate) fn through<L: Module + 'static>(
    layers: &[L],
    x: Tensor<3>,
    forward: impl Fn(&L, Tensor<3>) -> Tensor<3> + 'static,
) -> Tensor<3> {
    let started = RECORDING.with_borrow_mut(|recording| {
        recording.as_mut().map(|recording| {
            let draws = recording.draws.clone();
            // A place for each layer, and one for what comes after them.
            recording.draws = draws.on(layers.len() + 1);
            (recording.recompute, draws)
        })
    });
    let Some((recompute, draws)) = started else {
        return layers.iter().fold(x, |x, layer| forward(layer, x));
    };
    let x = match recompute {
        Recompute::None => layers.iter().enumerate().fold(x, |x, (index, layer)| {
            draws.on(index).begin();
            forward(layer, x)
        }),
        Recompute::Block => inputs_kept(layers, x, forward, &draws),
    };
    draws.on(layers.len()).begin();
    x
}

/// The stream through a stack of layers of which the inputs alone are kept.
fn inputs_kept<L: Module + 'static>(
    layers: &[L],
    x: Tensor<3>,
    forward: impl Fn(&L, Tensor<3>) -> Tensor<3> + 'static,
    draws: &Draws,
) -> Tensor<3> {
    let forward = Rc::new(forward);
    let mut wanted = x.is_tracked();
    let start = wanted.then(|| x.clone());
    let mut blocks: Vec<Box<dyn Again>> = Vec::new();
    // Autodiff's device tells layers that they are in training; what is not tracked leaves no graph.
    let mut x = x.inner();
    for (index, layer) in layers.iter().enumerate() {
        let draws = draws.on(index);
        draws.begin();
        // Before the copy: a value that is not there yet is made once for both.
        let learns = learns(layer);
        let y = forward(&layer.clone().no_grad(), Tensor::from_inner(x.clone())).inner();
        if wanted || learns {
            let (layer, forward) = (layer.clone(), forward.clone());
            blocks.push(Box::new(Block { layer, forward, x, wanted, draws }));
            wanted = true;
        }
        x = y;
    }
    let end = Tensor::from_inner(x);
    if !wanted {
        return end;
    }
    let end = end.require_grad();
    let chain = Chain { start, blocks, end: end.clone() };
    RECORDING.with_borrow_mut(|recording| {
        if let Some(recording) = recording {
            recording.chains.push(chain);
        }
    });
    end
}

impl<L: Module, F: Fn(&L, Tensor<3>) -> Tensor<3>> Again for Block<L, F> {
    fn backward(
        self: Box<Self>,
        dy: Tensor<3>,
        gradients: &mut GradientsParams,
    ) -> Option<Tensor<3>> {
        let Self { layer, forward, x, wanted, draws } = *self;
        draws.begin();
        let x = Tensor::from_inner(x).set_require_grad(wanted);
        let y = forward(&layer, x.clone());
        // A layer may have parameters that it does not use.
        if !y.is_tracked() {
            return None;
        }
        let mut passed = (y * dy).backward();
        collect(&layer, &mut passed, gradients);
        if wanted { x.grad_remove(&mut passed) } else { None }
    }
}

impl Chain {
    /// Goes back from the gradient of its end, which passes above it came to, and on into what is below its
    /// start.
    pub(super) fn backward(
        self,
        passed: &mut [Gradients],
        gradients: &mut GradientsParams,
    ) -> Option<Gradients> {
        let Self { start, blocks, end } = self;
        let parts = passed.iter_mut().filter_map(|passed| end.grad_remove(passed));
        let dy = parts.reduce(|sum, part| sum + part)?;
        drop(end);
        let dx =
            blocks.into_iter().rev().try_fold(dy, |dy, block| block.backward(dy, gradients))?;
        Some((start? * dx).backward())
    }
}

/// Whether the layer has a parameter that is trained.
fn learns<L: Module>(layer: &L) -> bool {
    struct Learns(bool);
    impl ModuleVisitor for Learns {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 |= param.base().is_require_grad();
        }
    }
    let mut learns = Learns(false);
    layer.visit(&mut learns);
    learns.0
}

/// Moves the gradients of a module's parameters out of a backward pass. A parameter that has one already gets
/// the sum.
pub(super) fn collect<M: Module>(
    module: &M,
    passed: &mut Gradients,
    gradients: &mut GradientsParams,
) {
    struct Collect<'a>(&'a mut Gradients, &'a mut GradientsParams);
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let Self(passed, gradients) = self;
            let Some(gradient) = param.base().grad_remove(passed) else { return };
            let gradient = match gradients.remove::<D>(param.id) {
                Some(earlier) => earlier + gradient,
                None => gradient,
            };
            gradients.register(param.id, gradient);
        }
    }
    module.visit(&mut Collect(passed, gradients));
}
